/** Retries, idempotency keys, tokens and deadlines of calls. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConnectError } from "@connectrpc/connect";
import { AvatarCreator, Code, connect, errorOf, hasReason, isAborted, watch } from "avatar-creator";
import { failureOf } from "../support/failures.ts";
import { ScriptedService, inTurn, refusal } from "../support/scripted-service.ts";
import type { Protocol } from "../support/service.ts";

const PROTOCOLS: readonly Protocol[] = ["connect", "grpc-web", "grpc"];
const UNAVAILABLE = refusal(Code.Unavailable, "DATABASE_UNAVAILABLE");
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

for (const protocol of PROTOCOLS) {
  describe(protocol, () => {
    test("a call is sent again with the same request id, and another call has another one", async () => {
      const ids: string[] = [];
      const answer = inTurn(UNAVAILABLE, UNAVAILABLE, { project: { id: "1" } }, { project: { id: "2" } }, {});
      await using service = await ScriptedService.start({
        projects: {
          createProject: ({ requestId }) => {
            ids.push(requestId);
            return answer();
          },
        },
      });
      const client = service.client(protocol);
      const request = { name: "Spring" };
      assert.equal((await client.projects.createProject(request)).project?.id, "1");
      assert.equal((await client.projects.createProject(request)).project?.id, "2");
      await client.projects.createProject({ ...request, requestId: "mine" });
      assert.match(ids[0] as string, UUID);
      assert.deepEqual(ids.slice(0, 3), Array(3).fill(ids[0]));
      assert.notEqual(ids[3], ids[0]);
      assert.equal(ids[4], "mine");
      assert.deepEqual(request, { name: "Spring" });
    });

    test("a call that may have succeeded is not sent again, except if the service has not begun it", async () => {
      const outcomes = [UNAVAILABLE, refusal(Code.Unavailable, "OVERLOADED"), {}];
      await using service = await ScriptedService.start({ projects: { deleteProject: inTurn(...outcomes) } });
      const client = service.client(protocol);
      const error = await failureOf(client.projects.deleteProject({ projectId: "1" }));
      assert.equal(error.reason, "DATABASE_UNAVAILABLE");
      await client.projects.deleteProject({ projectId: "1" });
    });

    test("a limit that ends within seconds is waited for, and no other one", async () => {
      const outcomes = [
        refusal(Code.ResourceExhausted, "CALL_LIMIT", 0.02),
        {},
        refusal(Code.ResourceExhausted, "GENERATION_LIMIT", 0.02),
      ];
      await using service = await ScriptedService.start({ projects: { listProjects: inTurn(...outcomes) } });
      const client = service.client(protocol);
      await client.projects.listProjects({});
      const error = await failureOf(client.projects.listProjects({}));
      assert(hasReason(error, "GENERATION_LIMIT"));
      assert.equal(error.retryAfterMs, 20);
      assert.equal(error.metadata["most"], "2");
    });

    test("a delay that is longer than the rest of the timeout is not waited for", async () => {
      const outcomes = [refusal(Code.Unavailable, "OVERLOADED", 60)];
      await using service = await ScriptedService.start({ projects: { listProjects: inTurn(...outcomes) } });
      const error = await failureOf(service.client(protocol).projects.listProjects({}));
      assert.equal(error.reason, "OVERLOADED");
      assert.equal(error.retryAfterMs, 60_000);
    });

    test("the number of attempts can be limited", async () => {
      const outcomes = [UNAVAILABLE, UNAVAILABLE];
      await using service = await ScriptedService.start({ projects: { listProjects: inTurn(...outcomes) } });
      const error = await failureOf(service.client(protocol, { retries: 1 }).projects.listProjects({}));
      assert.equal(error.reason, "DATABASE_UNAVAILABLE");
    });

    test("an expired token is replaced once, if a function returns it", async () => {
      const seen: (string | null)[] = [];
      const valid = new Set(["Bearer second", "Bearer fourth"]);
      await using service = await ScriptedService.start({
        projects: {
          listProjects: (_, { requestHeader }) => {
            const token = requestHeader.get("authorization");
            seen.push(token);
            if (!valid.has(token ?? "")) throw refusal(Code.Unauthenticated, "TOKEN_EXPIRED");
            return {};
          },
        },
      });
      const tokens = ["first", "second", "third", "third", "fifth", "sixth"];
      const client = service.client(protocol, { token: async () => tokens.shift() ?? "" });
      await client.projects.listProjects({});
      assert.equal((await failureOf(client.projects.listProjects({}))).reason, "TOKEN_EXPIRED");
      assert.equal((await failureOf(client.projects.listProjects({}))).reason, "TOKEN_EXPIRED");
      assert.equal((await failureOf(service.client(protocol).projects.listProjects({}))).reason, "TOKEN_EXPIRED");
      const sent = ["first", "second", "third", "fifth", "sixth", "secret"];
      assert.deepEqual(seen, sent.map((token) => `Bearer ${token}`));
    });

    test("deadlines are those of the contract, of the client or of the call", async () => {
      const deadlines: (number | undefined)[] = [];
      await using service = await ScriptedService.start({
        projects: {
          listProjects: (_, { timeoutMs }) => {
            deadlines.push(timeoutMs());
            return {};
          },
        },
        avatars: {
          async *downloadImage(_, { timeoutMs }) {
            deadlines.push(timeoutMs());
          },
        },
        generations: {
          async *watchGenerations(_, { timeoutMs }) {
            deadlines.push(timeoutMs());
            throw refusal(Code.NotFound, "RESOURCE_NOT_FOUND");
          },
        },
      });
      const client = service.client(protocol);
      await client.projects.listProjects({});
      await client.projects.listProjects({}, { timeoutMs: 20_000 });
      await client.projects.listProjects({}, { timeoutMs: 0 });
      await failureOf(client.download("1"));
      await failureOf(client.watch("1").next());
      await failureOf(client.watch("1", { timeoutMs: 20_000 }).next());
      const hasty = service.client(protocol, { timeoutMs: 20_000, transferTimeoutMs: 30_000 });
      await hasty.projects.listProjects({});
      await failureOf(hasty.download("1"));
      await failureOf(hasty.watch("1").next());
      assert.deepEqual(
        deadlines.map((milliseconds) => milliseconds && Math.ceil(milliseconds / 5_000) * 5),
        [10, 20, undefined, 60, undefined, 20, 20, 30, undefined],
      );
    });

    test("a call that does not end in time is DEADLINE_EXCEEDED", async () => {
      await using service = await ScriptedService.start({ projects: { listProjects: () => new Promise(() => {}) } });
      const error = await failureOf(service.client(protocol).projects.listProjects({}, { timeoutMs: 50 }));
      assert.equal(error.code, Code.DeadlineExceeded);
    });

    test("a reason that this package does not know reaches the caller", async () => {
      const outcomes = [refusal(Code.FailedPrecondition, "NEW_REASON")];
      await using service = await ScriptedService.start({ projects: { listProjects: inTurn(...outcomes) } });
      const error = await failureOf(service.client(protocol).projects.listProjects({}));
      assert.equal(error.reason as string, "NEW_REASON");
      assert.equal(error.message, "not now");
    });
  });
}

test("the address is that of the page, and is required elsewhere", async (context) => {
  assert.throws(() => new AvatarCreator({ token: "" }), TypeError);
  await using service = await ScriptedService.start({ projects: { listProjects: () => ({}) } });
  Object.assign(globalThis, { location: new URL(service.urlOf("connect")) });
  context.after(() => Reflect.deleteProperty(globalThis, "location"));
  await new AvatarCreator({ token: "" }).projects.listProjects({});
});

test("a token that cannot be sent is refused before the call", async () => {
  const client = new AvatarCreator({ baseUrl: "http://127.0.0.1:1", token: "secret\nevil" });
  const error = await failureOf(client.projects.listProjects({}));
  assert.equal(error.code, Code.InvalidArgument);
  assert(!error.message.includes("secret"));
  const watching = watch(connect({ baseUrl: "http://127.0.0.1:1", token: "sécret" }), "1");
  assert.equal((await failureOf(watching.next())).code, Code.InvalidArgument);
});

test("an error of the function that returns the token reaches the caller as it is", async () => {
  const failure = new TypeError("signed out");
  const token = () => Promise.reject(failure);
  const client = new AvatarCreator({ baseUrl: "http://127.0.0.1:1", token });
  await assert.rejects(client.projects.listProjects({}), failure);
  await assert.rejects(client.watch("1").next(), failure);
  await assert.rejects(client.upload("1", new Blob([])), failure);
  await assert.rejects(client.download("1"), failure);
});

test("anything thrown has a typed error, and only a transport reports a lost connection", () => {
  assert.equal(errorOf(new TypeError("a defect of the app")).code, Code.Unknown);
  assert.equal(errorOf("a text").message, "a text");
  const lost = new ConnectError("fetch failed", Code.Unknown, undefined, undefined, new TypeError("fetch failed"));
  assert.equal(errorOf(lost).code, Code.Unavailable);
  assert(isAborted(new DOMException("left", "AbortError")));
  assert(isAborted(errorOf(new DOMException("left", "AbortError"))));
  assert(!hasReason(new Error("no"), "OVERLOADED"));
});

test("an address that is none of a web port is refused before the first call", () => {
  for (const baseUrl of ["127.0.0.1:8080", "avatars.example.com", "ftp://127.0.0.1", "", "http://", "http://a/?b=1"]) {
    assert.throws(() => connect({ baseUrl, token: "" }), /baseUrl must be .*http/, baseUrl);
  }
  assert.equal(connect({ baseUrl: "HTTPS://avatars.example.com/below/", token: "" }).uploadUrl, "HTTPS://avatars.example.com/below");
});

test("a timeout that is no time is refused, and a very long one does not end at once", async () => {
  await using service = await ScriptedService.start({ projects: { listProjects: () => ({}) } });
  const client = service.client("connect");
  for (const timeoutMs of [Number.NaN, -1]) {
    const error = await failureOf(client.projects.listProjects({}, { timeoutMs }));
    assert.equal(error.code, Code.InvalidArgument);
    assert.match(error.message, /timeoutMs must be/);
  }
  for (const timeoutMs of [1e15, Infinity, 2 ** 31]) await client.projects.listProjects({}, { timeoutMs });
});

test("a request with a value that its field cannot have is an invalid argument", async () => {
  const client = new AvatarCreator({ baseUrl: "http://127.0.0.1:1", token: "secret" });
  const options = { width: 256.5 };
  const error = await failureOf(client.generations.createGeneration({ projectId: "p", prompt: "calm", options }));
  assert.equal(error.code, Code.InvalidArgument);
  assert.match(error.message, /^cannot encode field .*width/);
});
