/** The whole contract is on the client. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as everything from "avatar-creator";
import type { DescService } from "@bufbuild/protobuf";

const client = new everything.AvatarCreator({ baseUrl: "http://127.0.0.1:1", token: "" });

const NAMESPACES: Record<string, object> = {
  AvatarProjectService: client.projects,
  AvatarService: client.avatars,
  GenerationService: client.generations,
  OperationsService: client.operations,
  PresetService: client.presets,
  UsageService: client.usage,
};

const LISTS: Record<string, string> = {
  ListProjects: "list",
  ListAvatars: "list",
  ListGenerations: "list",
  ListPresets: "list",
  ListPersonaExamples: "personas",
  ListUsage: "list",
  SummarizeUsage: "byApp",
  ListUsers: "users",
  ListWorkers: "workers",
};

const OTHER_PAGED = new Set(["GetProject", "GetStats", "BulkCancelGenerations", "BulkRetryGenerations"]);

const services = (Object.values(everything) as unknown[]).filter(
  (value): value is DescService =>
    typeof value === "object" && value !== null && "kind" in value && value.kind === "service",
);

test("every service of the contract is exported", () => {
  assert.deepEqual(services.map(({ name }) => name).sort(), Object.keys(NAMESPACES).sort());
});

for (const service of services) {
  for (const method of service.methods) {
    test(`${service.name}.${method.name}`, () => {
      const namespace = NAMESPACES[service.name] as Record<string, unknown>;
      assert.equal(typeof namespace[method.localName], "function");
      if (method.input.field["pageToken"] && !OTHER_PAGED.has(method.name)) {
        assert.equal(typeof namespace[LISTS[method.name] as string], "function");
      }
    });
  }
}
