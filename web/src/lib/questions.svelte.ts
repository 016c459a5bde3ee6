import type { Snippet } from "svelte";

/** A question with two answers, which the page asks before it does something that cannot be undone. */
export interface Question {
  title: string;
  text: string;
  /** What will go or change, below the text. */
  body?: Snippet;
  /** Label of the button that says yes: a verb, "Delete project". */
  yes: string;
  danger?: boolean;
}

let asked = $state<Question & { answer: (yes: boolean) => void }>();

/** The question of the moment. `Questions.svelte` shows it. */
export const questions = {
  get current(): (Question & { answer: (yes: boolean) => void }) | undefined {
    return asked;
  },
  /** Ask, and return whether the user said yes. */
  ask(question: Question): Promise<boolean> {
    asked?.answer(false);
    return new Promise((resolve) => {
      asked = {
        ...question,
        answer: (yes) => {
          asked = undefined;
          resolve(yes);
        },
      };
    });
  },
};
