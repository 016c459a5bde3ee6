import type { EstimateGenerationResponse } from "avatar-creator";
import { api, gone } from "../../lib/api.js";
import type { requestOf } from "./draft.js";

/** Milliseconds without a keystroke after which the service is asked. */
const pause = 350;

/** Asks for the price and time of what the user enters. The last answer stays until the next one is there. */
export class Estimator {
  answer = $state.raw<EstimateGenerationResponse>();
  /** What the last call threw. Undefined: it has answered. */
  error = $state.raw<unknown>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: AbortController | undefined;
  #asked = false;

  /** Ask a moment later, and forget what was asked before. */
  ask(generation: ReturnType<typeof requestOf>): void {
    this.stop();
    // The first answer shows what a portrait costs, before the user types.
    this.#timer = setTimeout(() => void this.#run(generation), this.#asked ? pause : 0);
    this.#asked = true;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#running?.abort();
  }

  async #run(generation: ReturnType<typeof requestOf>): Promise<void> {
    const running = (this.#running = new AbortController());
    try {
      const answer = await api.generations.estimateGeneration({ generation }, { signal: running.signal });
      if (running.signal.aborted) return;
      this.answer = answer;
      this.error = undefined;
    } catch (error) {
      if (running.signal.aborted || gone(error)) return;
      this.error = error;
    }
  }
}
