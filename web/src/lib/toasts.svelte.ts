export interface Toast {
  id: number;
  text: string;
  kind: "note" | "good" | "bad";
  /** A button of the toast, such as "Undo". */
  action?: { label: string; run: () => void };
  /** Milliseconds until the toast goes. It waits while the pointer or the focus is in it. */
  stays: number;
}

const shown = $state<Toast[]>([]);
let next = 1;

/** Short messages at the edge of the page. */
export const toasts = {
  get shown(): readonly Toast[] {
    return shown;
  },
  show(
    text: string,
    {
      kind = "note",
      action,
      stays = action === undefined && kind !== "bad" ? 4000 : 8000,
    }: Partial<Omit<Toast, "id" | "text">> = {},
  ): number {
    const id = next++;
    shown.push({ id, text, kind, stays, ...(action === undefined ? {} : { action }) });
    if (shown.length > 4) shown.shift();
    return id;
  },
  hide(id: number): void {
    const index = shown.findIndex((toast) => toast.id === id);
    if (index >= 0) shown.splice(index, 1);
  },
};
