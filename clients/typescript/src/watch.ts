// Apps whose `lib` is older than `Symbol.asyncDispose` must compile too.
/// <reference lib="esnext.disposable" preserve="true" />

/** Watches of generations, which resume after a lost connection without losing or repeating a state. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { GenerationState, type Generation } from "../gen/avatar_creator/v1/generation_pb.js";
import {
  GenerationService,
  type WatchGenerationsRequestSchema,
} from "../gen/avatar_creator/v1/generation_service_pb.js";
import { authorized } from "./calls.js";
import type { Connection, ReconnectEvent } from "./connection.js";
import { AvatarCreatorError, callErrorOf, invalidArgument, type Resource } from "./errors.js";
import { Reconnects, sleep } from "./retries.js";

/** Revisions that the caller has seen, by the id of the generation. */
export type KnownRevisions = Readonly<Record<string, bigint>>;

/** The generations to watch. */
export type WatchSelection =
  /** One generation, or its id. The watch ends when it has ended. */
  | string
  | Generation
  /** Up to 100 generations, by id. The watch ends when all of them have ended. */
  | { readonly ids: readonly string[] }
  /** All variations of one call. The watch ends when all of them have ended. */
  | { readonly groupId: string }
  /** All generations of a project, also later ones. The watch has no end. */
  | { readonly projectId: string; readonly changedSince?: Date | undefined }
  /** All generations of the caller, or of another user for operators, also later ones. The watch has no end. */
  | { readonly all: true; readonly userId?: string | undefined; readonly changedSince?: Date | undefined };

/** Options of a watch. */
export interface WatchOptions {
  /** Signal that ends the watch. It then fails with `Code.Canceled`. */
  readonly signal?: AbortSignal | undefined;
  /** Time for the whole watch, in milliseconds. The default is no limit. */
  readonly timeoutMs?: number | undefined;
  /** Milliseconds without a connection after which the watch fails; 60,000 by default. Any message restarts them. */
  readonly reconnectForMs?: number | undefined;
  /** Highest revisions that the caller has seen. The watch has only newer states, and every final state. */
  readonly knownRevisions?: KnownRevisions | undefined;
  /** Function called each time that the watch has lost its connection, instead of the connection's. */
  readonly onReconnect?: ((event: ReconnectEvent) => void) | undefined;
}

