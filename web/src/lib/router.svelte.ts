import { type Page, type PageName, pages } from "../pages.js";

/** The page that an address names, with the parts of the address that vary. */
export interface Place {
  name: PageName | "missing";
  page: Page;
  /** Parts of the path, such as `id`. */
  parameters: Record<string, string>;
}

function find(path: string): Place {
  for (const [name, page] of Object.entries(pages) as [PageName, Page][]) {
    const wanted = page.path.split("/");
    const given = path.replace(/(.)\/+$/, "$1").split("/");
    if (wanted.length !== given.length) continue;
    const parameters: Record<string, string> = {};
    const fits = wanted.every((part, index) => {
      const value = given[index] ?? "";
      if (!part.startsWith(":")) return part === value;
      try {
        parameters[part.slice(1)] = decodeURIComponent(value);
      } catch {
        return false;
      }
      return value !== "";
    });
    if (fits) return { name, page, parameters };
  }
  return { name: "missing", page: { path, load: () => import("../pages/Missing.svelte") }, parameters: {} };
}

let path = $state(location.pathname);
let search = $state(location.search);
const place = $derived(find(path));
const query = $derived(new URLSearchParams(search));

/** Scroll positions by history entry, so that "back" returns to the same place of a long list. */
const scrolled = new Map<string, number>();
let entry = "";

function name(): string {
  const state: unknown = history.state;
  return typeof state === "object" && state !== null && "entry" in state ? String(state.entry) : "";
}

function read(): void {
  path = location.pathname;
  search = location.search;
}

function remember(): void {
  scrolled.set(entry, scrollY);
}

/** The address bar. */
export const router = {
  get path(): string {
    return path;
  },
  /** Page of the current address. */
  get place(): Place {
    return place;
  },
  /** Query of the current address. */
  get query(): URLSearchParams {
    return query;
  },
  /** Address from the path on, to return to later. */
  get here(): string {
    return path + search;
  },
  /** Scroll position of this history entry when the user left it, or 0. */
  get scroll(): number {
    return scrolled.get(entry) ?? 0;
  },

  /** Show another page of this site. */
  go(address: string, { replace = false }: { replace?: boolean } = {}): void {
    const url = new URL(address, location.href);
    if (url.href === location.href) return;
    remember();
    entry = replace ? entry : `${Date.now()} ${Math.random()}`;
    history[replace ? "replaceState" : "pushState"]({ entry }, "", url);
    read();
  },

  /** Show the page before this one, or `otherwise` if this page was the first one. */
  back(otherwise: string): void {
    if (entry !== "" && history.length > 1) history.back();
    else router.go(otherwise, { replace: true });
  },

  /** Change parts of the query and keep the others. An empty value removes its part. */
  setQuery(changes: Record<string, string | readonly string[] | undefined>, { replace = true } = {}): void {
    const changed = new URLSearchParams(location.search);
    for (const [key, value] of Object.entries(changes)) {
      changed.delete(key);
      for (const one of typeof value === "string" ? [value] : (value ?? [])) if (one !== "") changed.append(key, one);
    }
    const text = changed.toString();
    router.go(location.pathname + (text === "" ? "" : `?${text}`), { replace });
  },

  /** Load the code of a page before the user goes there. */
  preload(address: string): void {
    const url = new URL(address, location.href);
    if (url.origin === location.origin)
      void find(url.pathname)
        .page.load()
        .catch(() => undefined);
  },

  /** Follow the links of the page and the buttons of the browser. Returns the function that stops that. */
  start(): () => void {
    history.scrollRestoration = "manual";
    entry = name();
    const stopping = new AbortController();
    const { signal } = stopping;
    addEventListener(
      "popstate",
      () => {
        remember();
        entry = name();
        read();
      },
      { signal },
    );
    document.addEventListener(
      "click",
      (event) => {
        const link = own(event.target);
        if (link === undefined || event.defaultPrevented || event.button !== 0) return;
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        router.go(link.href);
      },
      { signal },
    );
    for (const kind of ["pointerover", "focusin"])
      document.addEventListener(
        kind,
        (event) => {
          const link = own(event.target);
          if (link !== undefined) router.preload(link.href);
        },
        { signal, passive: true },
      );
    return () => stopping.abort();
  },
};

/** The link to a page of this site that contains `target`, if there is one. */
function own(target: EventTarget | null): HTMLAnchorElement | undefined {
  const link = target instanceof Element ? target.closest("a") : null;
  if (link === null || link.target !== "" || link.hasAttribute("download")) return undefined;
  if (link.origin !== location.origin || link.hash !== "" || link.pathname.startsWith("/pictures/")) return undefined;
  return link;
}
