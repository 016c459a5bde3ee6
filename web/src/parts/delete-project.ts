import type { AvatarProject } from "avatar-creator";
import { api, gone } from "../lib/api.js";
import { changes } from "../lib/changes.js";
import { inOneLine } from "../lib/errors.js";
import { number } from "../lib/format.js";
import { words } from "../lib/language.svelte.js";
import { live } from "../lib/live.svelte.js";
import { questions } from "../lib/questions.svelte.js";
import { toasts } from "../lib/toasts.svelte.js";
import { deleteLater } from "../lib/undo.js";

const t = words({
  en: {
    title: (name: string) => `Delete “${name}”?`,
    empty: "The project has no avatars.",
    avatars: (count: number) =>
      count === 1 ? "1 avatar with its picture goes, too." : `${number(count)} avatars with their pictures go, too.`,
    running: (count: number) =>
      count === 1
        ? "1 portrait in the making is cancelled."
        : `${number(count)} portraits in the making are cancelled.`,
    yes: "Delete project",
    deleted: (name: string) => `“${name}” was deleted.`,
  },
  id: {
    title: (name: string) => `Hapus “${name}”?`,
    empty: "Proyek ini tidak berisi avatar.",
    avatars: (count: number) => `${number(count)} avatar beserta gambarnya ikut terhapus.`,
    running: (count: number) => `${number(count)} potret yang sedang dibuat dibatalkan.`,
    yes: "Hapus proyek",
    deleted: (name: string) => `“${name}” dihapus.`,
  },
});

/**
 * Ask whether to delete a project, say what goes with it, and delete it after the time for "Undo". Returns whether the
 * user said yes.
 */
export async function deleteProject(project: AvatarProject): Promise<boolean> {
  const running = live.unfinished.filter(({ projectId }) => projectId === project.id).length;
  const lost = [
    project.avatarCount > 0 ? t.avatars(project.avatarCount) : "",
    running > 0 ? t.running(running) : "",
  ].filter((line) => line !== "");
  const text = lost.length === 0 ? t.empty : lost.join("\n");
  if (!(await questions.ask({ title: t.title(project.name), text, yes: t.yes, danger: true }))) return false;
  deleteLater(t.deleted(project.name), [project.id], async (leaving) => {
    const request = { projectId: project.id };
    if (leaving) {
      api.sendLast("AvatarProjectService/DeleteProject", request);
      return [];
    }
    try {
      await api.projects.deleteProject(request);
      changes.notify({ kind: "project-deleted", id: project.id });
      return [];
    } catch (error) {
      if (!gone(error)) toasts.show(inOneLine(error), { kind: "bad" });
      return [project.id];
    }
  });
  return true;
}
