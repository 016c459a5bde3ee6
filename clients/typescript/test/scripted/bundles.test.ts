/** A page pays only for the parts that it imports. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const GUIDE = fileURLToPath(new URL("../../../../docs/typescript.md", import.meta.url));
const SIZES = [...readFileSync(GUIDE, "utf8").matchAll(/^\| (.+) \| (\d+) kB \|$/gm)].map((row) => ({
  names: [...(row[1] as string).matchAll(/`(\w+)`/g)].map(([, name]) => name as string),
  kilobytes: Number(row[2]),
}));

async function bundleOf(names: readonly string[]): Promise<Uint8Array> {
  const bundled = await build({
    stdin: { contents: `export { ${names.join(", ")} } from "avatar-creator";`, resolveDir: import.meta.dirname },
    bundle: true,
    format: "esm",
    minify: true,
    platform: "browser",
    write: false,
  });
  return (bundled.outputFiles[0] as { contents: Uint8Array }).contents;
}

for (const { names, kilobytes } of SIZES) {
  test(`the guide has the size of ${names.join(" and ")}`, async () => {
    const size = gzipSync(await bundleOf(names)).length / 1000;
    assert(Math.abs(size - kilobytes) < 1.5, `the guide says ${kilobytes} kB, and the bundle has ${size} kB`);
  });
}

test("the guide has sizes", () => assert(SIZES.length >= 3));

test("a watch brings no uploads, no lists and no other services", async () => {
  const bundle = Buffer.from(await bundleOf(["connect", "watch"])).toString();
  for (const absent of ["XMLHttpRequest", "nextPageToken", "UsageService", "SHA-256"]) {
    assert(!bundle.includes(absent), absent);
  }
});
