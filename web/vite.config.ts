import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

/** Address of a running service, for `npm run dev`. */
const service = process.env["SERVICE"] ?? "http://127.0.0.1:8080";
const passed = ["/avatar_creator.v1.", "/grpc.", "/pictures/", "/page.json"];

export default defineConfig({
  plugins: [svelte()],
  // As in tsconfig.json. The client is part of this repository, and `make typescript` builds it.
  resolve: { alias: { "avatar-creator": fileURLToPath(new URL("../clients/typescript/dist/index.js", import.meta.url)) } },
  build: {
    outDir: "../server/avatar_creator_server/web/page",
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
