import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

/** Address of a running service, for `npm run dev`. */
const service = process.env["SERVICE"] ?? "http://127.0.0.1:8080";
const passed = ["/avatar_creator.v1.", "/grpc.", "/pictures/", "/page.json"];

/**
 * Leaves the JSON form of messages out of the bundle, about 6 KB after gzip: the page speaks only the binary form.
 *
 * The functions of these modules throw instead.
 */
const withoutJson: Plugin = {
  name: "without-json",
  apply: "build",
  transform(code, id) {
    if (!/@bufbuild\/protobuf\/dist\/esm\/(to|from)-json\.js$/.test(id)) return undefined;
    const names = [...code.matchAll(/^export function (\w+)/gm)].map(([, name]) => name);
    return {
      code: names
        .map((name) => `export function ${name}() { throw new Error("JSON is not in this build"); }`)
        .join("\n"),
      map: null,
    };
  },
};

/** Puts the font's license next to the font, as the SIL Open Font License asks. */
const fontLicense: Plugin = {
  name: "font-license",
  apply: "build",
  generateBundle() {
    const source = readFileSync(
      new URL("node_modules/@fontsource-variable/plus-jakarta-sans/LICENSE", import.meta.url),
    );
    this.emitFile({ type: "asset", fileName: "assets/plus-jakarta-sans-license.txt", source });
  },
};

export default defineConfig({
  plugins: [svelte(), withoutJson, fontLicense],
  // As in tsconfig.json. The client is part of this repository, and `make typescript` builds it.
  resolve: {
    alias: { "avatar-creator": fileURLToPath(new URL("../clients/typescript/dist/index.js", import.meta.url)) },
  },
  build: {
    outDir: "../build/page",
    emptyOutDir: true,
    // Browsers that know light-dark() and content-visibility. Older ones would need twice the CSS.
    target: ["chrome123", "edge123", "firefox125", "safari18"],
    // The Content-Security-Policy allows no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: { proxy: Object.fromEntries(passed.map((path) => [path, { target: service }])) },
});
