import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { FakeMediaStreamTrack } from "fake-mediastreamtrack";
import { actionFor } from "../../static/js/room/keys.js";
import { arrange, gridRects, orderSeats, stageRects } from "../../static/js/room/layout.js";
import { LevelMeter, SilenceWatch, SpeakingTracker } from "../../static/js/room/media/levels.js";
import { Outbox } from "../../static/js/room/outbox.js";
import { settle } from "./helpers.mjs";

// --- keys

const key = (name, more = {}) => ({ key: name, ctrlKey: false, metaKey: false, altKey: false, repeat: false, ...more });
const free = { typing: false, onButton: false };

test("keys do what the list says", () => {
  assert.equal(actionFor(key("m"), free), "mic");
  assert.equal(actionFor(key("V"), free), "camera");
  assert.equal(actionFor(key("d", { ctrlKey: true }), free), "mic");
  assert.equal(actionFor(key("e", { ctrlKey: true }), free), "camera");
  assert.equal(actionFor(key(" "), free), "talk");
  assert.equal(actionFor(key("?"), free), "help");
});

test("keys are dead while typing, and Space presses the button that has the focus", () => {
  for (const name of ["m", "v", "c", "p", "r", "d", "w", "s", "?", " "]) {
    assert.equal(actionFor(key(name), { typing: true, onButton: false }), null);
  }
  assert.equal(actionFor(key(" "), { typing: false, onButton: true }), null);
});

test("a held key does not flutter, and the browser's own shortcuts stay its own", () => {
  assert.equal(actionFor(key("m", { repeat: true }), free), null);
  assert.equal(actionFor(key("w", { ctrlKey: true }), free), null);
  assert.equal(actionFor(key("r", { metaKey: true }), free), null);
});

// --- layout

const seat = (id, more = {}) => ({ id: `${id}/camera`, participant_id: id, source: "camera", self: false, role: "attendee", ...more });
const still = () => 0;

test("tiles of a grid lie within the stage and do not overlap", () => {
  for (const count of [1, 2, 3, 5, 7, 12, 25]) {
    for (const [width, height] of [[1256, 672], [378, 700], [900, 300]]) {
      const rects = gridRects(count, width, height, [16 / 9, 1]);
      assert.equal(rects.length, count);
      rects.forEach((a, i) => {
        assert.ok(a.width > 0 && a.x >= -1 && a.y >= -1 && a.x + a.width <= width + 1 && a.y + a.height <= height + 1, `${count} in ${width}x${height}`);
        for (const b of rects.slice(i + 1)) {
          const apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
          assert.ok(apart, `${count} in ${width}x${height}`);
        }
      });
    }
  }
});

test("a strip holds as many as fit and leaves the large tile free", () => {
  const { large, small } = stageRects(20, 1280, 640);
  assert.ok(small.length < 20);
  for (const rect of small) assert.ok(rect.x >= large.x + large.width);
});

test("teachers come first, oneself last, a pinned tile before all", () => {
  const seats = [seat("me", { self: true }), seat("sam"), seat("tina", { role: "host" }), seat("mei")];
  const order = (pinned) => orderSeats(seats, { pinned, lastSpoke: still, size: 25 }).map((each) => each.participant_id);
  assert.deepEqual(order(null), ["tina", "sam", "mei", "me"]);
  assert.deepEqual(order("mei/camera"), ["mei", "tina", "sam", "me"]);
});

test("who speaks on the second page comes to the first, in the place of the stillest; the others stay", () => {
  const seats = [seat("me", { self: true }), seat("tina", { role: "host" }), ...["a", "b", "c", "d"].map((id) => seat(id))];
  const spoke = { a: 5, b: 0, d: 9 };
  const order = orderSeats(seats, { pinned: null, lastSpoke: (id) => spoke[id] ?? 0, size: 4 }).map((each) => each.participant_id);
  assert.deepEqual(order.slice(0, 4), ["tina", "a", "d", "me"]);
});

test("a grid has pages; a page that is no longer there shows the last one", () => {
  const seats = Array.from({ length: 30 }, (_, i) => seat(`p${i}`));
  const options = { layout: "grid", page: 9, size: 25, width: 1200, height: 700, speaker: null, pinned: null };
  const { placed, pages, page } = arrange(seats, options);
  assert.deepEqual([placed.length, pages, page], [5, 2, 1]);
});

