// Who may know whom in the browser (ARCHITECTURE.md), read from the modules' own import lines.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const root = fileURLToPath(new URL("../../static/js/room/", import.meta.url));
const modules = readdirSync(root, { recursive: true }).filter((name) => name.endsWith(".js")).map((name) => {
  const text = readFileSync(root + name, "utf8");
  const imports = [...text.matchAll(/^import .*?"(.+?)";/gms)].map(([, from]) => new URL(from, `file:///${name}`).pathname.slice(1));
  return { name, text, imports };
});
const within = (folder) => modules.filter(({ name }) => name.startsWith(folder));

test("views know the page alone: no media, no socket, no state", () => {
  assert.ok(within("views/").length > 5);
  for (const { name, imports } of within("views/")) {
    for (const from of imports) assert.ok(from.startsWith("views/") || ["layout.js", "keys.js"].includes(from), `${name} imports ${from}`);
  }
});

test("state, media and connection never touch the document, and import no view", () => {
  const others = modules.filter(({ name }) => name !== "main.js" && !/^(views|wiring)\//.test(name));
  assert.ok(others.length > 15);
  for (const { name, text, imports } of others) {
    assert.doesNotMatch(text.replace(/\/\*[^]*?\*\/|\/\/.*/g, ""), /\bdocument\b|views\//, name);
    for (const from of imports) assert.doesNotMatch(from, /^(views|wiring)\/|^main/, name);
  }
});

test("a subject's wiring knows no other subject's; only main.js knows all", () => {
  for (const { name, imports } of within("wiring/")) {
    for (const from of imports) assert.doesNotMatch(from, /^wiring\/|^main/, name);
  }
});
