/** A sibling app that an avatar can be handed to. */
export interface SiblingApp {
  name: string;
  /** Address with `{avatar_id}` in it. */
  url: string;
}

/** Facts for the page, from `/page.json`. */
export interface Settings {
  /** Origins that may embed the page and hand it a token. */
  origins: readonly string[];
  siblingApps: readonly SiblingApp[];
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}

function apps(value: unknown): SiblingApp[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((one: unknown) => {
    if (typeof one !== "object" || one === null || !("name" in one) || !("url" in one)) return [];
    return typeof one.name === "string" && typeof one.url === "string" && /^https?:/.test(one.url)
      ? [{ name: one.name, url: one.url }]
      : [];
  });
}

async function load(): Promise<Settings> {
  try {
    const answer = await fetch("/page.json");
    const answered: unknown = answer.ok ? await answer.json() : {};
    const from = (name: string): unknown =>
      typeof answered === "object" && answered !== null ? Reflect.get(answered, name) : undefined;
    return { origins: texts(from("origins")), siblingApps: apps(from("sibling_apps")) };
  } catch {
    // The page works without them: no app may embed it, and there are no other apps.
    return { origins: [], siblingApps: [] };
  }
}

/** Settings of the service, read once. */
export const settings: Promise<Settings> = load();

/** The address of an app for one avatar. */
export function addressOf(app: SiblingApp, avatarId: string): string {
  return app.url.replaceAll("{avatar_id}", encodeURIComponent(avatarId));
}
