/** Uploads of this tab. They go on when the user goes to another page. */
import type { Avatar } from "avatar-creator";
import { api, gone, requestId } from "./api.js";
import { changes } from "./changes.js";
import { explain } from "./errors.js";
import { words } from "./language.svelte.js";

export interface Upload {
  id: string;
  projectId: string;
  file: File;
  /** Address of the picture within this tab, to show it during the upload. */
  preview: string;
  /** 0 to 1. At 1 the service works on the picture. */
  sent: number;
  state: "waiting" | "running" | "failed" | "done";
  /** Why it failed, for the user. */
  problem: string;
  /** Whether the same file may succeed later. */
  retryable: boolean;
}

const t = words({
  en: { type: "Only JPEG, PNG and WebP pictures can be uploaded.", size: "The picture is larger than 10 MB." },
  id: { type: "Hanya gambar JPEG, PNG, dan WebP yang dapat diunggah.", size: "Gambar lebih besar dari 10 MB." },
});

/** Types of the pictures that the service takes. */
export const pictureTypes = "image/jpeg,image/png,image/webp";
const largest = 10 * 1024 * 1024;
const atOnce = 3;

const all = $state<Upload[]>([]);
const stops = new Map<string, AbortController>();
const keys = new Map<string, string>();
let next = 1;

function refusal(file: File): string {
  if (file.type !== "" && !pictureTypes.split(",").includes(file.type)) return t.type;
  return file.size > largest ? t.size : "";
}

function begin(): void {
  const running = all.filter(({ state }) => state === "running").length;
  for (const upload of all.filter(({ state }) => state === "waiting").slice(0, atOnce - running)) void run(upload);
}

async function run(upload: Upload): Promise<void> {
  const stop = new AbortController();
  stops.set(upload.id, stop);
  upload.state = "running";
  upload.sent = 0;
  try {
    const key = keys.get(upload.id) ?? requestId();
    keys.set(upload.id, key);
    const made = await api.upload(upload.projectId, upload.file, {
      name: nameOf(upload.file),
      requestId: key,
      signal: stop.signal,
      onProgress: (sent, total) => (upload.sent = total === 0 ? 1 : sent / total),
    });
    const { avatar } = await api.avatars.getAvatar({ avatarId: made.id, includeLinks: true }, { signal: stop.signal });
    finish(upload, avatar ?? made);
  } catch (error) {
    if (!gone(error)) {
      const { title, detail, retryable } = explain(error);
      upload.problem = retryable && detail !== "" ? `${title}. ${detail}` : `${title}.`;
      upload.retryable = retryable;
      upload.state = "failed";
    }
  } finally {
    stops.delete(upload.id);
    begin();
  }
}

function finish(upload: Upload, avatar: Avatar): void {
  upload.state = "done";
  changes.notify({ kind: "avatar", avatar });
  uploads.drop(upload.id);
}

/** Pasted pictures are all called image.png. */
function nameOf(file: File): string {
  const name = [
    ...file.name
      .replace(/\.[^.]*$/, "")
      .replaceAll(/[\p{Cc}_]+/gu, " ")
      .trim(),
  ]
    .slice(0, 120)
    .join("");
  return name === "" ? "Avatar" : name;
}

export const uploads = {
  /** Uploads to a project that have not ended well yet. */
  of(projectId: string): readonly Upload[] {
    return all.filter((upload) => upload.projectId === projectId);
  },
  add(projectId: string, files: Iterable<File>): void {
    for (const file of files) {
      const problem = refusal(file);
      const preview = file.type.startsWith("image/") && problem === "" ? URL.createObjectURL(file) : "";
      all.push({
        id: String(next++),
        projectId,
        file,
        preview,
        sent: 0,
        state: problem === "" ? "waiting" : "failed",
        problem,
        retryable: false,
      });
    }
    begin();
  },
  retry(id: string): void {
    const upload = all.find((one) => one.id === id);
    if (upload === undefined) return;
    upload.state = "waiting";
    upload.problem = "";
    begin();
  },
  /** Stop an upload, or forget one that has ended. */
  drop(id: string): void {
    stops.get(id)?.abort();
    keys.delete(id);
    const index = all.findIndex((one) => one.id === id);
    const [dropped] = index < 0 ? [] : all.splice(index, 1);
    if (dropped !== undefined && dropped.preview !== "") URL.revokeObjectURL(dropped.preview);
  },
};

addEventListener("beforeunload", (event) => {
  if (all.some(({ state }) => state === "running" || state === "waiting")) event.preventDefault();
});
