// What is done about media when the server, the browser or the network says something of them.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Emitter } from "../../static/js/room/emitter.js";
import { wireMedia } from "../../static/js/room/wiring/media.js";
import { settle } from "./helpers.mjs";

const page = new EventTarget();
const network = Object.assign(new EventTarget(), { type: "wifi" });
globalThis.addEventListener = page.addEventListener.bind(page);
Object.defineProperty(globalThis, "navigator", { value: { connection: network } });

let room, watch, engine, session, did;

beforeEach(() => {
  did = [];
  const say = (what) => (...details) => void did.push(details.length ? `${what} ${JSON.stringify(details)}` : what);
  room = Object.assign(new Emitter(), { forgetProducers: say("forget"), forgetFormer: say("forget former") });
  watch = new Emitter();
  engine = Object.assign(new Emitter(), {
    state: "up", encryption: new Emitter(), restart: async () => say("restart")(), pair: say("pair"), direct: { signal: say("signal"), partner: "tina" },
    link: { moved: say("moved"), suspect: say("suspect"), cut: say("cut") },
    receiver: { closed: say("closed"), layers: say("layers"), expects: true },
  });
  session = { mediaRestarting: say("restarting"), mediaBack: say("back"), wake: say("wake") };
  const notices = { show: ({ title }) => did.push(title) };
  wireMedia({ room, watch, engine, session, notices, connection: { reconnect: say("reconnect") } });
});

test("a new worker is gone over to: a restart that all are told forgets what they sent, one's own does not", async () => {
  room.emit("event", { event: "media:restart", data: {}, seq: 7 });
  await settle();
  assert.deepEqual(did.splice(0), ['forget ["tina"]', "restarting", "restart", "back"]);
  room.emit("event", { event: "media:restart", data: {} });
  await settle();
  assert.deepEqual(did, ["restarting", "restart", "back"]);
});

test("news of consumers and of the direct connection reach their parts, and nothing else does", () => {
  for (const event of ["consumer:closed", "consumer:layers", "p2p:changed", "p2p:signal", "chat:message"]) {
    room.emit("event", { event, data: { consumer_id: "c" }, seq: 8 });
  }
  assert.deepEqual(did.map((each) => each.split(" ")[0]), ["closed", "layers", "pair", "signal"]);
});

test("another network is acted upon at once, more of the same is not, and silence only asks", () => {
  network.dispatchEvent(new Event("change"));
  assert.deepEqual(did.filter((each) => each === "moved"), []);
  network.type = "cellular";
  network.dispatchEvent(new Event("change"));
  assert.ok(did.includes('wake [{"moved":true}]') && did.includes("moved"));
  did.length = 0;
  watch.emit("stalled", undefined);
  assert.deepEqual(did, ["suspect", 'wake [{"suspect":true}]']);
  did.length = 0;
  page.dispatchEvent(new Event("online"));
  assert.ok(did.includes("moved"));
});

test("where the socket answers and media that nobody paused do not come, their way alone is cut", async () => {
  for (const [answered, expects] of [[false, true], [true, false], [true, true]]) {
    session.wake = async () => answered;
    engine.receiver.expects = expects;
    did.length = 0;
    watch.emit("stalled", undefined);
    await settle();
    assert.deepEqual(did, answered && expects ? ["suspect", "cut"] : ["suspect"]);
  }
});

test("a worker for encryption that does not start is told as what it is, and the class goes on", () => {
  engine.encryption.emit("broken", undefined);
  assert.deepEqual(did, ["back", "This browser cannot encrypt sound and pictures"]);
});
