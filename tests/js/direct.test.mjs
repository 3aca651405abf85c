// Two pages that connect past the worker: everything but the browser's RTCPeerConnection, which a small one stands for.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { FakeMediaStreamTrack } from "fake-mediastreamtrack";
import { Emitter } from "../../static/js/room/emitter.js";
import { Direct } from "../../static/js/room/media/direct.js";
import { DirectLink, ownAddressOnly, SOURCES } from "../../static/js/room/media/direct_link.js";
import { limitsFor } from "../../static/js/room/media/direct_looks.js";
import { settle } from "./helpers.mjs";

const KINDS = { microphone: "audio", camera: "video", screen: "video", screen_audio: "audio" };
const track = (kind) => new FakeMediaStreamTrack({ kind });

/** RTCPeerConnections that find each other when both have heard of the other, as far as a DirectLink sees them. */
class FakeConnection {
  static open = [];
  signalingState = "stable";
  connectionState = "new";
  localDescription = null;
  closed = false;
  #transceivers = [];
  #counts = new Map();
  #number = FakeConnection.open.push(this);

  addTransceiver(kind) {
    const transceiver = {
      mid: null, direction: "sendrecv",
      sender: {
        track: null, parameters: { encodings: [{}] },
        replaceTrack: async (next) => {
          if (next && !transceiver.sender.track) transceiver.sender.atFirst = transceiver.sender.parameters.encodings[0].active;
          transceiver.sender.track = next;
        },
        getParameters: () => structuredClone(transceiver.sender.parameters),
        setParameters: async (parameters) => void (transceiver.sender.parameters = parameters),
      },
      receiver: { track: track(kind) },
    };
    this.#transceivers.push(transceiver);
    queueMicrotask(() => this.onnegotiationneeded?.());
    return transceiver;
  }

  getTransceivers() {
    return this.#transceivers;
  }

  createDataChannel() {
    this.channel = { readyState: "connecting", send: (text) => this.other?.channel.onmessage({ data: text }), close() {} };
    return this.channel;
  }

  async setLocalDescription() {
    const type = this.signalingState === "have-remote-offer" ? "answer" : "offer";
    this.localDescription = { type, sdp: `${type} ${this.#number - 1}` };
    this.signalingState = type === "offer" ? "have-local-offer" : "stable";
    this.#transceivers.forEach((transceiver, place) => (transceiver.mid = String(place)));
    if (type === "offer") this.onicecandidate?.({ candidate: { toJSON: () => ({ candidate: `of ${this.#number - 1}` }) } });
  }

  async setRemoteDescription({ type, sdp }) {
    if (sdp === "nonsense") throw new Error("nonsense");
    this.other = FakeConnection.open[Number(sdp.split(" ")[1])];
    if (type === "offer") {
      this.signalingState = "have-remote-offer";
      if (!this.#transceivers.length) for (const source of SOURCES) this.addTransceiver(KINDS[source]);
      return;
    }
    this.signalingState = "stable";
    if (!FakeConnection.blocked) for (const end of [this, this.other]) end.connect();
  }

  async addIceCandidate(candidate) {
    if (candidate.candidate === "bad") throw new Error("bad candidate");
  }

  connect() {
    this.connectionState = "connected";
    this.onconnectionstatechange?.();
    this.channel.readyState = "open";
    this.channel.onopen?.();
  }

  /** A moment goes by in which what is sent arrives. */
  pass() {
    if (!this.other || this.closed || this.other.closed) return;
    this.other.getTransceivers().forEach(({ sender }, place) => {
      if (sender.track) this.#counts.set(place, (this.#counts.get(place) ?? 0) + 1);
    });
  }

  async getStats() {
    const stats = new Map();
    for (const [place, count] of this.#counts) {
      const kind = KINDS[SOURCES[place]];
      stats.set(place, { type: "inbound-rtp", mid: String(place), kind, framesDecoded: count, packetsReceived: count, bytesReceived: 100 * count });
    }
    return stats;
  }

  close() {
    this.closed = true;
    this.connectionState = "closed";
  }
}

class FakeSender extends Emitter {
  resting = false;
  tracks = new Map();
  onAir = (source) => this.tracks.get(source) ?? null;
  rest = (resting) => (this.resting = resting);

