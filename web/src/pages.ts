import type { Component } from "svelte";

/** A page. Each is a chunk of its own, which the browser loads when the user goes there. */
export interface Page {
  /** Path of its address. A part with a colon is a parameter: the page receives it as a property. */
  path: string;
  load: () => Promise<{ default: Component<{ id: string }> | Component }>;
}

export const pages = {
  projects: { path: "/", load: () => import("./pages/projects/Projects.svelte") },
  project: { path: "/projects/:id", load: () => import("./pages/project/Project.svelte") },
  generate: { path: "/projects/:id/generate", load: () => import("./pages/generate/Generate.svelte") },
  avatar: { path: "/avatars/:id", load: () => import("./pages/avatar/Avatar.svelte") },
  history: { path: "/history", load: () => import("./pages/history/History.svelte") },
  presets: { path: "/presets", load: () => import("./pages/presets/Presets.svelte") },
  usage: { path: "/usage", load: () => import("./pages/usage/Usage.svelte") },
} satisfies Record<string, Page>;

export type PageName = keyof typeof pages;