test("a shared screen is the large one in the presentation layout, one of many in the grid", () => {
  const seats = [seat("tina"), { ...seat("tina"), id: "tina/screen", source: "screen" }, seat("sam")];
  const options = { page: 0, size: 25, width: 1200, height: 700, speaker: null, pinned: null };
  const large = arrange(seats, { ...options, layout: "presentation" }).placed.filter((each) => each.large);
  assert.deepEqual(large.map((each) => each.seat.id), ["tina/screen"]);
  assert.equal(arrange(seats, { ...options, layout: "grid" }).placed.some((each) => each.large), false);
});

// --- who speaks

test("a border holds for 700 ms after the last word", () => {
  const tracker = new SpeakingTracker();
  assert.deepEqual([...tracker.update(new Map([["tina", 0.2]]), 1000)], ["tina"]);
  assert.deepEqual([...tracker.update(new Map([["tina", 0]]), 1600)], ["tina"]);
  assert.deepEqual([...tracker.update(new Map([["tina", 0]]), 1700)], []);
  assert.equal(tracker.lastSpoke("tina"), 1000);
});

test("a microphone is listened to once, however often the devices are looked over, and let go when it is closed", () => {
  const clones = [];
  globalThis.MediaStream = class {};
  const meter = new LevelMeter({ createAnalyser: () => ({}), createMediaStreamSource: () => ({ connect() {}, disconnect() {} }) });
  const microphone = new FakeMediaStreamTrack({ kind: "audio" });
  microphone.clone = () => clones[clones.push(new FakeMediaStreamTrack({ kind: "audio" })) - 1];
  for (let look = 0; look < 3; look++) meter.listenTo(microphone);
  assert.equal(clones.length, 1);
  meter.listenTo(null);
  assert.equal(clones[0].readyState, "ended");
});

test("a microphone that gives nothing at all is told of once; a quiet room is not", () => {
  const dead = new SilenceWatch();
  const told = [];
  for (let now = 1; now <= 20_000; now += 100) told.push(dead.update(0, now));
  assert.equal(told.filter(Boolean).length, 1);
  const quiet = new SilenceWatch();
  for (let now = 1; now <= 20_000; now += 100) assert.equal(quiet.update(0.002, now), false);
});

// --- messages on their way

function failing(...codes) {
  const sent = [];
  return { sent, request: async (event, data) => {
    sent.push(data);
    const code = codes.shift();
    if (code) throw Object.assign(new Error(code), { code });
    return { message_id: "m" };
  } };
}

test("a message that the connection lost is sent again under the same key", async () => {
  const { sent, request } = failing("disconnected");
  const outbox = new Outbox(request, () => "key-1");
  outbox.send("hello");
  await settle();
  assert.equal(outbox.waiting.length, 1);
  await outbox.flush();
  assert.equal(outbox.waiting.length, 0);
  assert.deepEqual(sent.map((each) => each.metadata.client_id), ["key-1", "key-1"]);
});

test("messages keep their order, one after the other", async () => {
  const { sent, request } = failing();
  const outbox = new Outbox(request);
  for (const text of ["one", "two", "three"]) outbox.send(text);
  await settle();
  assert.deepEqual(sent.map((each) => each.message), ["one", "two", "three"]);
  assert.equal(new Set(sent.map((each) => each.metadata.client_id)).size, 3);
});

test("a forbidden message is given back, and the next one goes", async () => {
  const { sent, request } = failing("forbidden");
  const outbox = new Outbox(request);
  const refused = [];
  outbox.on("refused", ({ message }) => refused.push(message));
  outbox.send("may I?");
  outbox.send("hello");
  await settle();
  assert.deepEqual(refused, ["may I?"]);
  assert.deepEqual(sent.map((each) => each.message), ["may I?", "hello"]);
});

test("a message written while the class is joined again is not given up", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { sent, request } = failing("wrong_state");
  const outbox = new Outbox(request);
  outbox.send("back again");
  await settle();
  assert.equal(outbox.waiting.length, 1);
  mock.timers.tick(1500);
  mock.timers.reset();
  await settle();
  assert.deepEqual(sent.map((each) => each.message), ["back again", "back again"]);
});

test("who writes too fast is sent a little later", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { sent, request } = failing("rate_limited");
  const outbox = new Outbox(request);
  outbox.send("quick");
  await settle();
  assert.equal(outbox.waiting.length, 1);
  mock.timers.tick(1500);
  mock.timers.reset();
  await settle();
  assert.equal(sent.length, 2);
  assert.equal(outbox.waiting.length, 0);
});
