/** The presets and persona examples with some filters. They stay for "back". */
import type { AvatarPreset, PersonaExample } from "avatar-creator";
import { api } from "../../lib/api.js";
import { Paged } from "../../lib/paged.svelte.js";

export interface Filters {
  query: string;
  category: string;
}

function presets({ query, category }: Filters): Paged<AvatarPreset> {
  return new Paged(async (pageToken, signal) => {
    const answer = await api.presets.listPresets(
      { query, category, includeImages: true, pageSize: 30, pageToken },
      { signal },
    );
    return { items: answer.presets, nextPageToken: answer.nextPageToken };
  });
}

function personas({ category }: Filters): Paged<PersonaExample> {
  return new Paged(async (pageToken, signal) => {
    const answer = await api.presets.listPersonaExamples({ category, pageSize: 60, pageToken }, { signal });
    return { items: answer.personaExamples, nextPageToken: answer.nextPageToken };
  });
}

function last<T>(make: (filters: Filters) => T): (user: string, filters: Filters) => T {
  let kept: { key: string; list: T } | undefined;
  return (user, filters) => {
    const key = JSON.stringify([user, filters]);
    if (kept?.key !== key) kept = { key, list: make(filters) };
    return kept.list;
  };
}

/** The presets of these filters. */
export const presetsOf = last(presets);
/** The persona examples of a category. The service has no search for them. */
export const personasOf = last(personas);

/** Return the categories of all presets or of all persona examples, in alphabetical order. */
export async function categoriesOf(kind: "presets" | "personas", signal: AbortSignal): Promise<string[]> {
  const found = new Set<string>();
  let pageToken = "";
  do {
    if (kind === "presets") {
      const page = await api.presets.listPresets({ pageSize: 100, pageToken }, { signal });
      for (const { category } of page.presets) found.add(category);
      pageToken = page.nextPageToken;
    } else {
      const page = await api.presets.listPersonaExamples({ pageSize: 100, pageToken }, { signal });
      for (const { category } of page.personaExamples) found.add(category);
      pageToken = page.nextPageToken;
    }
  } while (pageToken !== "");
  found.delete("");
  return [...found].toSorted();
}
