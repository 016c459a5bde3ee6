/** "system" follows the setting of the operating system. */
export type Theme = "system" | "light" | "dark";

const storage = "avatar-creator:theme";

function remembered(): Theme {
  const kept = localStorage.getItem(storage);
  return kept === "light" || kept === "dark" ? kept : "system";
}

let current = $state<Theme>(remembered());

function show(): void {
  if (current === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = current;
}

/** The colors of the page. */
export const theme = {
  get current(): Theme {
    return current;
  },
  choose(chosen: Theme): void {
    current = chosen;
    localStorage.setItem(storage, chosen);
    show();
  },
};

show();
