/**
 * Client streams of the Connect protocol over HTTP/1.1.
 *
 * Browsers cannot stream the body of a request. Such a stream is a POST of envelopes (1 byte of flags, 4 bytes of
 * length, a message), so the envelopes are put together beforehand and sent as one Blob. The browser reads the parts that
 * are files while it sends them.
 * Source: https://connectrpc.com/docs/protocol#streaming-rpcs
 */

import { fromBinary, type DescMessage, type DescMethodClientStreaming, type MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { createMethodUrl } from "@connectrpc/connect/protocol";
import { codeFromHttpStatus, endStreamFlag, endStreamFromJson } from "@connectrpc/connect/protocol-connect";
import type { Attempt } from "./calls.js";

/** Function called with the bytes sent and with all bytes to send. */
export type OnProgress = (sent: number, total: number) => void;

const HEADER_BYTES = 5;

/** Return the envelope of an encoded message, whose bytes may come in parts. */
export function envelopeOf(...message: readonly (Blob | Uint8Array)[]): Blob {
  const header = new Uint8Array(HEADER_BYTES);
  const size = message.reduce((sum, part) => sum + (part instanceof Blob ? part.size : part.length), 0);
  new DataView(header.buffer).setUint32(1, size);
  return new Blob([header, ...(message as BlobPart[])]);
}

/** Send the body, and return the response. */
export async function sendEnvelopes<I extends DescMessage, O extends DescMessage>(
  baseUrl: string,
  method: DescMethodClientStreaming<I, O>,
  body: Blob,
  attempt: Attempt,
  signal: AbortSignal | undefined,
  onProgress: OnProgress | undefined,
): Promise<MessageShape<O>> {
  const headers = new Headers(attempt.header);
  headers.set("content-type", "application/connect+proto");
  headers.set("connect-protocol-version", "1");
  if (attempt.timeoutMs !== undefined) headers.set("connect-timeout-ms", String(attempt.timeoutMs));
  const send = typeof XMLHttpRequest === "undefined" ? sendByFetch : sendByXhr;
  const answer = await send(createMethodUrl(baseUrl, method), headers, body, attempt.timeoutMs, signal, onProgress);
  if (answer.status !== 200) {
    throw new ConnectError(`HTTP ${answer.status}`, codeFromHttpStatus(answer.status));
  }
  return messageOf(method.output, answer.body);
}

interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
}

async function sendByFetch(
  url: string,
  headers: Headers,
  body: Blob,
  timeoutMs: number | undefined,
  signal: AbortSignal | undefined,
  onProgress: OnProgress | undefined,
): Promise<Answer> {
  const limits = [signal, timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs)];
  const init: RequestInit & { duplex?: "half" } = {
    method: "POST",
    headers,
    body,
    redirect: "error",
    signal: AbortSignal.any(limits.filter((limit) => limit !== undefined)),
  };
  if (onProgress) {
    let sent = 0;
    const counted = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        controller.enqueue(chunk);
        sent += chunk.length;
        onProgress(sent, body.size);
      },
    });
    init.body = body.stream().pipeThrough(counted);
    init.duplex = "half";
  }
  try {
    const response = await fetch(url, init);
    return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) };
  } catch (thrown) {
    if (signal?.aborted) throw abortedBy(signal);
    if (thrown instanceof Error && thrown.name === "TimeoutError") throw tooLate();
    throw ConnectError.from(thrown, Code.Unavailable);
  }
}

function sendByXhr(
  url: string,
  headers: Headers,
  body: Blob,
  timeoutMs: number | undefined,
  signal: AbortSignal | undefined,
  onProgress: OnProgress | undefined,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortedBy(signal));
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    const settle = <T>(settled: (value: T) => void, value: T) => {
      signal?.removeEventListener("abort", abort);
      settled(value);
    };
    request.open("POST", url);
    request.responseType = "arraybuffer";
    request.timeout = timeoutMs ?? 0;
    headers.forEach((value, name) => request.setRequestHeader(name, value));
    if (onProgress) request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.onload = () =>
      settle(resolve, { status: request.status, body: new Uint8Array(request.response as ArrayBuffer) });
    request.onerror = () => settle(reject, new ConnectError("the connection was lost", Code.Unavailable));
    request.ontimeout = () => settle(reject, tooLate());
    request.onabort = () => settle(reject, signal ? abortedBy(signal) : new ConnectError("aborted", Code.Canceled));
    signal?.addEventListener("abort", abort, { once: true });
    request.send(body);
  });
}

function messageOf<O extends DescMessage>(schema: O, body: Uint8Array): MessageShape<O> {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  let message: MessageShape<O> | undefined;
  for (let at = 0; at + HEADER_BYTES <= body.length; ) {
    const flags = view.getUint8(at);
    const end = at + HEADER_BYTES + view.getUint32(at + 1);
    const data = body.subarray(at + HEADER_BYTES, end);
    at = end;
    if ((flags & endStreamFlag) === 0) {
      message = fromBinary(schema, data);
      continue;
    }
    const { error } = endStreamFromJson(data);
    if (error) throw error;
    if (message) return message;
  }
  throw new ConnectError("the connection was lost", Code.Unavailable);
}

function abortedBy(signal: AbortSignal): ConnectError {
  return new ConnectError("the call was aborted", Code.Canceled, undefined, undefined, signal.reason);
}

function tooLate(): ConnectError {
  return new ConnectError("the call did not end in time", Code.DeadlineExceeded);
}
