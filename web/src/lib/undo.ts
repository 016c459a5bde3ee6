import { SvelteSet } from "svelte/reactivity";
import { words } from "./language.svelte.js";
import { toasts } from "./toasts.svelte.js";

const t = words({ en: { undo: "Undo" }, id: { undo: "Urungkan" } });

/** Milliseconds in which a deletion can be undone. */
const patience = 7000;

/** Ids of what the user has deleted. Lists leave them out, although the service may still have them. */
export const deleted = new SvelteSet<string>();

const waiting = new Set<(leaving: boolean) => void>();
const undos: (() => void)[] = [];

// For people who do not reach the toast in time with their keyboard.
addEventListener("keydown", (event) => {
  if (event.key !== "z" || event.shiftKey || !(event.ctrlKey || event.metaKey)) return;
  if (event.target instanceof Element && event.target.closest("input, textarea, [contenteditable]")) return;
  const undo = undos.at(-1);
  if (undo === undefined) return;
  event.preventDefault();
  undo();
});

// A tab that goes away takes its timers along: what the user has already seen as done must be done.
addEventListener("pagehide", () => {
  for (const commit of [...waiting]) commit(true);
});

/**
 * Delete things that the service cannot bring back, but only after the user had time to undo it.
 *
 * The ids are in `deleted` at once, and leave it again if the user undoes it.
 *
 * @param text What has been done, for the toast.
 * @param commit Deletes them for good, when the toast has gone or when the tab closes: then `leaving` is true, and only
 * `api.sendLast` still reaches the service. Resolves to the ids that could not be deleted.
 */
export function deleteLater(
  text: string,
  ids: readonly string[],
  commit: (leaving: boolean) => Promise<readonly string[]>,
): void {
  for (const id of ids) deleted.add(id);
  const back = (failed: readonly string[]): void => {
    for (const id of failed) deleted.delete(id);
  };
  const end = (): void => {
    clearTimeout(timer);
    waiting.delete(now);
    undos.splice(undos.indexOf(undo), 1);
    toasts.hide(toast);
  };
  const undo = (): void => {
    end();
    back(ids);
  };
  const now = (leaving: boolean): void => {
    end();
    void commit(leaving).then(back, () => back(ids));
  };
  const timer = setTimeout(() => now(false), patience);
  waiting.add(now);
  undos.push(undo);
  const toast = toasts.show(text, { stays: Infinity, action: { label: t.undo, run: undo } });
}
