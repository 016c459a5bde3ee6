/** A page pays only for the parts that it imports. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const GUIDE = fileURLToPath(new URL("../../../../docs/typescript.md", import.meta.url));
const SIZES = [...readFileSync(GUIDE, "utf8").matchAll(/^\| (.+) \| (\d+) kB \|$/gm)].map((row) => ({
  names: [...(row[1] as string).matchAll(/`(\w+)`/g)].map(([, name]) => name as string),
  kilobytes: Number(row[2]),
}));

async function bundleOf(names: readonly string[]): Promise<{ size: number; modules: string[] }> {
  const bundled = await build({
    stdin: { contents: `export { ${names.join(", ")} } from "avatar-creator";`, resolveDir: import.meta.dirname },
    bundle: true,
    format: "esm",
    metafile: true,
    minify: true,
    platform: "browser",
    write: false,
  });
  const [file] = bundled.outputFiles;
  const [output] = Object.values(bundled.metafile.outputs);
  assert(file && output);
  const modules = Object.entries(output.inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  return { size: gzipSync(file.contents).length / 1000, modules: modules.map(([path]) => basename(path)) };
}

for (const { names, kilobytes } of SIZES) {
  test(`the guide has the size of ${names.join(" and ")}`, async () => {
    const { size } = await bundleOf(names);
    assert(Math.abs(size - kilobytes) < 1.5, `the guide says ${kilobytes} kB, and the bundle has ${size} kB`);
  });
}

test("the guide has sizes", () => assert(SIZES.length >= 3));

test("a watch brings no uploads, no lists and no other services", async () => {
  const others = ["client.js", "download.js", "envelopes.js", "pages.js", "upload.js", "usage_service_pb.js"];
  const { modules } = await bundleOf(["connect", "watch"]);
  assert(modules.includes("watch.js"));
  assert.deepEqual(
    others.filter((module) => modules.includes(module)),
    [],
  );
  const whole = await bundleOf(["AvatarCreator"]);
  assert(others.every((module) => whole.modules.includes(module)));
});
