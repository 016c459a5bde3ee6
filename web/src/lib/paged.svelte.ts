import { gone } from "./api.js";

/** One page of a list, as a call returns it. */
export interface PageOf<T> {
  items: T[];
  nextPageToken: string;
}

/**
 * A list that grows page by page.
 *
 * It keeps what it has while it loads again, so that nothing on the screen goes and comes back.
 */
export class Paged<T extends { id: string }> {
  /** The entries so far. */
  items = $state.raw<T[]>([]);
  /** "empty": nothing was loaded yet. "ready": `items` is current, and `hasMore` says whether more follow. */
  phase = $state<"empty" | "loading" | "ready" | "failed">("empty");
  /** What the last call threw, while the phase is "failed". */
  error = $state.raw<unknown>();
  #next = $state("");
  #load: (pageToken: string, signal: AbortSignal) => Promise<PageOf<T>>;
  #running: AbortController | undefined;

  constructor(load: (pageToken: string, signal: AbortSignal) => Promise<PageOf<T>>) {
    this.#load = load;
  }

  /** Whether the first page has arrived. */
  get started(): boolean {
    return this.phase === "ready" || this.items.length > 0;
  }

  get hasMore(): boolean {
    return this.#next !== "";
  }

  /** Load the first page again. What is there stays until it has arrived. */
  async reload(): Promise<void> {
    await this.#run("", (page) => (this.items = page));
  }

  /** Load the next page, unless one is loading or there is none. */
  async more(): Promise<void> {
    if (this.phase === "loading" || (this.phase === "ready" && !this.hasMore)) return;
    if (!this.started) return this.reload();
    const known = new Set(this.items.map(({ id }) => id));
    await this.#run(this.#next, (page) => (this.items = [...this.items, ...page.filter(({ id }) => !known.has(id))]));
  }

  /** Stop what is loading, because the user has left. */
  stop(): void {
    this.#running?.abort();
    this.#running = undefined;
    if (this.phase === "loading") this.phase = this.items.length > 0 ? "ready" : "empty";
  }

  /** Put entries at a place, the front by default. Known ones are replaced where they are. */
  add(added: readonly T[], at = 0): void {
    const known = new Map(added.map((item) => [item.id, item]));
    const kept = this.items.map((item) => {
      const newer = known.get(item.id);
      known.delete(item.id);
      return newer ?? item;
    });
    this.items = [...kept.slice(0, at), ...known.values(), ...kept.slice(at)];
  }

  /** Replace an entry, if it is there. */
  replace(item: T): void {
    if (this.items.some(({ id }) => id === item.id))
      this.items = this.items.map((one) => (one.id === item.id ? item : one));
  }

  remove(ids: ReadonlySet<string>): void {
    if (this.items.some(({ id }) => ids.has(id))) this.items = this.items.filter(({ id }) => !ids.has(id));
  }

  async #run(token: string, arrived: (page: T[]) => void): Promise<void> {
    this.#running?.abort();
    const running = (this.#running = new AbortController());
    this.phase = "loading";
    try {
      const { items, nextPageToken } = await this.#load(token, running.signal);
      if (running !== this.#running) return;
      arrived(items);
      this.#next = nextPageToken;
      this.error = undefined;
      this.phase = "ready";
    } catch (error) {
      if (running !== this.#running || gone(error)) return;
      this.error = error;
      this.phase = "failed";
    }
  }
}

/**
 * Attachment for the end of a list: call a function when the user comes near it.
 *
 * `count` is the number of entries. A new count restarts it, because an end that stays in sight does not come into sight.
 */
export function near(count: number, reached: () => void) {
  void count;
  return (node: HTMLElement): (() => void) => {
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some(({ isIntersecting }) => isIntersecting)) reached();
      },
      { rootMargin: "1500px 0px" },
    );
    observer.observe(node);
    return () => observer.disconnect();
  };
}
