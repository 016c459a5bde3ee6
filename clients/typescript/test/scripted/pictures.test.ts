/** Uploads and downloads. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { openAsBlob } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { AvatarCreator, Code, type UploadAvatarRequest } from "avatar-creator";
import { failureOf } from "../support/failures.ts";
import { ScriptedService, inTurn, refusal } from "../support/scripted-service.ts";
import type { Protocol } from "../support/service.ts";

const PROTOCOLS: readonly Protocol[] = ["connect", "grpc-web", "grpc"];
const PICTURE = Uint8Array.from({ length: 300_000 }, (_, index) => index % 251);

for (const protocol of PROTOCOLS) {
  describe(protocol, () => {
    test("an upload sends its metadata and its chunks, and again after a lost answer", async () => {
      const uploads: UploadAvatarRequest[][] = [];
      const answer = inTurn(refusal(Code.Unavailable, "DATABASE_UNAVAILABLE"), { avatar: { id: "1" } });
      await using service = await ScriptedService.start({
        avatars: {
          async uploadAvatar(requests) {
            const messages: UploadAvatarRequest[] = [];
            for await (const message of requests) messages.push(message);
            uploads.push(messages);
            return answer();
          },
        },
      });
      const progress: number[] = [];
      const avatar = await service.client(protocol).upload("p", new File([PICTURE], "my.face.png"), {
        persona: { name: "Sarah" },
        deferThumbnail: true,
        onProgress: (sent, total) => progress.push(sent / total),
      });
      assert.equal(avatar.id, "1");
      assert.equal(uploads.length, 2);
      assert.deepEqual(uploads[0], uploads[1]);
      const [first, ...chunks] = (uploads[0] ?? []).map(({ payload }) => payload);
      assert(first?.case === "metadata");
      const { requestId, ...metadata } = first.value;
      assert.equal(requestId.length, 36);
      assert.equal(metadata.projectId, "p");
      assert.equal(metadata.name, "my.face");
      assert.equal(metadata.persona?.name, "Sarah");
      assert.equal(metadata.deferThumbnail, true);
      const bytes = chunks.map((chunk) => (chunk.case === "chunk" ? chunk.value : assert.fail()));
      assert.deepEqual(
        bytes.map(({ length }) => length),
        [131_072, 131_072, 37_856],
      );
      assert.deepEqual(Buffer.concat(bytes), Buffer.from(PICTURE));
      assert.equal(progress.filter((share) => share === 1).length >= 2, true);
      assert.equal(Math.max(...progress), 1);
    });

    test("a file that was removed before its upload fails at once", async () => {
      const folder = await mkdtemp(join(tmpdir(), "upload-"));
      const path = join(folder, "gone.png");
      await writeFile(path, PICTURE);
      const picture = await openAsBlob(path);
      await rm(folder, { recursive: true });
      await using service = await ScriptedService.start({ avatars: { uploadAvatar: async () => ({ avatar: {} }) } });
      const error = await failureOf(service.client(protocol).upload("p", picture, { name: "Sarah" }));
      assert.notEqual(error.code, Code.Unavailable);
    });

    test("an error of onProgress ends the transfer, and reaches the caller as it is", async () => {
      const uploads: string[] = [];
      await using service = await ScriptedService.start({
        avatars: {
          async uploadAvatar(requests) {
            for await (const { payload } of requests) if (payload.case === "metadata") uploads.push(payload.value.name);
            return { avatar: { id: "1" } };
          },
          async *downloadImage() {
            yield { payload: { case: "chunk" as const, value: PICTURE } };
          },
        },
      });
      const mine = new Error("mine");
      const onProgress = () => {
        throw mine;
      };
      const client = service.client(protocol);
      const upload = client.upload("p", new Blob([PICTURE]), { name: "Sarah", onProgress });
      assert.equal(await upload.catch((thrown: unknown) => thrown), mine);
      assert.equal(await client.download("1", { onProgress }).catch((thrown: unknown) => thrown), mine);
      assert(uploads.length <= 1, "the upload was sent again");
    });

    test("a damaged download is DATA_LOSS", async () => {
      const sha256 = createHash("sha256").update(PICTURE).digest("hex");
      const picture = (image: object, bytes: Uint8Array) => [
        { payload: { case: "metadata" as const, value: { contentType: "image/png", ...image } } },
        { payload: { case: "chunk" as const, value: bytes } },
      ];
      const sizeBytes = BigInt(PICTURE.length);
      const answer = inTurn(
        picture({ sizeBytes, sha256 }, PICTURE),
        picture({ sizeBytes, sha256 }, PICTURE.subarray(1)),
        picture({ sizeBytes, sha256 }, Uint8Array.from(PICTURE).fill(0, 5, 6)),
        refusal(Code.Unavailable, "STORAGE_UNAVAILABLE"),
        picture({ sizeBytes, sha256 }, PICTURE),
      );
      await using service = await ScriptedService.start({
        avatars: {
          async *downloadImage() {
            yield* answer();
          },
        },
      });
      const client = service.client(protocol);
      const blob = await client.download("1");
      assert.equal(blob.type, "image/png");
      assert.deepEqual(Buffer.from(await blob.arrayBuffer()), Buffer.from(PICTURE));
      assert.equal((await failureOf(client.download("1"))).code, Code.DataLoss);
      assert.equal((await failureOf(client.download("1"))).code, Code.DataLoss);
      assert.equal((await client.download("1")).size, PICTURE.length);
    });
  });
}

test("an upload of something that is no Blob is refused with advice", async () => {
  const client = new AvatarCreator({ baseUrl: "http://127.0.0.1:1", token: "secret" });
  for (const picture of ["sarah.jpg", Buffer.from("x"), undefined, null]) {
    const error = await failureOf(client.upload("p", picture as unknown as Blob, { name: "Sarah" }));
    assert.equal(error.code, Code.InvalidArgument);
    assert.match(error.message, /openAsBlob/);
  }
});
