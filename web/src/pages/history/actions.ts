/** What can be done with generations, one or many. */
import { type Generation, GenerationState, hasEnded } from "avatar-creator";
import { api, gone, requestId } from "../../lib/api.js";
import { inOneLine } from "../../lib/errors.js";
import { number } from "../../lib/format.js";
import { words } from "../../lib/language.svelte.js";
import { live } from "../../lib/live.svelte.js";
import { toasts } from "../../lib/toasts.svelte.js";

const t = words({
  en: {
    cancelled: (count: number) =>
      count === 1 ? "The generation was cancelled." : `${number(count)} generations were cancelled.`,
    started: (count: number) =>
      count === 1 ? "It is in the queue again." : `${number(count)} generations are in the queue again.`,
    failed: (count: number, why: string) => (count === 1 ? why : `${number(count)} failed. ${why}`),
    again: "Start again",
  },
  id: {
    cancelled: (count: number) => (count === 1 ? "Pembuatan dibatalkan." : `${number(count)} pembuatan dibatalkan.`),
    started: (count: number) =>
      count === 1 ? "Sudah masuk antrean lagi." : `${number(count)} pembuatan masuk antrean lagi.`,
    failed: (count: number, why: string) => (count === 1 ? why : `${number(count)} gagal. ${why}`),
    again: "Mulai lagi",
  },
});

/** Calls at the same time. */
const atOnce = 4;

/** One key for each generation, until its call has succeeded: so no retry happens twice. */
const keys = new Map<string, string>();

export const canRetry = ({ state }: Generation): boolean =>
  state === GenerationState.FAILED || state === GenerationState.CANCELLED;
export const canCancel = (generation: Generation): boolean => !hasEnded(generation);

/** Do something for all, and show the user those that failed. Returns the number of those that did not. */
async function each(all: readonly Generation[], act: (generation: Generation) => Promise<void>): Promise<number> {
  const left = [...all];
  let failed = 0;
  let why = "";
  const work = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) {
      try {
        await act(one);
      } catch (error) {
        failed += 1;
        if (!gone(error)) why ||= inOneLine(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, all.length) }, work));
  if (failed > 0) toasts.show(t.failed(failed, why), { kind: "bad" });
  return all.length - failed;
}

/** Start generations again, each as a new one. */
export async function retry(all: readonly Generation[]): Promise<void> {
  const done = await each(all, async ({ id }) => {
    const key = keys.get(id) ?? requestId();
    keys.set(id, key);
    const { generation } = await api.generations.retryGeneration({ generationId: id, requestId: key });
    keys.delete(id);
    if (generation !== undefined) live.add(generation);
  });
  if (done > 0) toasts.show(t.started(done), { kind: "good" });
}

export async function cancel(all: readonly Generation[]): Promise<void> {
  const ended: Generation[] = [];
  const done = await each(all, async ({ id }) => {
    const { generation } = await api.generations.cancelGeneration({ generationId: id });
    if (generation === undefined) return;
    ended.push(generation);
    live.add(generation);
  });
  if (done > 0) toasts.show(t.cancelled(done), { action: { label: t.again, run: () => void retry(ended) } });
}
