import assert from "node:assert/strict";
import { test } from "node:test";
import { rememberTimeZone } from "../../static/js/site/time-zone.js";

test("the zone goes into a cookie of the whole site", () => {
  const document = { cookie: "" };
  rememberTimeZone(document, "Europe/Berlin");
  assert.equal(document.cookie, "time_zone=Europe%2FBerlin; path=/; max-age=31536000; samesite=lax");
});

test("a browser that does not know its zone sets none", () => {
  const document = { cookie: "" };
  rememberTimeZone(document, undefined);
  assert.equal(document.cookie, "");
});
