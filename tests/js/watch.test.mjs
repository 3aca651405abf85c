import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Emitter } from "../../static/js/room/emitter.js";
import { StallWatch } from "../../static/js/room/media/stall.js";
import { RoomState } from "../../static/js/room/room_state.js";
import { Watch } from "../../static/js/room/watch.js";
import { settle, snapshot } from "./helpers.mjs";

let requests, session, room, received, own, watch, told;

beforeEach(() => {
  mock.timers.enable({ apis: ["setInterval"] });
  mock.method(performance, "now", () => now);
  [requests, received, told, now] = [[], [], [], 1000];
  own = { sends: false, level: null };
  session = Object.assign(new Emitter(), { inClass: true });
  room = new RoomState();
  room.join(snapshot());
  watch = new Watch({
    session, room,
    connection: { request: async (event, data) => requests.push([event, data]) },
    engine: { link: null, direct: { state: "off" }, receiver: { get received() { return received; } } },
    controls: { sends: () => own.sends },
    meter: { read: () => own.level },
  });
  for (const event of ["speaker", "handGoesDown", "handDown"]) watch.on(event, (data) => told.push(data ?? event));
  watch.start();
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

let now;
let speaking = new Set();
function pass(ms) {
  const off = watch.on("speaking", (set) => (speaking = set));
  for (let passed = 0; passed < ms; passed += 100) {
    now += 100;
    mock.timers.tick(100);
  }
  off();
  return [...speaking].sort();
}
const voice = (participant_id, level) => ({
  producer: { participant_id, source: "microphone", paused: false },
  consumer: { rtpReceiver: { getSynchronizationSources: () => [{ audioLevel: level }] } },
});

test("the line is tried every five seconds even when no media flow, so that a dead one is noticed", async () => {
  mock.timers.tick(5000);
  await settle();
  assert.deepEqual(requests, [["stats:report", {}]]);
  session.inClass = false;
  mock.timers.tick(10_000);
  await settle();
  assert.equal(requests.length, 1);
});

test("as long as the server says nothing, who is loudest here is the speaker", () => {
  received = [voice("tina", 0.2), voice("mei", 0.4)];
  assert.deepEqual(pass(2000), ["mei", "tina"]);
  assert.deepEqual(told, ["mei"]);
});

test("the server's speaker is framed until it names another, and so are all who speak by its word", () => {
  room.apply("speaker:active", { participant_id: "tina", levels: { tina: 90, mei: 80 } });
  assert.deepEqual(pass(5000), ["mei", "tina"]);
  room.apply("speaker:active", { participant_id: "mei", levels: { mei: 80 } });
  assert.deepEqual(pass(1000), ["mei"]);
  room.apply("speaker:active", { participant_id: null, levels: {} });
  assert.deepEqual(pass(1000), []);
  assert.deepEqual(told, ["tina", "mei"], "nobody speaking takes no large picture away");
});

test("one's own voice is framed but never shown large, and what is heard here does not overrule the server", () => {
  room.apply("speaker:active", { participant_id: "sam", levels: { sam: 90 } });
  received = [voice("tina", 0.9)];
  assert.deepEqual(pass(3000), ["sam", "tina"]);
  assert.deepEqual(told, []);
});

test("after a break the server's last word counts no more", () => {
  room.apply("speaker:active", { participant_id: "tina", levels: { tina: 90 } });
  session.emit("state", { from: "joined", to: "reconnecting", reason: "" });
  assert.deepEqual(pass(1000), []);
});

test("speaking with a raised hand says that it goes down, and takes it down", () => {
  room.apply("hand:raised", { participant_id: "sam", position: 1 });
  own = { sends: true, level: 0.3 };
  pass(8000);
  assert.deepEqual(told, ["handGoesDown", "handDown"]);
});

test("a hand that is to stay up stays, and one's muted voice lowers nothing", () => {
  room.apply("hand:raised", { participant_id: "sam", position: 1 });
  own = { sends: false, level: 0.3 };
  pass(8000);
  assert.deepEqual(told, []);
  own.sends = true;
  pass(2500);
  watch.keepHand();
  pass(20_000);
  assert.deepEqual(told, ["handGoesDown"]);
});

test("a poor line is told after three judgements that say so, and taken back after five that do not", async () => {
  let jitter = 0;
  let packets = 0;
  const stats = () => new Map([["I", { id: "I", type: "inbound-rtp", trackIdentifier: "t", packetsReceived: (packets += 100), jitter }]]);
  const thin = [];
  const lines = new Watch({
    session, room,
    connection: { request: async (event, data) => requests.push([event, data]) },
    engine: {
      direct: { state: "off", numbers: () => ({ framesDecoded: 0, bytes: 0, packets: 0, packetsLost: 0, now: null, rtt: 0 }) },
      link: { closed: false, recv: { getStats: async () => stats() }, send: { getStats: async () => new Map() } },
      sender: { producers: [] },
      receiver: { received: [{ layer: null, producer: { participant_id: "tina", source: "camera", kind: "video", paused: false }, consumer: { track: { id: "t" } } }] },
    },
    controls: { sends: () => false }, meter: { read: () => null },
  });
  lines.on("thinLine", (now) => thin.push(now));
  lines.start();
  const judge = async (times) => {
    for (let time = 0; time < times; time++) {
      now += 2000;
      mock.timers.tick(2000);
      await settle();
    }
  };
  await judge(3);
  jitter = 0.15;
  await judge(3);
  assert.deepEqual(thin, []);
  await judge(1);
  assert.deepEqual(thin, [true]);
  jitter = 0;
  await judge(6);
  assert.deepEqual(thin, [true]);
  await judge(2);
  assert.deepEqual(thin, [true, false]);
  const reports = requests.filter(([, data]) => data.rtt !== undefined).map(([, data]) => data.jitter);
  assert.ok(reports.includes(150), "what is reported is what was judged");
});

test("a flow that stops is told once, until something has come again", () => {
  const stall = new StallWatch();
  const told = [];
  for (const [newest, now] of [[0, 0], [0, 5000], [1, 5100], [2, 6000], [2, 6900], [2, 7000], [2, 9500], [3, 9600], [3, 10_500], [3, 10_600]]) {
    if (stall.update(newest, now)) told.push(now);
  }
  assert.deepEqual(told, [7000, 10_600]);
});
