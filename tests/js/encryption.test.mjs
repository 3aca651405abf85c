// Where frames are encrypted: the worker with real streams, and what puts it between encoder and connection.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import mediasoup from "mediasoup-client";
import fakeParameters from "mediasoup-client/fakeParameters";
import { Encryption } from "../../static/js/room/media/encryption.js";
import { MediaEngine } from "../../static/js/room/media/engine.js";
import { importKey } from "../../static/js/room/media/frame_crypto.js";

const KEY_FRAME = Uint8Array.from([0x50, 0x42, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0, ...new TextEncoder().encode("a picture")]);

// --- the worker ---------------------------------------------------------------------------------------------------------

const told = [];
globalThis.self = Object.assign(new EventTarget(), { postMessage: (message) => told.push(message) });
await import("../../static/js/room/media/encryption_worker.js");

const say = (data) => self.dispatchEvent(Object.assign(new Event("message"), { data }));
const keys = async (...bytes) => say({ do: "keys", keys: await Promise.all(bytes.map((byte) => importKey(new Uint8Array(16).fill(byte), "demo"))) });

/** A stream through the worker: frames go in, what comes out is collected. */
function passage(options) {
  const input = new TransformStream();
  const output = new TransformStream();
  self.dispatchEvent(Object.assign(new Event("rtctransform"), { transformer: { options, readable: input.readable, writable: output.writable } }));
  const writer = input.writable.getWriter();
  const out = [];
  void output.readable.pipeTo(new WritableStream({ write: (frame) => void out.push(new Uint8Array(frame.data)) })).catch(() => {});
  return { out, end: () => writer.close(), put: (...frames) => frames.forEach((data) => void writer.write({ data: data.buffer.slice(data.byteOffset, data.byteOffset + data.length) })) };
}

const camera = (encrypts, id = "") => passage({ id, encrypts, kind: "video", label: "tina camera" });

async function until(condition, what) {
  for (let turn = 0; turn < 500; turn++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.fail(`${what} did not happen`);
}

beforeEach(() => told.splice(0));
const open = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.end();
});

test("without a key nothing leaves, with one nothing leaves as it was, and who has it gets what was sent", async () => {
  await keys();
  const [sender, receiver] = [camera(true), camera(false, "p1")];
  open.push(sender, receiver);
  sender.put(KEY_FRAME, KEY_FRAME);
  await keys(1);
  sender.put(KEY_FRAME);
  await until(() => sender.out.length === 1, "the frame leaving");
  assert.equal(Buffer.from(sender.out[0]).includes("a picture"), false);
  receiver.put(sender.out[0]);
  await until(() => receiver.out.length === 1, "the frame arriving");
  assert.deepEqual(receiver.out[0], KEY_FRAME);
  assert.deepEqual(told, [{ id: "p1", locked: false }]);
});

test("what no key opens is dropped, told once after three, told anew when asked, and undone by the right key", async () => {
  await keys(1);
  const sender = camera(true);
  open.push(sender);
  sender.put(...Array(12).fill(KEY_FRAME));
  await until(() => sender.out.length === 12, "the frames leaving");
  await keys(2);
  const receiver = camera(false, "p1");
  open.push(receiver);
  receiver.put(...sender.out.slice(0, 2));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(told, [], "one or two prove nothing");
  receiver.put(...sender.out.slice(2, 6));
  await until(() => told.length === 1, "word of it");
  say({ do: "look again" });
  receiver.put(...sender.out.slice(6, 9));
  await until(() => told.length === 2, "word of it again");
  assert.deepEqual(told, Array(2).fill({ id: "p1", locked: true }));
  assert.equal(receiver.out.length, 0);
  await keys(2, 1);
  receiver.put(...sender.out.slice(9));
  await until(() => receiver.out.length === 3, "frames being opened");
  assert.deepEqual(told.at(-1), { id: "p1", locked: false });
  assert.equal(told.length, 3);
});

// --- between encoder and connection ---------------------------------------------------------------------------------------

class ScriptTransform {
  constructor(worker, options) {
    Object.assign(this, { worker, options });
  }
}

class OldSender {
  createEncodedStreams() {
    return { readable: "readable", writable: "writable" };
  }
}

function made(scope) {
  const posted = [];
  const worker = Object.assign(new EventTarget(), { postMessage: (...message) => posted.push(message) });
  const encryption = new Encryption({ scope: { crypto: { subtle: {} }, ...scope }, makeWorker: () => worker });
  encryption.self = "sam";
  return { encryption, posted, worker };
}

