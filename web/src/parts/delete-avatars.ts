import { api, gone } from "../lib/api.js";
import { changes } from "../lib/changes.js";
import { inOneLine } from "../lib/errors.js";
import { number } from "../lib/format.js";
import { words } from "../lib/language.svelte.js";
import { toasts } from "../lib/toasts.svelte.js";
import { deleteLater } from "../lib/undo.js";

const t = words({
  en: {
    deleted: (count: number) => (count === 1 ? "1 avatar was deleted." : `${number(count)} avatars were deleted.`),
  },
  id: { deleted: (count: number) => `${number(count)} avatar dihapus.` },
});

/** Calls at the same time. */
const atOnce = 4;

/** Delete avatars of a project after the time for "Undo". */
export function deleteAvatars(projectId: string, ids: readonly string[]): void {
  if (ids.length === 0) return;
  deleteLater(t.deleted(ids.length), ids, async (leaving) => {
    const failed: string[] = [];
    if (leaving) {
      for (const avatarId of ids) api.sendLast("AvatarService/DeleteAvatar", { avatarId });
      return failed;
    }
    const left = [...ids];
    const work = async (): Promise<void> => {
      for (let avatarId = left.pop(); avatarId !== undefined; avatarId = left.pop()) {
        try {
          await api.avatars.deleteAvatar({ avatarId });
          changes.notify({ kind: "avatar-deleted", id: avatarId, projectId });
        } catch (error) {
          failed.push(avatarId);
          if (failed.length === 1 && !gone(error)) toasts.show(inOneLine(error), { kind: "bad" });
        }
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    return failed;
  });
}
