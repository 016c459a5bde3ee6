/**
 * The running generations of the user, live, in all tabs of the browser.
 *
 * One tab watches and notifies the others, because a browser has only six connections to a server over HTTP/1.1. The tab
 * that holds the lock leads. A hidden tab gives the lock up, so no tab watches while the user looks at none.
 */
import { type Generation, GenerationStage, GenerationState, hasEnded } from "avatar-creator";
import { untrack } from "svelte";
import { SvelteMap } from "svelte/reactivity";
import { api, gone } from "./api.js";
import { toDate } from "./format.js";
import { session } from "./session.svelte.js";

/** What the page knows about the connection. "idle": the tab is hidden, so it does not watch. */
export type Link = "idle" | "connecting" | "connected" | "reconnecting" | "offline";

type Message =
  | { kind: "states"; generations: Generation[] }
  | { kind: "link"; link: Link; ready: boolean }
  /** A tab that came to the front asks for all states and the link. */
  | { kind: "hello" };

/** Milliseconds between two looks at the places in the queue: a watch does not report their changes. */
const queueInterval = 5000;
/** Milliseconds for which an ended generation stays, so that a card can show its end. */
const remembered = 10 * 60_000;
const queueSize = 100;

const generations = new SvelteMap<string, Generation>();
/** Time at which a generation will probably end, in milliseconds since 1970. */
const expected = new SvelteMap<string, number>();
const listeners = new Set<(generation: Generation) => void>();
/** Revisions up to which the user has forgotten generations. The watch may still send them, or send them again. */
const forgotten = new Map<string, bigint>();
let link = $state<Link>("idle");
let channel: BroadcastChannel | undefined;
let newest: Date | undefined;
/** When this tab began to look. What has changed since then counts, also if it changed while the tab was hidden. */
let opened = new Date();
let alone = true;
let ready = $state(false);

const unfinished = $derived(
  [...generations.values()]
    .filter((generation) => !hasEnded(generation))
    .sort((one, other) => (one.id < other.id ? 1 : -1)),
);

/** It stays true while an expired token is replaced, so that nothing is forgotten then. */
const signedIn = $derived(session.token !== "");

/** Take in a state, unless a newer one is known. Returns whether it was new. */
function take(generation: Generation): boolean {
  const known = generations.get(generation.id);
  if (known !== undefined && known.revision > generation.revision) return false;
  if ((forgotten.get(generation.id) ?? -1n) >= generation.revision) return false;
  if (known !== undefined && known.revision === generation.revision && generation.queuePosition === undefined)
    return false;
  // Only some answers have the place in the queue. An older place is better than none.
  if (
    known !== undefined &&
    generation.state === GenerationState.PENDING &&
    generation.stage === known.stage &&
    generation.queuePosition === undefined
  )
    generation = { ...generation, queuePosition: known.queuePosition!, expectedSeconds: known.expectedSeconds! };
  if (generation.expectedSeconds !== undefined)
    expected.set(generation.id, Date.now() + generation.expectedSeconds * 1000);
  generations.set(generation.id, generation);
  const changed = toDate(generation.updateTime);
  if (changed !== undefined && (newest === undefined || changed > newest)) newest = changed;
  if (hasEnded(generation)) {
    expected.delete(generation.id);
    setTimeout(() => {
      if (generations.get(generation.id)?.revision === generation.revision) generations.delete(generation.id);
    }, remembered);
  }
  if (known?.revision !== generation.revision) for (const listener of listeners) listener(generation);
  return true;
}

function send(message: Message): void {
  // The reactive copies cannot be cloned, and messages of the contract are plain objects.
  channel?.postMessage(message);
}

function connection(now: Link): void {
  link = now;
  send({ kind: "link", link: now, ready });
}

function online(): Link {
  return navigator.onLine ? "reconnecting" : "offline";
}

/** Watch, and notify the other tabs, until the signal. */
async function lead(signal: AbortSignal): Promise<void> {
  void lookAtQueue(signal);
  connection(link === "connected" ? "connected" : "connecting");
  await probe(signal);
  let waits = 0;
  while (!signal.aborted) {
    const began = Date.now();
    try {
      // A watch that is silent is connected, too: the first message comes only when there is one.
      const silent = setTimeout(() => {
        if (!signal.aborted) connection("connected");
      }, 1500);
      signal.addEventListener("abort", () => clearTimeout(silent), { once: true });
      const states = api.watchAll({
        signal,
        changedSince: newest ?? opened,
        onReconnect: () => {
          clearTimeout(silent);
          connection(online());
          void probe(signal);
        },
      });
      for await (const generation of states) {
        clearTimeout(silent);
        waits = 0;
        if (link !== "connected") connection("connected");
        if (take(generation)) send({ kind: "states", generations: [generation] });
      }
    } catch (error) {
      if (gone(error) || signal.aborted) return;
      // The list renews the token, or fails as the watch did.
      connection(online());
      await probe(signal);
    }
    if (Date.now() - began > 10_000) waits = 0;
    await pause(Math.min(500 * 2 ** waits++, 10_000), signal);
  }
}

