import { words } from "./language.svelte.js";
import { toasts } from "./toasts.svelte.js";

const t = words({ en: { undo: "Undo" }, id: { undo: "Urungkan" } });

/** Milliseconds in which a deletion can be undone. */
const patience = 7000;

const waiting = new Set<(leaving: boolean) => void>();

// A tab that goes away takes its timers along: what the user has already seen as done must be done.
addEventListener("pagehide", () => {
  for (const commit of [...waiting]) commit(true);
});

/**
 * Do something that the service cannot take back, but only after the user had time to undo it.
 *
 * The caller shows the result at once and takes it back in `undone`. `commit` runs when the toast has gone, or when the
 * tab closes: then `leaving` is true, and only `api.sendLast` still reaches the service.
 */
export function delayed(text: string, commit: (leaving: boolean) => void, undone: () => void): void {
  const now = (leaving: boolean): void => {
    clearTimeout(timer);
    waiting.delete(now);
    toasts.hide(toast);
    commit(leaving);
  };
  const timer = setTimeout(() => now(false), patience);
  waiting.add(now);
  const toast = toasts.show(text, {
    stays: patience,
    action: {
      label: t.undo,
      run: () => {
        clearTimeout(timer);
        waiting.delete(now);
        undone();
      },
    },
  });
}
