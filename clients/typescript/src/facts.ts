/** Facts about the RPCs, from the options of the contract. */

import { getOption, type DescMethod } from "@bufbuild/protobuf";
import { call_facts } from "../gen/avatar_creator/v1/options_pb.js";

/** Return the deadline that the contract recommends, in milliseconds. 0: none, because the call may last. */
export function deadlineMsOf(method: DescMethod): number {
  return getOption(method, call_facts).deadlineSeconds * 1000;
}

/** Return whether a call may be sent again after UNAVAILABLE, although the first one may have succeeded. */
export function isRetryable(method: DescMethod): boolean {
  return getOption(method, call_facts).retryable;
}

/** Return whether the call carries a picture or changes many resources, so that it may take longer. */
export function isTransfer(method: DescMethod): boolean {
  return deadlineMsOf(method) >= 60_000;
}
