/** Watches that lose their connection. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  AvatarCreator,
  Code,
  GenerationSchema,
  GenerationState,
  type ReconnectEvent,
  type WatchGenerationsRequest,
} from "avatar-creator";
import { allOf, failureOf } from "../support/failures.ts";
import { ScriptedService, refusal, type Answers } from "../support/scripted-service.ts";
import type { Protocol } from "../support/service.ts";

const PROTOCOLS: readonly Protocol[] = ["connect", "grpc-web", "grpc"];
const DRAINING = refusal(Code.Unavailable, "SERVER_DRAINING");
const { PROCESSING, COMPLETED } = GenerationState;

type State = MessageInitShape<typeof GenerationSchema>;

function state(id: string, revision: number, of = PROCESSING): State {
  return { id, revision: BigInt(revision), state: of, updateTime: { seconds: 1_000n + BigInt(revision), nanos: 0 } };
}

/** Return a service that answers each connection of a watch with its states, and then ends it or fails. */
function connections(requests: WatchGenerationsRequest[], ...streams: (State | Error)[][]): Answers {
  return {
    generations: {
      async *watchGenerations(request) {
        requests.push(request);
        for (const outcome of streams.shift() ?? []) {
          if (outcome instanceof Error) throw outcome;
          yield { generation: outcome };
        }
      },
    },
  };
}

function targetsOf({ selector }: WatchGenerationsRequest): Record<string, bigint> {
  assert(selector.case === "targets");
  const { targets } = selector.value;
  return Object.fromEntries(targets.map(({ generationId, knownRevision }) => [generationId, knownRevision]));
}