test("a browser of today gets a transform that knows whose frames they are", () => {
  const { encryption, worker } = made({ RTCRtpScriptTransform: ScriptTransform });
  assert.deepEqual(encryption.peerSettings, {});
  const [sender, receiver] = [{}, {}];
  encryption.encrypt(sender, "screen_audio");
  encryption.decrypt(receiver, { producer_id: "p1", participant_id: "tina", source: "camera" });
  assert.equal(sender.transform.worker, worker);
  assert.deepEqual(sender.transform.options, { id: "", encrypts: true, kind: "audio", label: "sam screen_audio" });
  assert.deepEqual(receiver.transform.options, { id: "p1", encrypts: false, kind: "video", label: "tina camera" });
});

test("an older Chromium gives its streams to the worker, and lets nothing pass beside them", () => {
  const { encryption, posted } = made({ RTCRtpSender: OldSender });
  assert.deepEqual(encryption.peerSettings, { encodedInsertableStreams: true });
  encryption.encrypt(new OldSender(), "microphone");
  const options = { id: "", encrypts: true, kind: "audio", label: "sam microphone" };
  assert.deepEqual(posted, [[{ do: "stream", options, readable: "readable", writable: "writable" }, ["readable", "writable"]]]);
});

test("a browser that can do neither, or a page that is not secure, sends and receives nothing", async () => {
  for (const scope of [{}, { RTCRtpScriptTransform: ScriptTransform, crypto: {} }]) {
    const { encryption } = made(scope);
    assert.equal(encryption.isSupported, false);
    assert.throws(() => encryption.encrypt({}, "camera"));
    const requests = [];
    const engine = new MediaEngine({
      makeDevice: async () => new mediasoup.Device({ handlerFactory: mediasoup.FakeHandler.createFactory(fakeParameters) }),
      request: async (event) => requests.push(event), encryption,
    });
    let unsupported = 0;
    engine.on("unsupported", () => unsupported++);
    const media = { epoch: "e1", transports: [], producers: [], consumers: [] };
    await engine.joined({ session: "s", resumed: false, you: { participant_id: "sam", role: "attendee" }, media,
      rtp_capabilities: fakeParameters.generateRouterRtpCapabilities() });
    assert.deepEqual([unsupported, requests], [1, []]);
    engine.close();
  }
});

test("only codecs whose clear bytes suffice are offered, with their repair, and no redundant voice", () => {
  const { encryption } = made({ RTCRtpScriptTransform: ScriptTransform });
  const codec = (mimeType, preferredPayloadType, parameters = {}) => ({ kind: mimeType.split("/")[0], mimeType, preferredPayloadType, parameters });
  const codecs = [
    codec("audio/opus", 100), codec("audio/red", 110, { "": "100/100" }), codec("video/VP8", 101), codec("video/rtx", 102, { apt: 101 }),
    codec("video/H264", 103), codec("video/rtx", 104, { apt: 103 }), codec("video/VP9", 105), codec("video/AV1", 107),
  ];
  const { codecs: left, headerExtensions } = encryption.within({ codecs, headerExtensions: ["kept"] });
  assert.deepEqual(left.map((each) => each.preferredPayloadType), [100, 101, 102]);
  assert.deepEqual(headerExtensions, ["kept"]);
});

test("a worker that does not start is told of", () => {
  const { encryption, worker } = made({ RTCRtpScriptTransform: ScriptTransform });
  let broken = 0;
  encryption.on("broken", () => broken++);
  worker.dispatchEvent(new Event("error"));
  assert.equal(broken, 1);
});

test("an encrypted class makes no direct connection, although the server names a pair", async () => {
  const { encryption } = made({ RTCRtpScriptTransform: ScriptTransform });
  let connections = 0;
  const makeEngine = (ours) => new MediaEngine({
    makeDevice: async () => new mediasoup.Device({ handlerFactory: mediasoup.FakeHandler.createFactory(fakeParameters) }),
    request: async (event, data) => event === "transport:create" ? transport(data.direction) : {},
    makeConnection: () => {
      connections++;
      throw new Error("not here");
    },
    encryption: ours,
  });
  const pair = { pair: "pair-1", participants: ["sam", "tina"] };
  const answer = {
    session: "s", resumed: false, you: { participant_id: "sam", role: "attendee" }, p2p: pair, ice_servers: [],
    media: { epoch: "e1", transports: [], producers: [], consumers: [] }, rtp_capabilities: fakeParameters.generateRouterRtpCapabilities(),
  };
  for (const [ours, expected] of [[encryption, 0], [null, 1]]) {
    const engine = makeEngine(ours);
    await engine.joined(answer).catch(() => {});
    try { engine.pair(pair); } catch { /* the connection that is not there */ }
    assert.equal(connections > 0, expected > 0);
    engine.close();
  }
});

function transport(direction) {
  const { iceParameters, iceCandidates, dtlsParameters } = fakeParameters.generateTransportRemoteParameters();
  return { transport_id: direction, ice_parameters: iceParameters, ice_candidates: iceCandidates, dtls_parameters: dtlsParameters, ice_servers: [] };
}
