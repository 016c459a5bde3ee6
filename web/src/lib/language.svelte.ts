/** The languages of the page. */
export type Language = "en" | "id";

export const languages: readonly { id: Language; name: string }[] = [
  { id: "en", name: "English" },
  { id: "id", name: "Bahasa Indonesia" },
];

const storage = "avatar-creator:language";

function preferred(): Language {
  const kept = localStorage.getItem(storage);
  if (kept === "en" || kept === "id") return kept;
  // "in" is what older Android systems call Indonesian.
  return navigator.languages.some((tag) => /^(id|in)\b/i.test(tag)) ? "id" : "en";
}

const begun = preferred();
let current = $state<Language>(begun);

/** The language that the page speaks now. Reading `current` in a component or `$derived` follows a change. */
export const language = {
  get current(): Language {
    return current;
  },
  choose(chosen: Language): void {
    current = chosen;
    localStorage.setItem(storage, chosen);
    document.documentElement.lang = chosen;
  },
};

document.documentElement.lang = begun;

/**
 * The words of one page or component, in both languages.
 *
 * The result has the same members as each language, and returns those of the language of the moment. So `t.title` in a
 * template changes with the language. A member with numbers or names in it is a function. A language that lacks a
 * member does not compile.
 */
export function words<T extends object>(both: { en: T; id: NoInfer<T> }): Readonly<T> {
  return new Proxy(both.en, { get: (_, name) => Reflect.get(both[current], name) });
}
