/** Uploads of pictures. */

import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Avatar } from "../gen/avatar_creator/v1/avatar_pb.js";
import {
  AvatarService,
  UploadAvatarRequestSchema,
  type UploadAvatarMetadataSchema,
} from "../gen/avatar_creator/v1/avatar_service_pb.js";
import { attempts, type Attempt, type CallOptions } from "./calls.js";
import type { Connection } from "./connection.js";
import { invalidArgument } from "./errors.js";
import { envelopeOf, sendEnvelopes, type OnProgress } from "./envelopes.js";
import { newRequestId } from "./request-id.js";

/** Size of every chunk except the last; the contract recommends 64 to 256 KiB. */
const CHUNK_BYTES = 128 * 1024;

/** Longest name of an avatar, in characters. */
const NAME_CHARACTERS = 120;

type Message = MessageInitShape<typeof UploadAvatarRequestSchema>;
type Metadata = MessageInitShape<typeof UploadAvatarMetadataSchema>;

/** Options of an upload. */
export interface UploadOptions
  extends CallOptions, Pick<Metadata, "persona" | "attributes" | "contentType" | "deferThumbnail" | "requestId"> {
  /** Name of the avatar, 1 to 120 characters. The default is the name of the file without its suffix. */
  readonly name?: string | undefined;
  /** Function called with the bytes sent and the bytes of the picture. A retry starts again from 0. */
  readonly onProgress?: OnProgress | undefined;
}

/**
 * Upload a JPEG, PNG or WebP picture, and return its avatar.
 *
 * @throws AvatarCreatorError: the service refused the picture, and `reason` is one of the IMAGE_… reasons; or as for
 * any call. An error of `onProgress` ends the upload, and is thrown as it is.
 */
export async function upload(
  connection: Connection,
  projectId: string,
  picture: Blob,
  options: UploadOptions = {},
): Promise<Avatar> {
  if (!isBlob(picture)) {
    throw invalidArgument("the picture must be a Blob or a File; on Node, openAsBlob(path) makes a Blob of a file");
  }
  const { name = nameOf(picture), onProgress, signal: caller, timeoutMs, requestId, ...metadata } = options;
  const progress = onProgress && new Progress(onProgress);
  const signal = progress && caller ? AbortSignal.any([caller, progress.signal]) : (progress?.signal ?? caller);
  const method = AvatarService.method.uploadAvatar;
  const first: Message = {
    payload: {
      case: "metadata",
      value: { ...metadata, projectId, name, requestId: requestId || newRequestId() } as Metadata,
    },
  };
  const { uploadUrl } = connection;
  const scaled: OnProgress | undefined =
    progress && ((sent, total) => progress.report(share(sent, total, picture), picture.size));
  const send = async (attempt: Attempt) => {
    if (uploadUrl === undefined) {
      return sendStream(connection, messagesOf(first, picture, progress), attempt, signal);
    }
    // A file that was removed fails here. In the middle of a request, it would look like a lost connection.
    await picture.slice(0, 1).arrayBuffer();
    return sendEnvelopes(uploadUrl, method, bodyOf(first, picture), attempt, signal, scaled);
  };
  const { avatar } = await attempts(connection, method, { signal, timeoutMs }, send).catch((error: unknown) => {
    throw progress?.failure ? progress.failure.thrown : error;
  });
  if (avatar === undefined) throw new ConnectError("the response has no avatar", Code.Internal);
  return avatar;
}

/** The caller's function. Its error must end the upload: as an error of the body, it would look like a lost connection. */
class Progress {
  readonly #stop = new AbortController();
  failure: { readonly thrown: unknown } | undefined;

  constructor(readonly onProgress: OnProgress) {}

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  report(sent: number, total: number): void {
    if (this.failure) return;
    try {
      this.onProgress(sent, total);
    } catch (thrown) {
      this.failure = { thrown };
      this.#stop.abort();
    }
  }
}

async function sendStream(
  connection: Connection,
  messages: AsyncIterable<Message>,
  { header, timeoutMs }: Attempt,
  signal: AbortSignal | undefined,
) {
  const { uploadAvatar } = AvatarService.method;
  const response = await connection.transport.stream(uploadAvatar, signal, timeoutMs, header, messages);
  for await (const message of response.message) return message;
  throw new ConnectError("the service sent no response", Code.Unavailable);
}

async function* messagesOf(first: Message, picture: Blob, progress: Progress | undefined): AsyncGenerator<Message> {
  yield first;
  for (let at = 0; at < picture.size; at += CHUNK_BYTES) {
    const chunk = await picture.slice(at, at + CHUNK_BYTES).arrayBuffer();
    yield { payload: { case: "chunk", value: new Uint8Array(chunk) } };
    progress?.report(Math.min(at + CHUNK_BYTES, picture.size), picture.size);
  }
}

/** Return the body of an upload, without reading the picture. */
function bodyOf(first: Message, picture: Blob): Blob {
  const schema = UploadAvatarRequestSchema;
  const envelopes = [envelopeOf(toBinary(schema, create(schema, first)))];
  for (let at = 0; at < picture.size; at += CHUNK_BYTES) {
    const chunk = picture.slice(at, at + CHUNK_BYTES);
    const prefix = new BinaryWriter().tag(schema.field.chunk.number, WireType.LengthDelimited).uint32(chunk.size);
    envelopes.push(envelopeOf(prefix.finish(), chunk));
  }
  return new Blob(envelopes);
}

/** Return the bytes of the picture that have been sent with this part of the body. */
function share(sent: number, total: number, picture: Blob): number {
  return total === 0 ? 0 : Math.round((sent / total) * picture.size);
}

/** Not by `instanceof`: each window of a browser has a class Blob of its own. */
function isBlob(picture: unknown): boolean {
  const blob = picture as Partial<Blob> | null | undefined;
  return typeof blob?.size === "number" && typeof blob.slice === "function" && typeof blob.stream === "function";
}

function nameOf(picture: Blob): string {
  const file = "name" in picture && typeof picture.name === "string" ? picture.name : "";
  return Array.from(file.replace(/\.[^.]*$/, "")).slice(0, NAME_CHARACTERS).join("").trim();
}
