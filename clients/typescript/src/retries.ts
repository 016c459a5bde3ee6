/**
 * Decisions about retries: which failed call to send again, after which delay, and when to stop.
 *
 * Nothing here waits or sends. All times are milliseconds.
 */

import { Code } from "@connectrpc/connect";
import { AvatarCreatorError, invalidArgument, type ErrorReasonName, type Resource } from "./errors.js";

/** Age from which an expired token counts as accepted before it expired. */
const ACCEPTED_MS = 1_000;

/** Age from which a watch without messages counts as connected before it failed. */
const CONNECTED_MS = 25_000;

/** Longest time of a timer, 24.8 days: one that is longer ends at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Reasons of RESOURCE_EXHAUSTED for a limit of calls at the same time, ending within seconds. */
const PASSING_LIMITS: ReadonlySet<string> = new Set<ErrorReasonName>([
  "TRANSFER_LIMIT",
  "DATABASE_LIMIT",
  "CALL_LIMIT",
]);

/** Reasons with which the service refuses a call before it begins it, so that every call may be sent again. */
const NOT_BEGUN: ReadonlySet<string> = new Set<ErrorReasonName>(["DATABASE_LIMIT", "CALL_LIMIT", "OVERLOADED"]);

/** Exponential backoff with full jitter: each delay is random, from 0 to a bound that grows per failure. */
export interface Backoff {
  /** Upper bound of the first delay, in milliseconds. */
  readonly initialMs: number;
  /** Growth of the upper bound per failure. */
  readonly factor: number;
  /** Largest upper bound, in milliseconds. */
  readonly maximumMs: number;
  /** Source of the jitter: returns a number from 0 to 1, without 1. */
  readonly random: () => number;
}

export const DEFAULT_BACKOFF: Backoff = { initialMs: 100, factor: 2, maximumMs: 5_000, random: Math.random };

/** Function that returns milliseconds that never decrease. */
export type Clock = () => number;

/** Attempts of one logical call. Its timeout starts when this object is created. */
export class CallRetries {
  readonly #deadline: number;
  #expiredToken: { error: AvatarCreatorError; authorization: string } | undefined;
  #failures = 0;

  constructor(
    readonly backoff: Backoff,
    readonly clock: Clock,
    timeoutMs: number,
    readonly facts: { retryable: boolean; retries: number; renewsToken: boolean },
  ) {
    this.#deadline = deadlineAfter(timeoutMs, clock);
  }

  /** Milliseconds left for the next attempt; undefined if there is no limit. */
  get remainingMs(): number | undefined {
    return remaining(this.#deadline, this.clock);
  }

  /** Throw the error of the last attempt, if this is the token that had expired. */
  sendingWith(authorization: string): void {
    if (this.#expiredToken?.authorization === authorization) throw this.#expiredToken.error;
  }

  /** Return the milliseconds to wait before the next attempt; undefined if the caller must throw `error`. */
  delayAfter(error: AvatarCreatorError, authorization: string): number | undefined {
    const { retryable, retries, renewsToken } = this.facts;
    const left = this.#deadline - this.clock();
    if (left <= 0) return undefined;
    if (renewsToken && error.reason === "TOKEN_EXPIRED" && this.#expiredToken === undefined) {
      this.#expiredToken = { error, authorization };
      return 0;
    }
    if (!(retryable || NOT_BEGUN.has(error.reason)) || !isPassing(error)) return undefined;
    if (this.#failures >= retries) return undefined;
    this.#failures += 1;
    const delay = delayOf(this.backoff, this.#failures, error);
    return delay < left ? delay : undefined;
  }
}

/** Connections of one watch. Its timeout starts when this object is created. */
export class Reconnects {
  readonly #deadline: number;
  #expiredToken: { error: AvatarCreatorError; authorization: string } | undefined;
  #connectTime: number;
  #failures = 0;
  #failingSince: number | undefined;

  constructor(
    readonly backoff: Backoff,
    readonly clock: Clock,
    readonly facts: {
      timeoutMs: number | undefined;
      reconnectForMs: number;
      resource: Resource | undefined;
      renewsToken: boolean;
    },
  ) {
    this.#connectTime = clock();
    this.#deadline = deadlineAfter(facts.timeoutMs ?? 0, clock);
  }

  /** Milliseconds left for the next connection; undefined if there is no limit. */
  get remainingMs(): number | undefined {
    return remaining(this.#deadline, this.clock);
  }

  /** Number of failures since the last message. */
  get failures(): number {
    return this.#failures;
  }

  /** Record that a connection starts now. Throw the last error, if this is the token that had expired. */
  connectingWith(authorization: string): void {
    if (this.#expiredToken?.authorization === authorization) throw this.#expiredToken.error;
    this.#expiredToken = undefined;
    this.#connectTime = this.clock();
  }

  /** Forget earlier failures, because a message arrived. */
  progressed(): void {
    this.#failures = 0;
    this.#failingSince = undefined;
  }

  /**
   * Return the milliseconds to wait before the next connection.
   *
   * @throws AvatarCreatorError: `error` itself, if it is final or if no connection worked for `reconnectForMs`; or
   * `Code.DeadlineExceeded`, if the timeout of the watch passed.
   */
  delayAfter(error: AvatarCreatorError, authorization: string): number {
    const time = this.clock();
    if (time >= this.#deadline && (error.code === Code.DeadlineExceeded || error.code === Code.Unavailable)) {
      throw new AvatarCreatorError(
        "the timeout of the watch passed; the service continues the work, so watch it again",
        Code.DeadlineExceeded,
        { resource: this.facts.resource, cause: error },
      );
    }
    const age = time - this.#connectTime;
    if (this.facts.renewsToken && error.reason === "TOKEN_EXPIRED") {
      this.#expiredToken = { error, authorization };
      if (age >= ACCEPTED_MS) this.progressed();
    } else if (!isPassing(error)) {
      throw error;
    }
    // A proxy may cut a watch without news, again and again.
    if (age >= CONNECTED_MS) this.progressed();
    this.#failingSince ??= time;
    if (time - this.#failingSince >= this.facts.reconnectForMs) throw error;
    this.#failures += 1;
    return Math.min(delayOf(this.backoff, this.#failures, error), Math.max(0, this.#deadline - time));
  }
}

/** Wait. Aborting the signal ends the wait with its reason. */
export function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** Return whether the same call can succeed within seconds. */
function isPassing(error: AvatarCreatorError): boolean {
  if (error.code === Code.ResourceExhausted) {
    return PASSING_LIMITS.has(error.reason) && error.retryAfterMs !== undefined;
  }
  return error.code === Code.Unavailable;
}

function delayOf(backoff: Backoff, failures: number, error: AvatarCreatorError): number {
  const bound = Math.min(backoff.maximumMs, backoff.initialMs * backoff.factor ** (failures - 1));
  return (error.retryAfterMs ?? 0) + bound * backoff.random();
}

function deadlineAfter(timeoutMs: number, clock: Clock): number {
  if (!(timeoutMs >= 0)) {
    throw invalidArgument(`timeoutMs must be a number of milliseconds, or 0 for no limit (got ${timeoutMs})`);
  }
  return timeoutMs === 0 ? Infinity : clock() + timeoutMs;
}

function remaining(deadline: number, clock: Clock): number | undefined {
  // At least 1, because 0 means no timeout to a transport.
  return deadline === Infinity ? undefined : Math.min(LONGEST_TIMER_MS, Math.max(1, Math.ceil(deadline - clock())));
}
