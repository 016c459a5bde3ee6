/** The connection to a service: its transport, its token and the options of its calls. */

import { Code, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { AvatarCreatorError } from "./errors.js";
import { DEFAULT_BACKOFF, type Backoff, type Clock } from "./retries.js";

/** A bearer token, or a function that the client calls before every attempt to get one. Empty: no token. */
export type Token = string | (() => string | Promise<string>);

/** A watch has lost its connection and is about to connect again. */
export interface ReconnectEvent {
  /** Number of the new connection since the last message, from 1. */
  readonly attempt: number;
  /** Error that ended the last connection, or that prevented it. */
  readonly error: AvatarCreatorError;
  /** Milliseconds that the watch waits before it connects. */
  readonly delayMs: number;
}

/** Options of a connection. */
export interface ConnectionOptions {
  /**
   * Address of the service's web port, for example `https://avatars.example.com`. In a browser, the default is the
   * origin of the page. Optional with a `transport` that can send streams, such as the gRPC transport of Node.
   */
  readonly baseUrl?: string | undefined;
  /** Bearer token of every call, or a function that returns a fresh one. */
  readonly token: Token;
  /** Transport of Connect to use instead of the Connect protocol over `fetch`. The client adds the token itself. */
  readonly transport?: Transport | undefined;
  /** Default time for all attempts of a call together, in milliseconds. The default is 10,000, from the contract. */
  readonly timeoutMs?: number | undefined;
  /** The same for uploads, downloads and bulk calls. The default is 60,000, from the contract. */
  readonly transferTimeoutMs?: number | undefined;
  /** Largest number of further attempts of a call. The default is as many as its timeout allows. */
  readonly retries?: number | undefined;
  /** Delays between the attempts. */
  readonly backoff?: Partial<Backoff> | undefined;
  /** Function called each time that a watch has lost its connection. */
  readonly onReconnect?: ((event: ReconnectEvent) => void) | undefined;
  /** Function that returns milliseconds that never decrease; tests replace it. */
  readonly clock?: Clock | undefined;
}

/** A connection to a service, for the functions of this package. `connect` makes one. */
export interface Connection {
  readonly transport: Transport;
  /** Base address for uploads in envelopes; undefined if uploads go through `transport`. */
  readonly uploadUrl: string | undefined;
  readonly timeoutMs: number | undefined;
  readonly transferTimeoutMs: number | undefined;
  readonly retries: number;
  readonly backoff: Backoff;
  readonly clock: Clock;
  readonly onReconnect: ((event: ReconnectEvent) => void) | undefined;
  /** Whether a function returns the token, so that an expired one can be replaced. */
  readonly renewsToken: boolean;
  /** Return the value of the header `authorization`; empty for no token. */
  authorization(): Promise<string>;
}

/**
 * Return a connection. Nothing is sent before the first call.
 *
 * @throws TypeError: there is no `baseUrl` and no `transport`, or `baseUrl` is no address of a web port.
 */
export function connect(options: ConnectionOptions): Connection {
  const { token } = options;
  const baseUrl = (options.baseUrl ?? pageOrigin())?.replace(/\/+$/, "");
  if (baseUrl === undefined && options.transport === undefined) {
    throw new TypeError("give baseUrl, the address of the service's web port, or a transport");
  }
  if (baseUrl !== undefined && !isWebAddress(baseUrl)) {
    throw new TypeError(
      `baseUrl must be an address that begins with https:// or http://, without a query (got "${baseUrl}")`,
    );
  }
  return {
    transport: options.transport ?? createConnectTransport({ baseUrl: baseUrl as string, useBinaryFormat: true }),
    uploadUrl: baseUrl,
    timeoutMs: options.timeoutMs,
    transferTimeoutMs: options.transferTimeoutMs,
    retries: options.retries ?? Infinity,
    backoff: { ...DEFAULT_BACKOFF, ...options.backoff },
    clock: options.clock ?? (() => performance.now()),
    onReconnect: options.onReconnect,
    renewsToken: typeof token === "function",
    authorization: async () => bearer(typeof token === "function" ? await token() : token),
  };
}

/** An address without a scheme or with another one would look like a service that cannot be reached. */
function isWebAddress(address: string): boolean {
  return /^https?:\/\/[^?#]+$/i.test(address) && URL.canParse(address);
}

/** A program without types may give an environment variable that is not set. */
function bearer(token: string | undefined): string {
  const text = (token ?? "").trim();
  if (text === "") return "";
  if (!/^[\x20-\x7e]+$/.test(text)) {
    throw new AvatarCreatorError(
      "the token must have printable ASCII characters only; check where it is read from",
      Code.InvalidArgument,
    );
  }
  return `Bearer ${text}`;
}

function pageOrigin(): string | undefined {
  const origin = typeof location === "undefined" ? undefined : location.origin;
  return origin === "null" ? undefined : origin;
}
