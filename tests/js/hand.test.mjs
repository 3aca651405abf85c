import assert from "node:assert/strict";
import { test } from "node:test";
import { HandWatch } from "../../static/js/room/hand.js";

/** What it says over some seconds of looks, ten a second. */
function over(watch, seen, from, seconds) {
  const said = [];
  for (let now = from; now < from + seconds * 1000; now += 100) {
    const word = watch.update(seen, now);
    if (word) said.push([word, now - from]);
  }
  return said;
}
const speaking = { up: true, speaking: true };
const listening = { up: true, speaking: false };

test("a hand goes down five seconds after it was said that it does, once its owner speaks for a moment", () => {
  assert.deepEqual(over(new HandWatch(), speaking, 1000, 20), [["ask", 1500], ["lower", 6500]]);
});

test("a cough lowers no hand, and neither does waiting", () => {
  const watch = new HandWatch();
  assert.deepEqual(over(watch, listening, 0, 60), []);
  assert.deepEqual(over(watch, speaking, 60_000, 1), []);
  assert.deepEqual(over(watch, listening, 61_000, 60), []);
});

test("a hand that is kept raised stays up however long its owner speaks", () => {
  const watch = new HandWatch();
  assert.deepEqual(over(watch, speaking, 0, 2), [["ask", 1500]]);
  watch.keep();
  assert.deepEqual(over(watch, speaking, 2000, 60), []);
});

test("a hand that was lowered and raised again is asked about again", () => {
  const watch = new HandWatch();
  over(watch, speaking, 0, 2);
  watch.keep();
  watch.update({ up: false, speaking: true }, 2000);
  assert.deepEqual(over(watch, speaking, 3000, 2), [["ask", 1500]]);
});
