// Bundle what the browser needs from npm into static/vendor/. Built, never committed.
import { build } from "esbuild";
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const vendor = join(root, "static", "vendor");
const modules = join(root, "node_modules");
rmSync(vendor, { recursive: true, force: true });
mkdirSync(vendor, { recursive: true });

await build({
  entryPoints: {
    "mediasoup-client": join(modules, "mediasoup-client/lib/index.js"),
    hls: join(modules, "hls.js/dist/hls.mjs"),
  },
  bundle: true, format: "esm", target: "es2022", minify: true, legalComments: "linked",
  outdir: vendor, define: { "process.env.DEBUG": "undefined" },
});
for (const [from, to] of [
  ["bootstrap/dist/css/bootstrap.min.css", "bootstrap.min.css"],
  ["bootstrap/dist/js/bootstrap.bundle.min.js", "bootstrap.bundle.min.js"],
  ["htmx.org/dist/htmx.min.js", "htmx.min.js"],
  ["bootstrap-icons/font/bootstrap-icons.min.css", "bootstrap-icons/bootstrap-icons.min.css"],
  ["bootstrap-icons/font/fonts", "bootstrap-icons/fonts"],
  ["dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf", "fonts/DejaVuSans-Bold.ttf"],
  ["dejavu-fonts-ttf/ttf/DejaVuSans.ttf", "fonts/DejaVuSans.ttf"],
  ...["swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "swagger-ui.css"].map(
    (name) => [`swagger-ui-dist/${name}`, `swagger-ui/${name}`]),
]) cpSync(join(modules, from), join(vendor, to), { recursive: true });
