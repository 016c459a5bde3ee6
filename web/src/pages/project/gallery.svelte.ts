/** The avatars of a project with some filters. They stay for "back" from an avatar. */
import { type Avatar, type AvatarProject, AvatarOrder } from "avatar-creator";
import { api } from "../../lib/api.js";
import { changes } from "../../lib/changes.js";
import { Paged } from "../../lib/paged.svelte.js";
import { active, type Filters } from "./filters.js";

export class Gallery {
  readonly avatars: Paged<Avatar>;
  project = $state.raw<AvatarProject>();

  constructor(
    readonly projectId: string,
    readonly filters: Filters,
  ) {
    this.avatars = new Paged(async (pageToken, signal) => {
      const { query, sources, gender, ageRange, style, ethnicity, order } = filters;
      const { avatars, nextPageToken } = await api.avatars.listAvatars(
        {
          projectId,
          pageSize: 60,
          pageToken,
          includeLinks: true,
          query,
          sourceTypes: sources,
          gender,
          ageRange,
          style,
          ethnicity,
          order,
        },
        { signal },
      );
      return { items: avatars, nextPageToken };
    });
  }

  /** Whether each new avatar comes first. */
  get showsAll(): boolean {
    return (
      active(this.filters).length === 0 && this.filters.query === "" && this.filters.order === AvatarOrder.NEWEST_FIRST
    );
  }

  async loadProject(signal: AbortSignal): Promise<void> {
    const { project } = await api.projects.getProject({ projectId: this.projectId }, { signal });
    this.project = project;
  }

  /** Take in an avatar that is new or has changed. */
  take(avatar: Avatar): void {
    if (avatar.projectId !== this.projectId) return;
    if (this.avatars.items.some(({ id }) => id === avatar.id)) {
      // The answer of a change has no links.
      const before = this.avatars.items.find(({ id }) => id === avatar.id)!;
      const imageUrl = avatar.imageUrl || before.imageUrl;
      const thumbnailUrl = avatar.thumbnailUrl || before.thumbnailUrl;
      this.avatars.replace({ ...avatar, imageUrl, thumbnailUrl });
      return;
    }
    if (this.project !== undefined) this.project = { ...this.project, avatarCount: this.project.avatarCount + 1 };
    if (this.showsAll) this.avatars.add([avatar]);
    else void this.avatars.reload();
  }

  /** Forget avatars that are deleted. */
  drop(ids: ReadonlySet<string>): void {
    const here = this.avatars.items.filter(({ id }) => ids.has(id)).length;
    if (here === 0) return;
    this.avatars.remove(ids);
    if (this.project !== undefined)
      this.project = { ...this.project, avatarCount: Math.max(0, this.project.avatarCount - here) };
  }
}

/** The last galleries, newest last. More would only hold memory. */
let kept: { key: string; gallery: Gallery }[] = [];

/** Return the gallery of these filters. It may still have what it showed the last time. */
export function galleryOf(user: string, projectId: string, filters: Filters): Gallery {
  const key = JSON.stringify([user, projectId, filters]);
  const gallery = kept.find((one) => one.key === key)?.gallery ?? new Gallery(projectId, filters);
  // The head of the page is the same with other filters.
  gallery.project ??= kept.findLast((one) => one.gallery.projectId === projectId)?.gallery.project;
  kept = [...kept.filter((one) => one.key !== key).slice(-2), { key, gallery }];
  return gallery;
}

/** Return the gallery that the user saw last, of those that have this avatar. */
export function galleryWith(avatarId: string): Gallery | undefined {
  return kept.findLast(({ gallery }) => gallery.avatars.items.some(({ id }) => id === avatarId))?.gallery;
}

changes.on((change) => {
  if (change.kind === "avatar") for (const { gallery } of kept) gallery.take(change.avatar);
  if (change.kind === "avatar-deleted") for (const { gallery } of kept) gallery.drop(new Set([change.id]));
  if (change.kind === "project")
    for (const { gallery } of kept) if (gallery.projectId === change.project.id) gallery.project = change.project;
});
