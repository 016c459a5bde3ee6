/** Expectations of calls that fail. */

import assert from "node:assert/strict";
import { AvatarCreatorError } from "avatar-creator";

/** Wait for a call to fail, and return its error. */
export async function failureOf(call: Promise<unknown>): Promise<AvatarCreatorError> {
  const thrown: unknown = await call.then(
    () => assert.fail("the call succeeded"),
    (error: unknown) => error,
  );
  assert(thrown instanceof AvatarCreatorError, String(thrown));
  return thrown;
}

/** Read an iterable to its end. */
export async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