  put(source, next) {
    this.tracks.set(source, next);
    this.emit("change", { source });
  }
}

class FakeReceiver extends Emitter {
  wanted = [];
  received = [];
  byWorker = new Map();
  look = { width: 320, height: 180 };
  entry = (id) => this.received.find(({ producer }) => producer.producer_id === id);
  lookOf = () => this.look;
  arrived = async () => new Map(this.byWorker);

  divert(id, direct) {
    this.entry(id).direct = direct;
  }

  consume(participant_id, source) {
    const producer = { producer_id: `${participant_id}-${source}`, participant_id, source, kind: KINDS[source], paused: false };
    this.wanted.push(producer);
    this.received.push({ producer, paused: false, direct: null });
    this.emit("consumed", { producer });
    return producer;
  }
}

class Page {
  sender = new FakeSender();
  receiver = new FakeReceiver();
  asked = [];
  others = [];
  lost = new Set(); // what the server never passes on

  constructor(self, world) {
    this.self = self;
    this.direct = new Direct({
      sender: this.sender, receiver: this.receiver, makeConnection: () => new FakeConnection(), makeStream: () => ({}), now: () => world.now,
      every: (look) => {
        world.looks.add(look);
        return () => world.looks.delete(look);
      },
      request: async (event, data) => {
        this.asked.push([event, data]);
        if (event !== "p2p:signal" || this.lost.has(data.description?.type)) return;
        const { participant_id, ...signal } = data;
        world.pages.find((page) => page.self === participant_id)?.direct.signal({ participant_id: self, ...signal });
      },
    });
  }

  told(pair, participants = ["sam", "tina"]) {
    this.direct.changed({ pair, participants: pair && participants }, { self: this.self, iceServers: [] });
  }

  get shown() {
    return this.receiver.received.filter(({ direct }) => direct).map(({ producer }) => producer.source);
  }