/** Ask the service whether it is there. A lost token is renewed on the way. */
async function probe(signal: AbortSignal): Promise<void> {
  try {
    const { generations: found } = await api.generations.listGenerations(
      { states: [GenerationState.PENDING, GenerationState.PROCESSING], pageSize: queueSize },
      { signal },
    );
    if (signal.aborted) return;
    reconcile(found);
    ready = true;
    connection("connected");
  } catch {
    // The watch goes on trying.
  }
}

function reconcile(found: readonly Generation[]): void {
  const news = found.filter((generation) => take(generation));
  if (news.length > 0) send({ kind: "states", generations: news });
}

/** Keep the places in the queue fresh while something waits. */
async function lookAtQueue(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await pause(queueInterval, signal);
    const waiting = untrack(() => unfinished).some((generation) => generation.stage === GenerationStage.QUEUED);
    if (!waiting || signal.aborted) continue;
    try {
      const { generations: found } = await api.generations.listGenerations(
        { states: [GenerationState.PENDING], pageSize: queueSize },
        { signal },
      );
      reconcile(found);
    } catch {
      // The watch reports whether the service is there.
    }
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(done, milliseconds);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      removeEventListener("online", done);
      resolve();
    }
    signal.addEventListener("abort", done);
    addEventListener("online", done);
  });
}

/** Take part while the tab is in front: lead if no other tab does. */
function follow(user: string): () => void {
  const stopping = new AbortController();
  const name = `avatar-creator:live:${user}`;
  channel = new BroadcastChannel(name);
  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if (data.kind === "states") for (const generation of data.generations) take(generation);
    else if (data.kind === "link") {
      if (document.visibilityState !== "visible") return;
      link = data.link;
      ready ||= data.ready;
    } else if (!alone) {
      send({ kind: "states", generations: [...generations.values()] });
      send({ kind: "link", link, ready });
    }
  };
  let leading: AbortController | undefined;
  const begin = (): void => {
    if (leading !== undefined || stopping.signal.aborted) return;
    const now = (leading = new AbortController());
    send({ kind: "hello" });
    const run = async (): Promise<void> => {
      alone = false;
      try {
        await lead(now.signal);
      } finally {
        alone = true;
      }
    };
    // Locks exist only over HTTPS and on this machine. Without them each tab watches for itself.
    if ("locks" in navigator) navigator.locks.request(name, { signal: now.signal }, run).catch(() => undefined);
    else void run();
  };
  const end = (): void => {
    leading?.abort();
    leading = undefined;
    link = "idle";
  };
  const look = (): void => (document.visibilityState === "visible" ? begin() : end());
  document.addEventListener("visibilitychange", look, { signal: stopping.signal });
  addEventListener("offline", () => leading && connection("offline"), { signal: stopping.signal });
  addEventListener("online", () => leading && !alone && void probe(leading.signal), { signal: stopping.signal });
  look();
  return () => {
    stopping.abort();
    end();
    channel?.close();
    channel = undefined;
    ready = false;
    generations.clear();
    forgotten.clear();
    expected.clear();
    newest = undefined;
    opened = new Date();
  };
}

/** The generations that run now or have ended while the user looked. */
export const live = {
  get link(): Link {
    return link;
  },
  /** Whether the generations that ran when the page began are known. */
  get ready(): boolean {
    return ready;
  },
  /** Generations that have not ended, newest first. */
  get unfinished(): readonly Generation[] {
    return unfinished;
  },
  /** Newest known state of a generation. */
  get(id: string): Generation | undefined {
    return generations.get(id);
  },
  /** All known states: unfinished ones, and those that have ended within the last minutes. */
  get all(): readonly Generation[] {
    return [...generations.values()];
  },
  /** Seconds until a generation will probably end, as the service said when it waited. Undefined: unknown. */
  secondsLeft(id: string, now: number): number | undefined {
    const end = expected.get(id);
    // An estimate that was wrong is no longer one.
    return end === undefined || now > end + 10_000 ? undefined : Math.max(0, (end - now) / 1000);
  },
  /** Take in what a call returned, so that its card is there before the watch says so. */
  add(...created: readonly Generation[]): void {
    const news = created.filter((generation) => take(generation));
    if (news.length > 0) send({ kind: "states", generations: news });
  },
  /** Forget a generation that has ended, in all views of this tab. */
  forget(id: string): void {
    const known = generations.get(id);
    if (known !== undefined) forgotten.set(id, known.revision);
    generations.delete(id);
  },
  /** Call a function for each new state, in this tab or in the one that leads. Returns the function that stops that. */
  on(listener: (generation: Generation) => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  /** Begin to watch for the user of the session. The frame calls it in an effect, so another user begins with nothing. */
  start(): () => void {
    const { user } = session;
    if (!signedIn) return () => undefined;
    return untrack(() => follow(user));
  },
};
