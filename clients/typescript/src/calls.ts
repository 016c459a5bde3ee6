/** Calls with a deadline, with retries and with typed errors. */

import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { ContextValues, StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import type { Connection } from "./connection.js";
import { callErrorOf } from "./errors.js";
import { deadlineMsOf, isRetryable, isTransfer } from "./facts.js";
import { newRequestId } from "./request-id.js";
import { CallRetries, sleep } from "./retries.js";

/** Options of one call. */
export interface CallOptions {
  /** Signal that aborts the call. It then fails with `Code.Canceled`. */
  readonly signal?: AbortSignal | undefined;
  /** Time for all attempts together, in milliseconds, instead of the connection's. 0: no limit. */
  readonly timeoutMs?: number | undefined;
}

/** What an attempt of a call receives. */
export interface Attempt {
  readonly header: Headers;
  readonly timeoutMs: number | undefined;
}

/** Make a call, and return its response. A `requestId` that the request leaves out is filled in. */
export async function call<I extends DescMessage, O extends DescMessage>(
  connection: Connection,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options: CallOptions = {},
): Promise<MessageShape<O>> {
  const transport = withRetries(connection);
  return (await transport.unary(method, options.signal, options.timeoutMs, undefined, request)).message;
}

/**
 * Return a transport that authorizes every call, retries unary calls by the contract's options, gives each logical call
 * one `requestId`, and throws `AvatarCreatorError`.
 */
export function withRetries(connection: Connection): Transport {
  const { transport } = connection;
  return {
    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersInit | undefined,
      input: MessageInitShape<I>,
      contextValues?: ContextValues,
    ): Promise<UnaryResponse<I, O>> {
      const request = withRequestId(method.input, input);
      return attempts(connection, method, { signal, timeoutMs }, (attempt) =>
        transport.unary(method, signal, attempt.timeoutMs, merged(header, attempt.header), request, contextValues),
      );
    },
    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersInit | undefined,
      input: AsyncIterable<MessageInitShape<I>>,
      contextValues?: ContextValues,
    ): Promise<StreamResponse<I, O>> {
      // The messages of a stream can be read only once, so there is one attempt.
      const milliseconds = timeoutMs ?? (deadlineMs(connection, method) || undefined);
      const headers = merged(header, authorized(await connection.authorization()));
      try {
        const response = await transport.stream(method, signal, milliseconds, headers, input, contextValues);
        return { ...response, message: withTypedErrors(response.message, signal) };
      } catch (thrown) {
        throw callErrorOf(thrown, signal);
      }
    },
  };
}

/** Run the attempts of one logical call, and return the result of the first that succeeds. */
export async function attempts<T>(
  connection: Connection,
  method: DescMethod,
  options: CallOptions,
  attempt: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? deadlineMs(connection, method);
  const retries = new CallRetries(connection.backoff, connection.clock, timeoutMs, {
    retryable: isRetryable(method),
    retries: connection.retries,
    renewsToken: connection.renewsToken,
  });
  for (;;) {
    // An error of the function that returns the token is the caller's own.
    const authorization = await connection.authorization();
    retries.sendingWith(authorization);
    try {
      return await attempt({ header: authorized(authorization), timeoutMs: retries.remainingMs });
    } catch (thrown) {
      const error = callErrorOf(thrown, options.signal);
      const delay = options.signal?.aborted ? undefined : retries.delayAfter(error, authorization);
      if (delay === undefined) throw error;
      await sleep(delay, options.signal).catch((reason: unknown) => {
        throw callErrorOf(reason, options.signal);
      });
    }
  }
}

/** Return the headers of a call with this authorization. */
export function authorized(authorization: string): Headers {
  return new Headers(authorization === "" ? {} : { authorization });
}

function deadlineMs(connection: Connection, method: DescMethod): number {
  const deadline = deadlineMsOf(method);
  if (deadline === 0) return 0;
  return (isTransfer(method) ? connection.transferTimeoutMs : connection.timeoutMs) ?? deadline;
}

/** Return the request with an idempotency key, if its message has a field for one that is not set. */
function withRequestId<I extends DescMessage>(schema: I, input: MessageInitShape<I>): MessageInitShape<I> {
  const request = input as { requestId?: string } | undefined;
  if (request?.requestId || schema.field["requestId"] === undefined) return input;
  return { ...create(schema, input), requestId: newRequestId() } as unknown as MessageInitShape<I>;
}

function merged(header: HeadersInit | undefined, authorization: Headers): Headers {
  const headers = new Headers(header);
  authorization.forEach((value, name) => headers.set(name, value));
  return headers;
}

async function* withTypedErrors<T>(messages: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw callErrorOf(thrown, signal);
  }
}