  failures() {
    return this.asked.filter(([event]) => event === "p2p:failed");
  }
}

let world, sam, tina;

beforeEach(() => {
  FakeConnection.open = [];
  FakeConnection.blocked = false;
  world = { now: 0, looks: new Set(), pages: [] };
  world.pages = [sam, tina] = [new Page("sam", world), new Page("tina", world)];
  for (const [page, other] of [[sam, "tina"], [tina, "sam"]]) {
    page.sender.put("microphone", track("audio"));
    page.sender.put("camera", track("video"));
    page.receiver.consume(other, "microphone");
    page.receiver.consume(other, "camera");
  }
});

async function later(ms, { flows = true } = {}) {
  for (const end = world.now + ms; world.now < end; ) {
    world.now += 100;
    if (flows) for (const connection of FakeConnection.open) connection.pass();
    for (const look of [...world.looks]) look();
    await settle();
  }
}

async function connected() {
  for (const page of [sam, tina]) page.told("pair-1");
  await later(500);
  assert.deepEqual([sam.direct.state, tina.direct.state], ["direct", "direct"]);
}

test("two are shown each other directly, and feed the worker no more when the other shows them", async () => {
  sam.told("pair-1");
  tina.told("pair-1");
  await settle();
  assert.equal(sam.sender.resting, false, "nothing is let go before the new path carries");
  await connected();
  for (const page of [sam, tina]) {
    assert.deepEqual(page.shown, ["microphone", "camera"]);
    assert.equal(page.sender.resting, true);
  }
  assert.equal(FakeConnection.open.length, 2);
});

test("as long as nothing arrives the worker's path is shown, and is given up for no more than ten seconds' hope", async () => {
  for (const page of [sam, tina]) page.told("pair-1");
  await later(9900, { flows: false });
  assert.equal(sam.direct.state, "connecting");
  assert.deepEqual([sam.shown, sam.sender.resting, sam.failures().length], [[], false, 0]);
  await later(300, { flows: false });
  assert.deepEqual([sam.direct.state, sam.failures()], ["off", [["p2p:failed", { pair: "pair-1" }]]]);
  assert.ok(FakeConnection.open.every(({ closed }) => closed));
});

test("on the way back the worker is fed at once, and shown as soon as something of it arrives", async () => {
  await connected();
  const links = [...FakeConnection.open];
  for (const page of [sam, tina]) page.told(null);
  assert.deepEqual([sam.sender.resting, tina.sender.resting], [false, false]);
  await later(300);
  assert.deepEqual(sam.shown, ["microphone", "camera"], "nothing has come by the worker yet");
  sam.receiver.byWorker.set("tina-camera", 1);
  await later(100);
  assert.deepEqual(sam.shown, ["microphone"]);
  sam.receiver.byWorker.set("tina-microphone", 1);
  await later(200);
  assert.deepEqual([sam.shown, sam.direct.state, links.some(({ closed }) => closed)], [[], "returning", false], "tina still looks this way");
  for (const source of ["camera", "microphone"]) tina.receiver.byWorker.set(`sam-${source}`, 1);
  await later(300);
  assert.deepEqual([sam.direct.state, tina.direct.state], ["off", "off"]);
  assert.ok(links.every(({ closed }) => closed));
});

test("a worker that brings nothing is shown after three seconds all the same", async () => {
  await connected();
  sam.told(null);
  await later(3200);
  assert.deepEqual([sam.shown, sam.direct.state], [[], "off"]);
});

test("a path that falls silent is left within half a second, and the server is told", async () => {
  await connected();
  await later(200, { flows: false });
  assert.deepEqual([sam.direct.state, sam.sender.resting], ["direct", false], "fed again on suspicion");
  await later(100);
  assert.deepEqual([sam.direct.state, sam.sender.resting], ["direct", true], "and no more when it was nothing");
  await later(500, { flows: false });
  assert.equal(sam.direct.state, "returning");
  assert.deepEqual(sam.failures(), [["p2p:failed", { pair: "pair-1" }]]);
  assert.equal(sam.sender.resting, false);
});

test("what the worker brings while a path is only suspected is shown in the moment in which it is given up", async () => {
  await connected();
  for (const source of ["camera", "microphone"]) sam.receiver.byWorker.set(`tina-${source}`, 40);
  await later(300, { flows: false });
  assert.equal(sam.direct.state, "direct");
  for (const source of ["camera", "microphone"]) sam.receiver.byWorker.set(`tina-${source}`, 41);
  await later(100, { flows: false });
  assert.deepEqual([sam.direct.state, sam.shown], ["returning", []]);
});

test("silence of one who sends nothing is no broken path", async () => {
  await connected();
  for (const producer of sam.receiver.wanted) producer.paused = true;
  await later(2000, { flows: false });
  assert.equal(sam.direct.state, "direct");
});

test("what is muted is not on the connection, and what comes later is shown directly from the start", async () => {
  await connected();
  const [link] = FakeConnection.open;
  assert.equal(link.getTransceivers()[0].sender.track, sam.sender.tracks.get("microphone"));
  sam.sender.put("microphone", null);
  await settle();
  assert.equal(link.getTransceivers()[0].sender.track, null);
  tina.receiver.consume("sam", "screen");
  assert.ok(tina.shown.includes("screen"));
});

test("a picture that nobody looks at is not sent, one in a small tile is sent small", async () => {
  sam.sender.put("camera", Object.assign(track("video"), { getSettings: () => ({ width: 1280, height: 720 }) }));
  await connected();
  const { sender } = FakeConnection.open[0].getTransceivers()[1];
  assert.equal(sender.atFirst, false, "as long as nobody has said that he looks");
  await later(200);
  assert.equal(sender.parameters.encodings[0].scaleResolutionDownBy, 4);
  tina.receiver.look = null;
  await later(200);
  assert.equal(sender.parameters.encodings[0].active, false);
  tina.receiver.look = { width: 1200, height: 700 };
  await later(200);
  assert.deepEqual(sender.parameters.encodings[0], { scaleResolutionDownBy: 1, maxBitrate: 1_500_000, active: true });
});

test("a new visit makes a new connection, and signals of the last one are of no meaning", async () => {
  await connected();
  const before = [...FakeConnection.open];
  sam.told("pair-2");
  assert.equal(before.filter(({ closed }) => closed).length, 1);
  assert.deepEqual([sam.shown, sam.sender.resting], [[], false]);
  sam.direct.signal({ pair: "pair-1", description: { type: "offer", sdp: "nonsense" } });
  tina.told("pair-2");
  await later(500);
  assert.equal(sam.direct.state, "direct");
});

test("a signal that comes before the news of its pair is kept for it", async () => {
  sam.told("pair-1");
  await settle();
  assert.equal(tina.direct.state, "off");
  tina.told("pair-1");
  await later(500);
  assert.equal(tina.direct.state, "direct");
});

test("the worker's death is not noticed by what goes directly, and ends what only begins to", async () => {
  await connected();
  const { shown } = sam;
  sam.direct.mediaGone();
  assert.deepEqual([sam.direct.state, sam.shown, sam.failures().length], ["direct", shown, 0]);
  assert.equal(sam.direct.partner, "tina");
  sam.told(null);
  sam.told("pair-2");
  sam.direct.mediaGone();
  assert.deepEqual([sam.direct.state, sam.direct.partner, sam.shown, sam.failures().length], ["off", "", [], 1]);
  sam.told("pair-2");
  assert.equal(sam.direct.state, "off");
});

test("what passed directly is counted on when the path is gone", async () => {
  await connected();
  const before = sam.direct.numbers("tina", "camera", "recv");
  assert.ok(before.framesDecoded > 0);
  assert.ok(before.now);
  sam.told(null);
  await later(3200, { flows: false });
  assert.deepEqual(sam.direct.numbers("tina", "camera", "recv"), { ...before, now: null, rtt: 0 });
});

test("who cannot connect directly says so at once", () => {
  const page = new Page("sam", world);
  page.direct = new Direct({ sender: page.sender, receiver: page.receiver, makeConnection: null, request: async (...asked) => void page.asked.push(asked) });
  page.told("pair-1");
  assert.equal(page.failures().length, 1);
});

test("when both offer, the polite one gives way and the other does not hear", async () => {
  const sent = [];
  const make = (polite) => new DirectLink({
    makeConnection: () => new FakeConnection(), makeStream: () => ({}), iceServers: [], polite, signal: (signal) => sent.push(signal),
  });
  const [impolite, polite] = [make(false), make(true)];
  await settle();
  const [first, second] = FakeConnection.open;
  assert.equal(first.signalingState, "have-local-offer");
  await impolite.receive({ description: { type: "offer", sdp: "offer 1" } });
  assert.equal(first.signalingState, "have-local-offer", "its own offer stands");
  await impolite.receive({ candidate: { candidate: "bad" } }); // of the offer that was ignored: no error
  second.signalingState = "have-local-offer";
  await polite.receive({ description: { type: "offer", sdp: "offer 0" } });
  assert.equal(second.signalingState, "stable");
  assert.equal(sent.at(-1).description.type, "answer");
  await impolite.receive(sent.at(-1));
  assert.ok(impolite.ready && polite.ready);
  await impolite.receive(sent.findLast(({ description }) => description)); // told twice
  assert.ok(impolite.ready);
  for (const link of [impolite, polite]) link.close();
});

test("a description that makes no sense breaks the link, not the page", async () => {
  const link = new DirectLink({ makeConnection: () => new FakeConnection(), makeStream: () => ({}), iceServers: [], polite: true, signal: () => {} });
  let broken = 0;
  link.on("broken", () => broken++);
  await link.receive({ description: { type: "offer", sdp: "nonsense" } });
  assert.equal(broken, 1);
  link.close();
});

test("relays are asked for our address only", () => {
  assert.deepEqual(ownAddressOnly([
    { urls: ["stun:stun.example.org"] },
    { urls: ["turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:3478?transport=tcp", "turns:turn.example.org"], username: "u", credential: "c" },
  ]), [{ urls: ["stun:stun.example.org", "stun:turn.example.org:3478"] }]);
  assert.deepEqual(ownAddressOnly([]), []);
});

test("a screen is sent whole in whatever tile, a camera as the worker would choose", () => {
  const hd = { kind: "video", getSettings: () => ({ width: 1280, height: 720 }) };
  const down = (source, look) => limitsFor(source, hd, look).scaleResolutionDownBy;
  assert.deepEqual([down("camera", { width: 400, height: 225 }), down("camera", { width: 500, height: 400 }), down("camera", undefined)], [4, 2, 1]);
  assert.equal(down("screen", { width: 400, height: 225 }), 1);
  assert.equal(limitsFor("camera", hd, null).active, false);
});
