/** The generations with some filters, and their avatars. They stay for "back" from an avatar. */
import { type Avatar, type Generation, GenerationOrder, GenerationState } from "avatar-creator";
import { SvelteMap } from "svelte/reactivity";
import { api, gone } from "../../lib/api.js";
import { changes } from "../../lib/changes.js";
import { live } from "../../lib/live.svelte.js";
import { Paged } from "../../lib/paged.svelte.js";
import { type Filters, fits, toRequest } from "./filters.js";

/** Avatars by id, of all filters. */
export const avatars = new SvelteMap<string, Avatar>();
const asked = new Set<string>();

/** Read avatars with their links. What cannot be read stays without a picture. */
export async function readAvatars(ids: readonly string[], { again = false } = {}): Promise<void> {
  const wanted = [...new Set(ids)].filter((id) => id !== "" && (again || !asked.has(id)));
  for (let at = 0; at < wanted.length; at += 100) {
    const some = wanted.slice(at, at + 100);
    for (const id of some) asked.add(id);
    try {
      const found = await api.avatars.batchGetAvatars({ avatarIds: some, includeLinks: true });
      for (const avatar of found.avatars) avatars.set(avatar.id, avatar);
    } catch (error) {
      for (const id of some) asked.delete(id);
      if (!gone(error)) return;
    }
  }
}

/** The newest state that is known: that of the list or that of the watch. */
export function newestOf(generation: Generation): Generation {
  const known = live.get(generation.id);
  return known !== undefined && known.revision >= generation.revision ? known : generation;
}

export class Timeline {
  readonly list: Paged<Generation>;

  constructor(readonly filters: Filters) {
    this.list = new Paged(async (pageToken, signal) => {
      const { generations, nextPageToken } = await api.generations.listGenerations(
        { ...toRequest(filters), pageSize: 40, pageToken },
        { signal },
      );
      void readAvatars(generations.map(({ avatarId }) => avatarId));
      return { items: generations, nextPageToken };
    });
  }

  /** Take in a new state. A new generation comes to its place, if the filters let it. */
  take(generation: Generation): void {
    if (generation.state === GenerationState.COMPLETED) void readAvatars([generation.avatarId]);
    if (this.list.items.some(({ id }) => id === generation.id)) this.list.replace(generation);
    else if (
      this.list.started &&
      this.filters.order === GenerationOrder.NEWEST_FIRST &&
      fits(generation, this.filters)
    ) {
      // Ids begin with their time.
      const at = this.list.items.findIndex(({ id }) => id < generation.id);
      if (at >= 0 || !this.list.hasMore) this.list.add([generation], at < 0 ? this.list.items.length : at);
    }
  }
}

let kept: { key: string; timeline: Timeline }[] = [];

/** Return the timeline of these filters. It may still have what it showed the last time. */
export function timelineOf(user: string, filters: Filters): Timeline {
  const key = JSON.stringify([user, filters]);
  const timeline = kept.find((one) => one.key === key)?.timeline ?? new Timeline(filters);
  kept = [...kept.filter((one) => one.key !== key).slice(-2), { key, timeline }];
  return timeline;
}

changes.on((change) => {
  if (change.kind === "avatar-deleted") avatars.delete(change.id);
  if (change.kind === "avatar" && change.avatar.thumbnailUrl !== "") avatars.set(change.avatar.id, change.avatar);
});
