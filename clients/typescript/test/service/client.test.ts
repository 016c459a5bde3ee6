/** The client and a running service, over every protocol. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { openAsBlob } from "node:fs";
import { describe, test } from "node:test";
import {
  Code,
  GenerationState,
  ImageVariant,
  errorOf,
  hasEnded,
  hasReason,
  isAborted,
  type AvatarCreator,
  type Generation,
} from "avatar-creator";
import { failureOf } from "../support/failures.ts";
import { Proxy } from "../support/proxy.ts";
import { PROTOCOLS, clientOf, tokenOf, urlOf } from "../support/service.ts";

const PICTURE = process.env["AVATAR_CREATOR_PICTURE"] as string;
const SMALL = { width: 256, height: 256 };

async function projectOf(client: AvatarCreator): Promise<string> {
  const { project } = await client.projects.createProject({ name: "Spring campaign" });
  assert(project);
  return project.id;
}

for (const protocol of PROTOCOLS) {
  describe(protocol, { concurrency: true }, () => {
    test("a generation is watched to its end, and its avatar downloaded", async () => {
      const client = clientOf(protocol);
      const projectId = await projectOf(client);
      const { generation } = await client.generations.createGeneration({
        projectId,
        prompt: "a calm woman",
        options: SMALL,
      });
      assert(generation);
      const states: Generation[] = [];
      for await (const state of client.watch(generation.id)) states.push(state);
      const last = states.at(-1);
      assert(last);
      assert.equal(last.state, GenerationState.COMPLETED);
      assert.deepEqual(
        states.map((state) => state.revision),
        [...new Set(states.map((state) => state.revision))].sort((one, other) => Number(one - other)),
      );
      const received: number[] = [];
      const picture = await client.download(last.avatarId, { onProgress: (bytes) => received.push(bytes) });
      assert.equal(picture.type, "image/png");
      assert.equal(received.at(-1), picture.size);
      const thumbnail = await client.download(last.avatarId, { variant: ImageVariant.THUMBNAIL });
      assert.equal(thumbnail.type, "image/webp");
    });

    test("a file is uploaded with its name and its progress, once for one request id", async () => {
      const client = clientOf(protocol);
      const projectId = await projectOf(client);
      const picture = new File([await openAsBlob(PICTURE)], "Eileen Collins.jpg");
      const progress: [number, number][] = [];
      const requestId = randomUUID();
      const avatar = await client.upload(projectId, picture, {
        requestId,
        attributes: { ethnicity: "American" },
        onProgress: (sent, total) => progress.push([sent, total]),
      });
      const again = await client.upload(projectId, picture, { requestId, attributes: { ethnicity: "American" } });
      assert.equal(avatar.name, "Eileen Collins");
      assert.equal(avatar.attributes?.ethnicity, "American");
      assert.equal(again.id, avatar.id);
      assert(progress.length > 0);
      assert.deepEqual(progress.at(-1), [picture.size, picture.size]);
      assert.deepEqual(
        progress.map(([sent]) => sent),
        progress.map(([sent]) => sent).sort((one, other) => one - other),
      );
    });

    test("a refused picture has its reason and its field", async () => {
      const client = clientOf(protocol);
      const projectId = await projectOf(client);
      const error = await failureOf(client.upload(projectId, new Blob(["no picture"]), { name: "x" }));
      assert(hasReason(error, "IMAGE_UNSUPPORTED"));
      assert.equal(error.code, Code.InvalidArgument);
      assert.ok(error.violationOf("chunk"));
    });

    test("a picture over the limit is refused with the limit", async () => {
      const client = clientOf(protocol);
      const projectId = await projectOf(client);
      const large = new Blob([await openAsBlob(PICTURE), new Uint8Array(11 * 1024 * 1024)]);
      const error = await failureOf(client.upload(projectId, large, { name: "x" }));
      assert(hasReason(error, "IMAGE_TOO_LARGE"));
      assert.equal(error.metadata["limit_bytes"], "10485760");
    });

    test("errors have their reason, fields and resource", async () => {
      const client = clientOf(protocol);
      const invalid = await failureOf(client.projects.createProject({ name: "" }));
      assert.equal(invalid.reason, "INVALID_FIELD");
      assert.equal(invalid.violationOf("name"), "must not be empty");
      const id = "01900000-0000-7000-8000-000000000000";
      const missing = await failureOf(client.projects.getProject({ projectId: id }));
      assert.equal(missing.reason, "RESOURCE_NOT_FOUND");
      assert.deepEqual(missing.resource, { type: "project", id });
      const stranger = await failureOf(clientOf(protocol, { token: "" }).projects.listProjects({}));
      assert.equal(stranger.code, Code.Unauthenticated);
      assert(hasReason(stranger, "TOKEN_MISSING", "TOKEN_INVALID"));
    });

    test("a list goes through all pages", async () => {
      const client = clientOf(protocol);
      const names = ["first", "second", "third", "fourth", "fifth"];
      for (const name of names) await client.projects.createProject({ name });
      const listed = await client.projects.list({ pageSize: 2 }).all();
      assert.deepEqual(listed.map(({ name }) => name).reverse(), names);
      const sizes = [];
      for await (const page of client.projects.list({ pageSize: 2 }).pages()) sizes.push(page.projects.length);
      assert.deepEqual(sizes, [2, 2, 1]);
      assert.equal((await client.projects.list({ pageSize: 2 }).all(3)).length, 3);
      assert.deepEqual(await client.avatars.list().all(), []);
    });

    test("a watch resumes after lost connections, without a lost or repeated state", async () => {
      await using proxy = await Proxy.to(urlOf(protocol));
      const token = tokenOf(randomUUID());
      const direct = clientOf(protocol, { token });
      const projectId = await projectOf(direct);
      let reconnects = 0;
      const client = clientOf(protocol, { token, url: proxy.url, onReconnect: () => (reconnects += 1) });
      const { generation, variations } = await direct.generations.createGeneration({
        projectId,
        prompt: "a calm woman",
        options: { width: 512, height: 512 },
        variationCount: 4,
      });
      assert(generation);
      const generations = [generation, ...variations];
      const { groupId } = generation;
      const seen = new Map<string, bigint>();
      const ended = new Set<string>();
      let cuts = 0;
      for await (const state of client.watch({ groupId })) {
        assert(state.revision > (seen.get(state.id) ?? 0n), "a state came twice or late");
        assert(!ended.has(state.id), "a state came after the end");
        seen.set(state.id, state.revision);
        if (hasEnded(state)) ended.add(state.id);
        if (seen.size === generations.length && cuts < 3 && ended.size < generations.length) {
          cuts += 1;
          proxy.cut();
        }
      }
      assert(cuts > 0);
      assert(reconnects > 0, "the watch never lost its connection");
      assert.deepEqual(ended, new Set(generations.map(({ id }) => id)));
    });

    test("a watch of a project that was cut has the changes of the meantime", async () => {
      await using proxy = await Proxy.to(urlOf(protocol));
      const token = tokenOf(randomUUID());
      const direct = clientOf(protocol, { token });
      const projectId = await projectOf(direct);
      const start = () => direct.generations.createGeneration({ projectId, prompt: "a calm woman", options: SMALL });
      const first = (await start()).generation;
      let second: Generation | undefined;
      await using states = clientOf(protocol, { token, url: proxy.url }).watch({ projectId });
      const revisions = new Set<string>();
      for await (const state of states) {
        const key = `${state.id} ${state.revision}`;
        assert(!revisions.has(key), "a state came twice");
        revisions.add(key);
        if (state.id === first?.id && hasEnded(state)) {
          proxy.cut();
          second = (await start()).generation;
          for await (const _ of direct.watch(second?.id as string));
        }
        if (second && state.id === second.id && hasEnded(state)) break;
      }
      assert(second);
    });

    test("leaving a watch ends its call, also while a state is awaited", async () => {
      const client = clientOf(protocol);
      const projectId = await projectOf(client);
      const states = client.watch({ projectId });
      const waiting = states.next();
      await states.return();
      assert.deepEqual(await waiting, { done: true, value: undefined });
    });

    test("a signal aborts calls, watches, uploads and downloads", async () => {
      const client = clientOf(protocol);
      const projectId = await projectOf(client);
      const picture = await openAsBlob(PICTURE);
      const avatar = await client.upload(projectId, picture, { name: "Eileen" });
      const aborted = (call: (signal: AbortSignal) => Promise<unknown>) => {
        const controller = new AbortController();
        const failure = failureOf(call(controller.signal));
        controller.abort();
        return failure;
      };
      for (const failure of [
        aborted((signal) => client.projects.listProjects({}, { signal })),
        aborted((signal) => client.projects.list({}, { signal }).all()),
        aborted((signal) => client.watch({ projectId }, { signal }).next()),
        aborted((signal) => client.upload(projectId, picture, { name: "Eileen", signal })),
        aborted((signal) => client.download(avatar.id, { signal })),
      ]) {
        assert.equal((await failure).code, Code.Canceled);
        assert(isAborted(await failure));
      }
      assert.deepEqual(
        (await client.avatars.list({ projectId }).all()).map(({ id }) => id),
        [avatar.id],
      );
    });

    test("a token that expires during a watch is replaced", async () => {
      const user = randomUUID();
      let tokens = 0;
      const token = () => tokenOf(user, { seconds: tokens++ === 0 ? 1 : 3600 });
      const lasting = clientOf(protocol, { token: tokenOf(user) });
      const projectId = await projectOf(lasting);
      let reconnected: string | undefined;
      const watching = clientOf(protocol, {
        token,
        onReconnect: ({ error }) => {
          reconnected = error.reason;
          void lasting.generations.createGeneration({ projectId, prompt: "a calm woman", options: SMALL });
        },
      });
      for await (const state of watching.watch({ projectId })) if (hasEnded(state)) break;
      assert.equal(reconnected, "TOKEN_EXPIRED");
      const expired = await failureOf(
        clientOf(protocol, { token: tokenOf(user, { seconds: -60 }) }).projects.listProjects({}),
      );
      assert.equal(expired.reason, "TOKEN_EXPIRED");
    });

    test("a call that is too slow ends with its deadline", async () => {
      const client = clientOf(protocol);
      const error = await failureOf(
        (async () => {
          for await (const _ of client.watch({ all: true }, { timeoutMs: 200 }));
        })(),
      );
      assert.equal(error.code, Code.DeadlineExceeded);
    });

    test("a service that cannot be reached is UNAVAILABLE", async () => {
      const client = clientOf(protocol, { url: "http://127.0.0.1:1", timeoutMs: 300 });
      const error = await failureOf(client.projects.listProjects({}));
      assert.equal(error.code, Code.Unavailable);
      assert.equal(errorOf(error), error);
    });
  });
}