for (const protocol of PROTOCOLS) {
  describe(protocol, () => {
    test("a watch resumes from the last revisions, without those that have ended", async () => {
      const requests: WatchGenerationsRequest[] = [];
      await using service = await ScriptedService.start(
        connections(
          requests,
          [state("a", 1), state("b", 1), state("a", 2), DRAINING],
          [state("b", 3, COMPLETED)], // closed with OK, too early
          [state("a", 2), state("b", 3, COMPLETED), state("a", 5), state("a", 5, COMPLETED)],
        ),
      );
      const events: ReconnectEvent[] = [];
      const client = service.client(protocol, { onReconnect: (event) => events.push(event) });
      const states = await allOf(client.watch({ ids: ["a", "b"] }));
      assert.deepEqual(
        states.map(({ id, revision }) => `${id}${revision}`),
        ["a1", "b1", "a2", "b3", "a5", "a5"],
      );
      assert.deepEqual(requests.map(targetsOf), [{ a: 0n, b: 0n }, { a: 2n, b: 1n }, { a: 2n }]);
      assert.deepEqual(
        events.map(({ attempt, error }) => [attempt, error.code, error.reason]),
        [
          [1, Code.Unavailable, "SERVER_DRAINING"],
          [1, Code.Unavailable, ""],
        ],
      );
    });

    test("a watch begins at the revisions that the caller knows", async () => {
      const requests: WatchGenerationsRequest[] = [];
      await using service = await ScriptedService.start(
        connections(requests, [state("a", 4), state("a", 5), state("b", 9, COMPLETED), state("a", 6, COMPLETED)]),
      );
      const watching = service.client(protocol).watch({ ids: ["a", "b"] }, { knownRevisions: { a: 4n, b: 9n } });
      const states = await allOf(watching);
      assert.deepEqual(
        states.map(({ id, revision }) => `${id}${revision}`),
        ["a5", "b9", "a6"],
      );
      assert.deepEqual(requests.map(targetsOf), [{ a: 4n, b: 9n }]);
    });

    test("a generation is watched by its id, and a timeout of 0 is no limit", async () => {
      const requests: WatchGenerationsRequest[] = [];
      await using service = await ScriptedService.start(connections(requests, [state("a", 5, COMPLETED)]));
      const generation = create(GenerationSchema, { ...state("a", 1), projectId: "p", groupId: "g" });
      const states = await allOf(service.client(protocol).watch(generation, { timeoutMs: 0 }));
      assert.deepEqual(states.map(({ id }) => id), ["a"]);
      assert.deepEqual(requests.map(targetsOf), [{ a: 0n }]);
    });

    test("a watch of no generations ends at once", async () => {
      await using service = await ScriptedService.start({});
      assert.deepEqual(await allOf(service.client(protocol).watch({ ids: [] })), []);
    });

    test("a watch of a group ends when the service has closed it after the last end", async () => {
      const requests: WatchGenerationsRequest[] = [];
      await using service = await ScriptedService.start(
        connections(
          requests,
          [state("a", 1), state("b", 2, COMPLETED)],
          [state("b", 2, COMPLETED), state("a", 3, COMPLETED)],
        ),
      );
      // The caller may know more generations than those of the group.
      const knownRevisions = { a: 0n, other: 7n };
      const states = await allOf(service.client(protocol).watch({ groupId: "a" }, { knownRevisions }));
      assert.deepEqual(
        states.map(({ id, revision }) => `${id}${revision}`),
        ["a1", "b2", "a3"],
      );
      assert.deepEqual(
        requests.map(({ selector }) => selector),
        Array(2).fill({ case: "groupId", value: "a" }),
      );
    });

    test("a watch of a project resumes at the newest change, or at its start", async () => {
      const requests: WatchGenerationsRequest[] = [];
      await using service = await ScriptedService.start(
        connections(
          requests,
          [DRAINING],
          [state("a", 3), state("b", 2), DRAINING],
          [state("a", 3), state("c", 4, COMPLETED), DRAINING],
          [refusal(Code.NotFound, "RESOURCE_NOT_FOUND")],
        ),
      );
      const before = Date.now();
      const states: string[] = [];
      const error = await failureOf(
        (async () => {
          for await (const { id } of service.client(protocol).watch({ projectId: "p" })) states.push(id);
        })(),
      );
      assert.equal(error.reason, "RESOURCE_NOT_FOUND");
      assert.deepEqual(states, ["a", "b", "c"]);
      const since = requests.map(({ changedSince }) => changedSince && timestampMs(changedSince));
      assert.equal(since[0], undefined);
      assert((since[1] as number) >= before && (since[1] as number) <= Date.now());
      assert.deepEqual(since.slice(2), [1_003_000, 1_004_000]);
    });

    test("a watch of all generations begins at the time that the caller gives", async () => {
      const requests: WatchGenerationsRequest[] = [];
      await using service = await ScriptedService.start(
        connections(requests, [refusal(Code.PermissionDenied, "ROLE_REQUIRED")]),
      );
      const watching = service.client(protocol).watch({ all: true, userId: "sarah", changedSince: new Date(5_000) });
      assert.equal((await failureOf(watching.next())).reason, "ROLE_REQUIRED");
      const [request] = requests;
      assert(request?.selector.case === "all");
      assert.equal(request.selector.value.userId, "sarah");
      assert.equal(request.changedSince && timestampMs(request.changedSince), 5_000);
    });

    test("a watch that finds no connection fails after its time", async () => {
      await using service = await ScriptedService.start(connections([], ...Array(10_000).fill([DRAINING])));
      const watching = service.client(protocol).watch("a", { reconnectForMs: 100 });
      assert.equal((await failureOf(watching.next())).reason, "SERVER_DRAINING");
    });

    test("a watch without news that is cut again and again goes on", async () => {
      // Each connection lasts 30 seconds, as long as a proxy leaves a quiet one open.
      let time = 0;
      const cuts = Array<State | Error>(5).fill(DRAINING);
      const outcomes = [...cuts, state("a", 1, COMPLETED)];
      await using service = await ScriptedService.start({
        generations: {
          async *watchGenerations() {
            time += 30_000;
            const outcome = outcomes.shift() as State | Error;
            if (outcome instanceof Error) throw outcome;
            yield { generation: outcome };
          },
        },
      });
      const client = service.client(protocol, { clock: () => time });
      assert.equal((await allOf(client.watch("a"))).length, 1);
    });

    test("an expired token is replaced during a watch", async () => {
      const expired = refusal(Code.Unauthenticated, "TOKEN_EXPIRED");
      await using service = await ScriptedService.start(
        connections([], [state("a", 1), expired], [state("a", 2, COMPLETED)], [expired], [expired]),
      );
      const tokens = ["first", "second", "third", "third"];
      const client = service.client(protocol, { token: () => tokens.shift() as string });
      assert.equal((await allOf(client.watch("a"))).length, 2);
      assert.equal((await failureOf(client.watch("a").next())).reason, "TOKEN_EXPIRED");
      assert.equal((await failureOf(service.client(protocol).watch("a").next())).reason, "TOKEN_EXPIRED");
    });

    for (const [reader, last] of [
      ["a reader who leaves", PROCESSING],
      ["the last state", COMPLETED],
    ] as const) {
      test(`${reader} ends the call of the watch`, async () => {
        const left = Promise.withResolvers<void>();
        await using service = await ScriptedService.start({
          generations: {
            async *watchGenerations(_, { signal }) {
              signal.addEventListener("abort", () => left.resolve());
              yield { generation: state("a", 1, last) };
              await left.promise;
            },
          },
        });
        for await (const { state } of service.client(protocol).watch("a")) if (state === PROCESSING) break;
        await left.promise;
      });
    }
  });
}

test("the states are whole messages", async () => {
  await using service = await ScriptedService.start(connections([], [state("a", 1, COMPLETED)]));
  const [generation] = await allOf(service.client("connect").watch("a"));
  assert.deepEqual(generation, create(GenerationSchema, state("a", 1, COMPLETED)));
});

test("a selection that names nothing is refused, and does not watch everything", async () => {
  const client = new AvatarCreator({ baseUrl: "http://127.0.0.1:1", token: "secret" });
  for (const selection of [{}, { all: false }, undefined, null, 7]) {
    assert.throws(() => client.watch(selection as unknown as string), /a watch takes a generation or its id/);
  }
});
