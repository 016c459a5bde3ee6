import { settings } from "./settings.js";

const storage = "avatar-creator:token";

/** Why the page asks for a token. */
export type Need = "none" | "missing" | "expired" | "refused";

/** Claims of a token that the page shows. The page does not check the token: the service does. */
interface Claims {
  user: string;
  app: string;
  operator: boolean;
  /** Milliseconds since 1970. */
  expires: number;
}

function claims(token: string): Claims {
  const unreadable = { user: "", app: "", operator: false, expires: Infinity };
  try {
    const part = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0));
    const read: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof read !== "object" || read === null) return unreadable;
    const text = (name: string): string => {
      const value: unknown = Reflect.get(read, name);
      return typeof value === "string" ? value : "";
    };
    const expires: unknown = Reflect.get(read, "exp");
    return {
      user: text("sub"),
      app: text("app_id"),
      operator: text("role") === "ops",
      expires: typeof expires === "number" ? expires * 1000 : Infinity,
    };
  } catch {
    return unreadable;
  }
}

/** Take a token out of `#token=…`, so that it stays out of the address bar and the history. */
function handedOver(): string {
  const given = new URLSearchParams(location.hash.slice(1));
  const token = given.get("token");
  if (token === null) return "";
  given.delete("token");
  const rest = given.toString();
  history.replaceState(history.state, "", location.pathname + location.search + (rest === "" ? "" : `#${rest}`));
  return token.trim();
}

function first(): string {
  const token = handedOver();
  if (token !== "") sessionStorage.setItem(storage, token);
  return token !== "" ? token : (sessionStorage.getItem(storage) ?? "");
}

const begun = first();
let token = $state(begun);
let need = $state<Need>(begun === "" ? "missing" : "none");
const claimed = $derived(claims(token));
let waiting: (() => void)[] = [];

/** The token, who it names, and whether the page needs another one. */
export const session = {
  get token(): string {
    return token;
  },
  /** Id of the user that the token names. Empty if the page cannot read it. */
  get user(): string {
    return claimed.user;
  },
  /** Id of the app that the token names, or empty. */
  get app(): string {
    return claimed.app;
  },
  get operator(): boolean {
    return claimed.operator;
  },
  /** Why the sign-in lies over the page; "none" if it does not. */
  get need(): Need {
    return need;
  },

  signIn(given: string): void {
    token = given.trim();
    sessionStorage.setItem(storage, token);
    need = "none";
    const resumed = waiting;
    waiting = [];
    for (const resume of resumed) resume();
  },

  signOut(): void {
    // With the token go the drafts that pages keep there.
    sessionStorage.clear();
    token = "";
    need = "missing";
  },

  /**
   * Ask for another token than `used`, and wait until there is one. The page stays as it is below the sign-in, so a
   * call can go on afterwards.
   */
  async renew(used: string, why: Need = "expired", signal?: AbortSignal): Promise<void> {
    if (token !== used && token !== "") return;
    need = why;
    ask();
    await new Promise<void>((resolve, reject) => {
      waiting.push(resolve);
      signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
  },
};

/** Ask the app that embeds or opened the page for a token. */
function ask(): void {
  void settings.then(({ origins }) => {
    for (const other of [parent === window ? null : parent, opener as Window | null])
      for (const origin of origins) other?.postMessage({ type: "avatar-creator:token-needed" }, origin);
  });
}

addEventListener("message", (event: MessageEvent<unknown>) => {
  const { data, origin } = event;
  if (typeof data !== "object" || data === null || !("type" in data) || data.type !== "avatar-creator:token") return;
  if (!("token" in data) || typeof data.token !== "string") return;
  const given = data.token;
  void settings.then(({ origins }) => {
    if (origins.includes(origin)) session.signIn(given);
  });
});
addEventListener("hashchange", () => {
  const given = handedOver();
  if (given !== "") session.signIn(given);
});
if (begun === "") ask();