/** States of generations, one after the other. Leaving the loop ends the watch. */
export interface Watch extends AsyncIterableIterator<Generation> {
  return(): Promise<IteratorResult<Generation>>;
  /** End the watch, also while a state is awaited. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Watch generations. Each item is the whole current state of one of them.
 *
 * A slow reader skips states, but never the last one.
 */
export function watch(connection: Connection, selection: WatchSelection, options: WatchOptions = {}): Watch {
  const left = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
  const states = statesOf(connection, progressOf(selection, options.knownRevisions ?? {}), options, signal);
  async function leave(): Promise<IteratorResult<Generation>> {
    // A generator that waits for a message ends only after the message, so the call is aborted first.
    left.abort();
    return states.return(undefined).catch(() => ({ done: true, value: undefined }) as const);
  }
  return {
    next: async () => {
      try {
        return await states.next();
      } catch (thrown) {
        if (left.signal.aborted) return { done: true, value: undefined };
        throw thrown;
      }
    },
    return: leave,
    [Symbol.asyncIterator]() {
      return this;
    },
    async [Symbol.asyncDispose]() {
      await leave();
    },
  };
}

async function* statesOf(
  connection: Connection,
  progress: Progress,
  options: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<Generation, undefined> {
  const reconnects = new Reconnects(connection.backoff, connection.clock, {
    timeoutMs: options.timeoutMs,
    reconnectForMs: options.reconnectForMs ?? 60_000,
    resource: progress.resource,
    renewsToken: connection.renewsToken,
  });
  const onReconnect = options.onReconnect ?? connection.onReconnect;
  while (!progress.finished) {
    // An error of the function that returns the token is the caller's own, and ends the watch.
    const authorization = await connection.authorization();
    reconnects.connectingWith(authorization);
    let error: AvatarCreatorError;
    try {
      signal.throwIfAborted();
      const { message } = await connection.transport.stream(
        GenerationService.method.watchGenerations,
        signal,
        reconnects.remainingMs ?? 0,
        authorized(authorization),
        only(progress.request()),
      );
      for await (const { generation } of message) {
        reconnects.progressed();
        if (generation && progress.isNew(generation)) yield generation;
        if (progress.finished) return;
      }
      if (progress.finishedIfClosed) return;
      error = new AvatarCreatorError(
        "the service closed the watch before the generation ended; watch it again",
        Code.Unavailable,
      );
    } catch (thrown) {
      error = callErrorOf(thrown, signal);
    }
    const delayMs = reconnects.delayAfter(error, authorization);
    onReconnect?.({ attempt: reconnects.failures, error, delayMs });
    try {
      await sleep(delayMs, signal);
    } catch (reason) {
      throw callErrorOf(reason, signal);
    }
  }
}

/**
 * Progress of a watch: the states delivered so far, and the request for the rest.
 *
 * A state is new if its revision is higher than the last delivered one. A final state is new once, even if its revision
 * is known: the service sends it again so that no watch ends without the outcome.
 */
interface Progress {
  /** The watched resource; undefined if there are several. */
  readonly resource?: Resource;
  /** Return whether the caller has not seen this state, and record it as seen. */
  isNew(generation: Generation): boolean;
  /** Return the request for the states that are not delivered yet. */
  request(): MessageInitShape<typeof WatchGenerationsRequestSchema>;
  /** True if every watched generation has ended and its final state was delivered. */
  readonly finished: boolean;
  /** True if the watch is complete once the service has closed the stream with OK. */
  readonly finishedIfClosed: boolean;
}

function progressOf(selection: WatchSelection, known: KnownRevisions): Progress {
  if (typeof selection === "string") {
    return new ById([selection], known, { type: "generation", id: selection });
  }
  if (typeof selection !== "object" || selection === null) throw invalidArgument(SELECTIONS);
  // A generation has the fields of other selections.
  if ("$typeName" in selection) return progressOf(selection.id, known);
  if ("ids" in selection) return new ById(selection.ids, known);
  if ("groupId" in selection) return new ByGroup(selection.groupId, known);
  const changedSince = selection.changedSince && timestampFromDate(selection.changedSince);
  if ("projectId" in selection) {
    const { projectId } = selection;
    const resource = { type: "project", id: projectId };
    return new Endless({ case: "projectId", value: projectId }, known, changedSince, resource);
  }
  // Not everything by mistake: an id that is missing must not become a watch without an end.
  if (selection.all !== true) throw invalidArgument(SELECTIONS);
  return new Endless({ case: "all", value: { userId: selection.userId ?? "" } }, known, changedSince);
}

const SELECTIONS =
  "a watch takes a generation or its id, { ids }, { groupId }, { projectId }, or { all: true } for all generations";

abstract class Delivered {
  /** Highest revisions of the watched generations that have not ended. */
  readonly open = new Map<string, bigint>();
  readonly ended = new Set<string>();

  constructor(readonly known: KnownRevisions) {}

  isNew({ id, state, revision }: Generation): boolean {
    if (this.ended.has(id)) return false;
    if (ENDED.has(state)) {
      this.ended.add(id);
      this.open.delete(id);
      return true;
    }
    const seen = this.open.get(id) ?? this.known[id] ?? 0n;
    this.open.set(id, revision > seen ? revision : seen);
    return revision > seen;
  }
}

class ById extends Delivered implements Progress {
  readonly resource?: Resource;

  constructor(ids: readonly string[], known: KnownRevisions, resource?: Resource) {
    super(known);
    for (const id of ids) this.open.set(id, known[id] ?? 0n);
    if (resource) this.resource = resource;
  }

  request() {
    const targets = Array.from(this.open, ([generationId, knownRevision]) => ({ generationId, knownRevision }));
    return { selector: { case: "targets" as const, value: { targets } } };
  }

  get finished() {
    return this.open.size === 0;
  }

  get finishedIfClosed() {
    return this.finished;
  }
}

/** Only the service knows how many generations a group has, so only the end of the stream shows that all have ended. */
class ByGroup extends Delivered implements Progress {
  readonly resource: Resource;
  readonly finished = false;

  constructor(
    readonly groupId: string,
    known: KnownRevisions,
  ) {
    super(known);
    this.resource = { type: "group", id: groupId };
  }

  request() {
    return { selector: { case: "groupId" as const, value: this.groupId } };
  }

  get finishedIfClosed() {
    return this.ended.size > 0 && this.open.size === 0;
  }
}

/**
 * A new connection resumes at the newest `updateTime` seen, or at the start time of the watch if none was seen. The
 * start time comes from this machine's clock. The service sends some earlier changes too, so the clock may be wrong by
 * some seconds.
 */
class Endless extends Delivered implements Progress {
  readonly resource?: Resource;
  readonly finished = false;
  readonly finishedIfClosed = false;
  readonly started = timestampFromDate(new Date());
  newest: Timestamp | undefined;
  requested = false;

  constructor(
    readonly selector: NonNullable<MessageInitShape<typeof WatchGenerationsRequestSchema>["selector"]>,
    known: KnownRevisions,
    readonly changedSince: Timestamp | undefined,
    resource?: Resource,
  ) {
    super(known);
    if (resource) this.resource = resource;
  }

  override isNew(generation: Generation): boolean {
    const changed = generation.updateTime;
    if (changed && (this.newest === undefined || isLater(changed, this.newest))) this.newest = changed;
    return super.isNew(generation);
  }

  request() {
    const since = this.newest ?? this.changedSince ?? (this.requested ? this.started : undefined);
    this.requested = true;
    return { selector: this.selector, ...(since && { changedSince: since }) };
  }
}

const ENDED: ReadonlySet<GenerationState> = new Set([
  GenerationState.COMPLETED,
  GenerationState.FAILED,
  GenerationState.CANCELLED,
]);

/** Return whether a generation has ended: COMPLETED, FAILED or CANCELLED. */
export function hasEnded(generation: Generation): boolean {
  return ENDED.has(generation.state);
}

function isLater(one: Timestamp, other: Timestamp): boolean {
  return one.seconds === other.seconds ? one.nanos > other.nanos : one.seconds > other.seconds;
}

async function* only<T>(value: T): AsyncGenerator<T> {
  yield value;
}
