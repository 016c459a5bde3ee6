/** Every error that the client throws, and their translation from Connect errors. */

import { Code, ConnectError } from "@connectrpc/connect";
import type { ErrorReason } from "../gen/avatar_creator/v1/error_reason_pb.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb.js";

/** Name of an `ErrorReason` of the contract, for example `RESOURCE_NOT_FOUND`. */
export type ErrorReasonName = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** A field of a request that breaks the contract, from `google.rpc.BadRequest`. */
export interface FieldViolation {
  /** Path of the field, for example `persona.age`. */
  readonly field: string;
  /** Explanation of the violation, for people. */
  readonly description: string;
}

/** A limit that the call would exceed, from `google.rpc.QuotaFailure`. */
export interface QuotaViolation {
  /** Name of the limit, for example `per_day`. */
  readonly subject: string;
  /** Explanation of the violation, for people. */
  readonly description: string;
}

/** The resource that an error is about, from `google.rpc.ResourceInfo`. */
export interface Resource {
  /** Name of the resource type, for example `project`. */
  readonly type: string;
  /** Id of the resource, as the request gave it. */
  readonly id: string;
}

/** Facts about an error, besides its message and its status. */
export interface ErrorFacts {
  readonly reason?: ErrorReasonName | "";
  readonly metadata?: Readonly<Record<string, string>>;
  readonly fieldViolations?: readonly FieldViolation[];
  readonly quotaViolations?: readonly QuotaViolation[];
  readonly retryAfterMs?: number | undefined;
  readonly resource?: Resource | undefined;
  readonly cause?: unknown;
}

/** A failed call. Its `cause` is the `ConnectError`, if there was one. */
export class AvatarCreatorError extends Error {
  override readonly name = "AvatarCreatorError";
  /** Status of the call. `Code.Canceled` if the caller aborted it. */
  readonly code: Code;
  /**
   * Name of the reason. Empty if the error does not come from the service: no connection, deadline passed, aborted,
   * damaged picture. A service that is newer than this package may give a name that the type does not list.
   */
  readonly reason: ErrorReasonName | "";
  /** Facts about the error; the documentation of `ErrorReason` says which keys a reason has. */
  readonly metadata: Readonly<Record<string, string>>;
  /** All fields that break the contract; empty for other errors. */
  readonly fieldViolations: readonly FieldViolation[];
  /** The limits that the call would exceed; empty for other errors. */
  readonly quotaViolations: readonly QuotaViolation[];
  /** Milliseconds after which the same call may succeed; undefined if the service gave none. */
  readonly retryAfterMs: number | undefined;
  /** The resource that the error is about; undefined if the service named none. */
  readonly resource: Resource | undefined;

  constructor(message: string, code: Code, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = code;
    this.reason = facts.reason ?? "";
    this.metadata = facts.metadata ?? {};
    this.fieldViolations = facts.fieldViolations ?? [];
    this.quotaViolations = facts.quotaViolations ?? [];
    this.retryAfterMs = facts.retryAfterMs;
    this.resource = facts.resource;
  }

  /** Return the explanation of the violation of this field; undefined if the field breaks no rule. */
  violationOf(field: string): string | undefined {
    return this.fieldViolations.find((violation) => violation.field === field)?.description;
  }
}

/** Return the typed error of anything that was thrown. An `AvatarCreatorError` comes back as it is. */
export function errorOf(thrown: unknown): AvatarCreatorError {
  if (thrown instanceof AvatarCreatorError) return thrown;
  const error = ConnectError.from(thrown);
  const info = error.findDetails(ErrorInfoSchema)[0];
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const resource = error.findDetails(ResourceInfoSchema)[0];
  const isLost = info === undefined && thrown instanceof ConnectError && isLostConnection(thrown);
  const isUnsendable = error.code === Code.Internal && UNSENDABLE.test(error.rawMessage);
  const code = isLost ? Code.Unavailable : isUnsendable ? Code.InvalidArgument : error.code;
  return new AvatarCreatorError(isLost ? LOST : error.rawMessage.replace(UNSENDABLE, ""), code, {
    reason: (info?.reason ?? "") as ErrorReasonName | "",
    metadata: info?.metadata ?? {},
    fieldViolations: error.findDetails(BadRequestSchema).flatMap((detail) =>
      detail.fieldViolations.map(({ field, description }) => ({ field, description })),
    ),
    quotaViolations: error.findDetails(QuotaFailureSchema).flatMap((detail) =>
      detail.violations.map(({ subject, description }) => ({ subject, description })),
    ),
    retryAfterMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
    resource: resource && { type: resource.resourceType, id: resource.resourceName },
    cause: error,
  });
}

/**
 * Return whether something thrown is a failed call with one of these reasons.
 *
 * @example
 * if (hasReason(error, "IMAGE_TOO_LARGE", "IMAGE_TOO_MANY_PIXELS")) askForASmallerPicture();
 */
export function hasReason<R extends ErrorReasonName>(
  thrown: unknown,
  ...reasons: R[]
): thrown is AvatarCreatorError & { readonly reason: R } {
  return thrown instanceof AvatarCreatorError && (reasons as string[]).includes(thrown.reason);
}

/** Return whether something thrown says that the caller aborted the call. */
export function isAborted(thrown: unknown): boolean {
  return (
    (thrown instanceof AvatarCreatorError && thrown.code === Code.Canceled) ||
    (thrown instanceof Error && thrown.name === "AbortError")
  );
}

/** Return the error of an argument that TypeScript refuses, but a program without types can give. */
export function invalidArgument(message: string): AvatarCreatorError {
  return new AvatarCreatorError(message, Code.InvalidArgument);
}

/** Return the typed error of a failed call, to which the caller gave this signal. */
export function callErrorOf(thrown: unknown, signal: AbortSignal | undefined): AvatarCreatorError {
  const error = errorOf(thrown);
  const { cause } = error;
  if (signal?.aborted) {
    return error.code === Code.Canceled
      ? error
      : new AvatarCreatorError("the call was aborted", Code.Canceled, { cause: signal.reason });
  }
  // The transport of Node reports a lost connection as CANCELED, which only the caller or the service may be.
  const isFromService = cause instanceof ConnectError && cause.isWireError;
  return error.code === Code.Canceled && !isFromService
    ? new AvatarCreatorError(LOST, Code.Unavailable, { cause })
    : error;
}

const LOST = "the service cannot be reached, or the connection to it was lost";

/** Transports pass on the TypeError of `fetch`. A body that ends too early has no last envelope. */
function isLostConnection(error: ConnectError): boolean {
  return (
    (error.code === Code.Unknown || error.code === Code.Internal || error.code === Code.InvalidArgument) &&
    (error.cause instanceof TypeError || TRUNCATED.test(error.rawMessage))
  );
}

/** How Connect reports a request with a value that its field cannot have, such as text for an enum. */
const UNSENDABLE = /^serialize (binary|json): /;

const TRUNCATED = /^(protocol error: )?(missing EndStreamResponse|missing trailer|incomplete envelope)/;
