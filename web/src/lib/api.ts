/** The service, as the pages call it. It is the only module that makes calls. */
import {
  type Avatar,
  AvatarCreatorError,
  AvatarProjectService,
  AvatarService,
  type Avatars,
  type CallOptions,
  Code,
  call,
  connect,
  GenerationService,
  type Generation,
  type Generations,
  isAborted,
  PresetService,
  type Presets,
  type Projects,
  type UploadOptions,
  upload as uploadPicture,
  type Usage,
  UsageService,
  watch,
} from "avatar-creator";
import { untrack } from "svelte";
import { session } from "./session.svelte.js";

export type Timestamp = NonNullable<Avatar["createTime"]>;

/** The calls of a service that have one answer. */
type Calls<T> = {
  readonly [
    K in keyof T as T[K] extends (request: never, options?: never) => Promise<unknown> ? K : never
  ]: T[K] extends (request: infer I, options?: never) => infer O ? (request: I, options?: CallOptions) => O : never;
};

const connection = connect({ token: () => untrack(() => session.token) });

/** Return a service's calls that have one answer. Services that few pages need are loaded by them. */
export function calls<T>(service: { readonly method: object }): Calls<T> {
  return new Proxy({} as Calls<T>, {
    get:
      (_, name) =>
      (request: object, options: CallOptions = {}) =>
        signedIn(
          () =>
            call(
              connection,
              Reflect.get(service.method, name) as Parameters<typeof call>[1],
              request as Record<string, unknown>,
              options,
            ),
          options.signal,
        ),
  });
}

/**
 * Try something, and again each time that the user has signed in again because the token no longer worked.
 *
 * So the work in hand is not lost: the call goes on where it was, however long the user needed.
 */
async function signedIn<T>(attempt: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (;;) {
    const used = untrack(() => session.token);
    try {
      if (used === "") await session.renew(used, "missing", signal);
      return await attempt();
    } catch (error) {
      if (!(error instanceof AvatarCreatorError) || error.code !== Code.Unauthenticated) throw error;
      await session.renew(used, error.reason === "TOKEN_EXPIRED" ? "expired" : "refused", signal);
    }
  }
}

/** Every call of the service that has one answer, such as `api.avatars.getAvatar({ avatarId })`. */
export const api = {
  projects: calls<Projects>(AvatarProjectService),
  avatars: calls<Avatars>(AvatarService),
  generations: calls<Generations>(GenerationService),
  presets: calls<Presets>(PresetService),
  usage: calls<Usage>(UsageService),

  /** Upload a picture as an avatar of a project. */
  upload(projectId: string, picture: Blob, options: UploadOptions = {}): Promise<Avatar> {
    return signedIn(() => uploadPicture(connection, projectId, picture, options), options.signal);
  },

  /** Watch all generations of the user, without an end. Ends with an error if the token no longer works. */
  watchAll(options: { signal: AbortSignal; changedSince?: Date; onReconnect: () => void }): AsyncIterable<Generation> {
    const { changedSince, ...rest } = options;
    return watch(
      connection,
      { all: true, ...(changedSince && { changedSince }) },
      { ...rest, reconnectForMs: Infinity },
    );
  },

  /**
   * Send a call from a tab that closes. The browser carries it out after the page has gone, and its answer is lost.
   */
  sendLast(method: "AvatarService/DeleteAvatar" | "AvatarProjectService/DeleteProject", request: object): void {
    void fetch(`/avatar_creator.v1.${method}`, {
      method: "POST",
      keepalive: true,
      headers: {
        "content-type": "application/json",
        "connect-protocol-version": "1",
        authorization: `Bearer ${session.token}`,
      },
      body: JSON.stringify(request),
    }).catch(() => undefined);
  },
};

/** Return whether a call was given up, because the page that made it has gone. There is nothing to show. */
export const gone = isAborted;

/** Address of the small picture of an avatar. While there is none yet, that of the large one. */
export function thumbnailOf(avatar: Avatar): string {
  return avatar.thumbnailUrl === "" ? avatar.imageUrl : avatar.thumbnailUrl;
}

/** Address from which the browser saves the picture of an avatar as a file. */
export function downloadOf(avatar: Avatar): string {
  return avatar.imageUrl === "" ? "" : `${avatar.imageUrl}&download`;
}

/** Return a random key that makes a call safe to repeat. A screen keeps one for each thing that the user does. */
export function requestId(): string {
  // `crypto.randomUUID` exists only over HTTPS and on this machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
