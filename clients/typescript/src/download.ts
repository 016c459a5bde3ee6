/** Downloads of pictures. */

import { Code } from "@connectrpc/connect";
import type { Image } from "../gen/avatar_creator/v1/avatar_pb.js";
import { AvatarService, ImageVariant } from "../gen/avatar_creator/v1/avatar_service_pb.js";
import { attempts, type Attempt, type CallOptions } from "./calls.js";
import type { Connection } from "./connection.js";
import { AvatarCreatorError } from "./errors.js";

/** Options of a download. */
export interface DownloadOptions extends CallOptions {
  /** The picture to download. The default is the full-size original. */
  readonly variant?: ImageVariant | undefined;
  /** Function called with the bytes received and the bytes of the picture. A retry starts again from 0. */
  readonly onProgress?: ((received: number, total: number) => void) | undefined;
}

/**
 * Download a picture of an avatar. The type of the Blob is the media type of the picture.
 *
 * @throws AvatarCreatorError: the picture is damaged (`Code.DataLoss`); or as for any call. An error of `onProgress` ends
 * the download, and is thrown as it is.
 */
export async function download(
  connection: Connection,
  avatarId: string,
  options: DownloadOptions = {},
): Promise<Blob> {
  const { variant = ImageVariant.ORIGINAL, onProgress, signal } = options;
  const method = AvatarService.method.downloadImage;
  let failure: { readonly thrown: unknown } | undefined;
  const receive = async ({ header, timeoutMs }: Attempt) => {
    const response = await connection.transport.stream(method, signal, timeoutMs, header, only({ avatarId, variant }));
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    let image: Image | undefined;
    let received = 0;
    for await (const { payload } of response.message) {
      if (payload.case === "metadata") image = payload.value;
      if (payload.case !== "chunk") continue;
      chunks.push(payload.value as Uint8Array<ArrayBuffer>);
      received += payload.value.length;
      try {
        onProgress?.(received, Number(image?.sizeBytes ?? 0n));
      } catch (thrown) {
        failure = { thrown };
        throw thrown;
      }
    }
    return verified(new Blob(chunks, { type: image?.contentType ?? "" }), image);
  };
  return attempts(connection, method, options, receive).catch((error: unknown) => {
    throw failure ? failure.thrown : error;
  });
}

async function verified(picture: Blob, image: Image | undefined): Promise<Blob> {
  if (image === undefined || BigInt(picture.size) !== image.sizeBytes) {
    throw new AvatarCreatorError(
      `the picture has ${picture.size} bytes instead of ${image?.sizeBytes ?? "any"}; download it again`,
      Code.DataLoss,
    );
  }
  // `crypto.subtle` exists only in secure contexts.
  if (globalThis.crypto?.subtle !== undefined) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await picture.arrayBuffer()));
    const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (sha256 !== image.sha256) {
      throw new AvatarCreatorError("the picture has a wrong checksum; download it again", Code.DataLoss);
    }
  }
  return picture;
}

async function* only<T>(value: T): AsyncGenerator<T> {
  yield value;
}
