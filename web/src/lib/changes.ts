import type { Avatar, AvatarProject } from "avatar-creator";

/** Something that a page has changed, and that other pages may still show from before. */
export type Change =
  | { kind: "avatar"; avatar: Avatar }
  | { kind: "avatar-deleted"; id: string; projectId: string }
  | { kind: "project"; project: AvatarProject }
  | { kind: "project-deleted"; id: string };

const listeners = new Set<(change: Change) => void>();

/** Notifies the lists that pages keep for "back" of each other's changes, within this tab. */
export const changes = {
  notify(change: Change): void {
    for (const listener of listeners) listener(change);
  },
  /** Returns the function that stops it. */
  on(listener: (change: Change) => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};
