// The media modules with mediasoup-client's own Device and FakeHandler: everything but the browser's RTCPeerConnection.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { FakeMediaStreamTrack } from "fake-mediastreamtrack";
import mediasoup from "mediasoup-client";
import fakeParameters from "mediasoup-client/fakeParameters";
import { MediaEngine } from "../../static/js/room/media/engine.js";
import { settle } from "./helpers.mjs";

const { Device, FakeHandler } = mediasoup;
const refusal = (code) => Object.assign(new Error(code), { code });

/** A worker and its web process, as far as a browser sees them. */
class FakeServer {
  requests = [];
  refuse = new Map(); // event -> code, once
  #next = 1;
  down = false;

  request = async (event, data) => {
    this.requests.push([event, data]);
    if (this.down) throw refusal("disconnected");
    if (this.refuse.has(event)) {
      const code = this.refuse.get(event);
      this.refuse.delete(event);
      throw refusal(code);
    }
    const id = `${event}-${this.#next++}`;
    if (event === "transport:create") {
      const { iceParameters, iceCandidates, dtlsParameters } = fakeParameters.generateTransportRemoteParameters();
      return { transport_id: id, ice_parameters: iceParameters, ice_candidates: iceCandidates, dtls_parameters: dtlsParameters, ice_servers: [] };
    }
    if (event === "transport:restart_ice") return { ice_parameters: { usernameFragment: "new", password: "new" } };
    if (event === "produce") return { producer_id: id };
    if (event === "consume") {
      const video = data.producer_id.includes("camera") || data.producer_id.includes("screen");
      const made = fakeParameters.generateConsumerRemoteParameters({ id, codecMimeType: video ? "video/VP8" : "audio/opus" });
      return { consumer_id: id, producer_id: data.producer_id, kind: made.kind, type: "simple", rtp_parameters: made.rtpParameters, producer_paused: false };
    }
    return {};
  };

  of(event) {
    return this.requests.filter(([name]) => name === event).map(([, data]) => data);
  }
}

const theirs = (source, participant_id = "tina", paused = false) => ({
  producer_id: `${participant_id}-${source}`, participant_id, kind: source === "microphone" || source === "screen_audio" ? "audio" : "video", source, paused,
});
const track = (kind) => new FakeMediaStreamTrack({ kind });

let server, engine, heard;

beforeEach(() => {
  server = new FakeServer();
  heard = [];
  engine = new MediaEngine({
    makeDevice: async () => new Device({ handlerFactory: FakeHandler.createFactory(fakeParameters) }),
    request: (event, data) => server.request(event, data),
  });
  engine.receiver.on("track", ({ producer }) => heard.push(`+${producer.producer_id}`));
  engine.receiver.on("gone", ({ producer }) => heard.push(`-${producer.producer_id}`));
});
afterEach(() => {
  engine.close();
  mock.timers.reset();
});

const live = (epoch = "e1") => ({ epoch, transports: [], producers: [], consumers: [] });
const joinAnswer = (media = live()) => ({
  session: "s", resumed: false, you: { participant_id: "sam", role: "attendee" },
  rtp_capabilities: fakeParameters.generateRouterRtpCapabilities(), ice_servers: [], media,
});

/** What the worker would say is alive: all that was made through this server. */
function alive(epoch = "e1") {
  const { link, sender, receiver } = engine;
  return {
    epoch, transports: [link.send, link.recv].map((transport) => ({ transport_id: transport.id })),
    producers: sender.producers.map(({ producer }) => ({ producer_id: producer.id, paused: producer.paused })),
    consumers: receiver.received.map(({ consumer }) => ({ consumer_id: consumer.id })),
  };
}

async function inClass() {
  engine.receiver.want([theirs("microphone"), theirs("camera")]);
  await engine.joined(joinAnswer());
  await engine.sender.publish("microphone", track("audio"));
  await engine.sender.publish("camera", track("video"));
  await settle();
}

async function enough(condition, what) {
  for (let turn = 0; turn < 200; turn++) {
    if (condition()) return;
    await settle();
  }
  assert.fail(`${what} did not happen`);
}

test("joining makes a transport for each direction and consumes what others send, each resumed once it is set up", async () => {
  await inClass();
  await enough(() => server.of("consumer:resume").length === 2, "resuming");
  assert.deepEqual(server.of("transport:create").map((data) => data.direction).sort(), ["recv", "send"]);
  assert.deepEqual(heard.sort(), ["+tina-camera", "+tina-microphone"]);
  assert.equal(engine.state, "up");
});

test("transports that were asked for behind the join are the ones that are used, and only once", async () => {
  engine.prepare();
  assert.deepEqual(server.of("transport:create").map((data) => data.direction).sort(), ["recv", "send"]);
  await inClass();
  assert.equal(server.of("transport:create").length, 2);
  engine.prepare();
  assert.equal(server.of("transport:create").length, 2, "who has transports needs no others");
  await engine.restart({ epoch: "e2", reason: "worker_gone" }, { private: false });
  assert.equal(server.of("transport:create").length, 4);
});

test("transports that were asked for behind the join and refused are asked for again", async () => {
  server.refuse.set("transport:create", "media_unavailable");
  engine.prepare();
  mock.timers.enable({ apis: ["setTimeout"] });
  await engine.joined(joinAnswer());
  mock.timers.tick(300);
  mock.timers.reset();
  await enough(() => engine.state === "up", "the second try");
});

test("a transport's checks and handshake begin before the worker has answered whose it is", async () => {
  const { request } = server;
  server.request = (event, data) => (event === "transport:connect" ? (server.requests.push([event, data]), new Promise(() => {})) : request(event, data));
  await inClass();
  await enough(() => server.of("produce").length === 2 && server.of("consumer:resume").length === 2, "all the rest");
  assert.equal(server.of("transport:connect").length, 2);
});

test("a microphone and a camera go in one stream, a screen in its own", async () => {
  await inClass();
  await engine.sender.publish("screen", track("video"));
  const streams = Object.fromEntries(server.of("produce").map((data) => [data.source, data.rtp_parameters.msid?.split(" ")[0]]));
  assert.equal(streams.microphone, streams.camera);
  assert.notEqual(streams.screen, streams.camera);
});

test("pictures go in the codec that was chosen, and in VP8 where this browser lacks it", async () => {
  await inClass();
  const codecOf = (source) => server.of("produce").findLast((data) => data.source === source).rtp_parameters.codecs[0].mimeType;
  assert.equal(codecOf("camera"), "video/VP8");
  engine.sender.codec = "video/vp9";
  await engine.sender.publish("screen", track("video"));
  assert.equal(codecOf("screen"), "video/VP9");
  await engine.sender.unpublish("screen");
  engine.sender.codec = "video/av1";
  await engine.sender.publish("screen", track("video"));
  assert.equal(codecOf("screen"), "video/VP8");
});

test("a stream that comes later is consumed, one that ends is let go", async () => {
  await inClass();
  engine.receiver.want([theirs("microphone"), theirs("camera"), theirs("screen", "mei")]);
  await enough(() => heard.includes("+mei-screen"), "the late stream");
  engine.receiver.want([theirs("camera")]);
  assert.deepEqual(heard.slice(-2).sort(), ["-mei-screen", "-tina-microphone"]);
});

test("a stream that closed while it was asked for is no error, and another try is made when the worker stumbles", async () => {
  await inClass();
  mock.timers.enable({ apis: ["setTimeout"] });
  server.refuse.set("consume", "not_found");
  engine.receiver.want([theirs("microphone"), theirs("camera"), theirs("screen", "gone")]);
  await settle();
  server.refuse.set("consume", "media_unavailable");
  engine.receiver.want([theirs("microphone"), theirs("camera"), theirs("screen", "mei")]);
  await settle();
  mock.timers.tick(300);
  mock.timers.reset();
  await enough(() => heard.includes("+mei-screen"), "the second try");
  assert.equal(heard.includes("+gone-screen"), false);
});

test("muting pauses here at once and then at the server; unmuting asks first", async () => {
  await inClass();
  const { producer } = engine.sender.producers.find(({ source }) => source === "microphone");
  const muting = engine.sender.pause("microphone");
  assert.equal(producer.paused, true);
  await muting;
  assert.equal(server.of("produce:pause").length, 1);
  server.refuse.set("produce:resume", "forbidden");
  await assert.rejects(engine.sender.resume("microphone"), { code: "forbidden" });
  assert.equal(producer.paused, true);
  assert.equal(engine.sender.isSending("microphone"), false);
  await engine.sender.resume("microphone");
  assert.equal(producer.paused, false);
});

test("a camera that may not be sent is not kept as wanted", async () => {
  engine.receiver.want([]);
  await engine.joined(joinAnswer());
  server.refuse.set("produce", "forbidden");
  const refused = [];
  engine.sender.on("refused", ({ source, code }) => refused.push([source, code]));
  await assert.rejects(engine.sender.publish("camera", track("video")), { code: "forbidden" });
  assert.deepEqual(refused, [["camera", "forbidden"]]);
  assert.equal(engine.sender.has("camera"), false);
});

test("what was published before there is media is sent when there is", async () => {
  await engine.sender.publish("microphone", track("audio"));
  assert.equal(server.of("produce").length, 0);
  await engine.joined(joinAnswer());
  await enough(() => server.of("produce").length === 1, "producing");
});

test("a new link begins with the pictures, whatever was wanted first", async () => {
  await engine.sender.publish("microphone", track("audio"));
  await engine.sender.publish("camera", track("video"));
  await engine.joined(joinAnswer());
  await enough(() => server.of("produce").length === 2, "producing both");
  assert.deepEqual(server.of("produce").map((data) => data.source), ["camera", "microphone"]);
});

test("a socket that came back finds its media as they were", async () => {
  await inClass();
  await enough(() => heard.length === 2, "both streams");
  const { link } = engine;
  const before = server.of("transport:create").length + server.of("produce").length + server.of("consume").length;
  await engine.joined(joinAnswer(alive()));
  assert.equal(engine.link, link);
  assert.equal(server.of("transport:create").length + server.of("produce").length + server.of("consume").length, before);
  assert.equal(heard.some((each) => each.startsWith("-")), false);
});

test("what the worker lost while the socket was down is made anew, the rest stays", async () => {
  await inClass();
  await enough(() => heard.length === 2, "both streams");
  const media = alive();
  media.producers.pop();
  media.consumers.pop();
  await engine.joined(joinAnswer(media));
  await enough(() => server.of("produce").length === 3 && server.of("consume").length === 3, "making them anew");
  assert.equal(engine.receiver.received.length, 2);
});

test("a mute that came while the socket was down is believed", async () => {
  await inClass();
  const media = alive();
  for (const producer of media.producers) producer.paused = true;
  await engine.joined(joinAnswer(media));
  assert.equal(engine.sender.isSending("microphone"), false);
  assert.equal(server.of("produce:resume").length, 0);
});

test("muting oneself while the socket is down is told when it is back", async () => {
  await inClass();
  const media = alive();
  server.down = true;
  await engine.sender.pause("microphone");
  server.down = false;
  server.requests.length = 0;
  await engine.joined(joinAnswer(media));
  assert.equal(server.of("produce:pause").length, 1);
});

test("when the worker went, all is built anew from the same tracks", async () => {
  await inClass();
  await enough(() => heard.length === 2, "both streams");
  const bySource = () => new Map(engine.sender.producers.map(({ source, producer }) => [source, producer.track]));
  const tracks = bySource();
  engine.receiver.want([]); // the room forgot the old ids
  await engine.restart({ epoch: "e2", reason: "worker_gone" }, { private: false });
  engine.receiver.want([theirs("camera", "mei")]);
  await enough(() => engine.sender.producers.length === 2 && heard.includes("+mei-camera"), "building anew");
  assert.equal(tracks.size, 2);
  for (const [source, each] of bySource()) assert.equal(each, tracks.get(source), `${source} goes on with its track`);
  assert.ok([...tracks.values()].every((each) => each.readyState === "live"), "tracks outlive the link");
  assert.equal(engine.epoch, "e2");
});

test("who unmutes while there is no worker is heard by the next one", async () => {
  await inClass();
  await engine.sender.pause("microphone");
  const restarted = engine.restart({ epoch: "e2", reason: "worker_gone" }, { private: false });
  await engine.sender.resume("microphone");
  await restarted;
  await enough(() => engine.sender.producers.length === 2, "sending anew");
  await settle();
  assert.equal(server.of("produce").findLast((data) => data.source === "microphone").paused, false);
  const { producer } = engine.sender.producers.find(({ source }) => source === "microphone");
  assert.deepEqual([producer.paused, producer.track.enabled], [false, true]);
});

test("a restart that a join's answer had told already is not done twice; a private one is", async () => {
  await inClass();
  const { link } = engine;
  await engine.restart({ epoch: "e1" }, { private: false });
  assert.equal(engine.link, link);
  await engine.restart({ epoch: "e1", reason: "lease" }, { private: true });
  assert.notEqual(engine.link, link);
});

test("a class without a worker has no media until media:restart comes", async () => {
  const asked = [];
  engine.on("unknown", () => asked.push("join again"));
  await engine.joined({ ...joinAnswer(null), rtp_capabilities: null });
  assert.equal(engine.state, "none");
  assert.equal(server.requests.length, 0);
  await engine.restart({ epoch: "e1" }, { private: true });
  assert.deepEqual(asked, ["join again"]);
  await engine.joined(joinAnswer());
  assert.equal(engine.state, "up");
});

test("a worker that does not answer yet is asked again", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  server.refuse.set("transport:create", "media_unavailable");
  await engine.joined(joinAnswer());
  assert.equal(engine.state, "building");
  mock.timers.tick(300);
  mock.timers.reset();
  await enough(() => engine.state === "up", "the second try");
});

test("a transport that failed gets its ICE restarted; one the worker does not know is built anew", async () => {
  await inClass();
  const { link } = engine;
  mock.timers.enable({ apis: ["setTimeout"] });
  link.recv.handler.setConnectionState("connected");
  link.recv.handler.setConnectionState("failed");
  mock.timers.tick(1);
  await settle();
  assert.deepEqual(server.of("transport:restart_ice"), [{ transport_id: link.recv.id }]);
  server.refuse.set("transport:restart_ice", "not_found");
  link.send.handler.setConnectionState("connected");
  link.send.handler.setConnectionState("failed");
  mock.timers.tick(1);
  mock.timers.reset();
  await enough(() => engine.link && engine.link !== link, "building anew");
});

test("a short 'disconnected' heals by itself and costs no request", async () => {
  await inClass();
  mock.timers.enable({ apis: ["setTimeout"] });
  engine.link.recv.handler.setConnectionState("connected");
  engine.link.recv.handler.setConnectionState("disconnected");
  mock.timers.tick(900);
  engine.link.recv.handler.setConnectionState("connected");
  mock.timers.tick(10_000);
  await settle();
  assert.equal(server.of("transport:restart_ice").length, 0);
});

test("pictures that nobody looks at are paused, voices never", async () => {
  await inClass();
  await enough(() => server.of("consumer:resume").length === 2, "resuming");
  engine.receiver.lookAt(() => null);
  await settle();
  assert.equal(server.of("consumer:pause").length, 1);
  engine.receiver.lookAt(() => ({}));
  await settle();
  assert.equal(server.of("consumer:resume").length, 3);
});

test("a consumer that the server closed is consumed again while its producer lasts", async () => {
  await inClass();
  await enough(() => heard.length === 2, "both streams");
  engine.receiver.closed(engine.receiver.received[0].consumer.id);
  await enough(() => engine.receiver.received.length === 2, "consuming again");
});

test("who is sent back to the lobby and joins again sends only what is switched on anew", async () => {
  await inClass();
  engine.close();
  server.requests.length = 0;
  await engine.joined(joinAnswer());
  await settle();
  assert.equal(server.of("produce").length, 0);
  assert.equal(engine.sender.isSending("camera"), false);
});

test("a worker that stumbles while a camera is sent is asked again, and the camera is not given up", async () => {
  engine.receiver.want([]);
  await engine.joined(joinAnswer());
  for (const code of ["media_unavailable", "wrong_state"]) {
    server.requests.length = 0;
    mock.timers.enable({ apis: ["setTimeout"] });
    server.refuse.set("produce", code);
    const source = code === "wrong_state" ? "camera" : "microphone";
    await engine.sender.publish(source, track(source === "camera" ? "video" : "audio"));
    mock.timers.tick(300);
    mock.timers.reset();
    await enough(() => engine.sender.producers.some((each) => each.source === source), `the second try after ${code}`);
    assert.equal(server.of("produce").length, 2);
  }
});

test("a stream whose making was just answered is not closed as a stranger when the socket comes back in that moment", async () => {
  engine.receiver.want([]);
  await engine.joined(joinAnswer());
  const { request } = server;
  let back;
  server.request = async (event, data) => {
    const answer = await request(event, data);
    // The answer is in, the producer not set up yet, and the join after a break tells of it.
    if (event === "produce") back = engine.joined(joinAnswer({ ...alive(), producers: [{ ...answer, paused: false }] }));
    return answer;
  };
  await engine.sender.publish("camera", track("video"));
  await back;
  assert.equal(server.of("produce:close").length, 0);
  assert.equal(server.of("produce").length, 1);
});

test("a transport whose connecting was cut off is not used again, whatever the worker says of it", async () => {
  engine.receiver.want([]);
  await engine.joined(joinAnswer());
  const { link } = engine;
  for (const event of ["transport:connect", "produce"]) server.refuse.set(event, "disconnected");
  await engine.sender.publish("microphone", track("audio"));
  assert.equal(engine.sender.producers.length, 0);
  await engine.joined(joinAnswer(alive()));
  await enough(() => engine.sender.producers.length === 1, "sending over a new transport");
  assert.notEqual(engine.link, link);
});

test("a worker that refuses to connect a transport gets another one", async () => {
  engine.receiver.want([]);
  await engine.joined(joinAnswer());
  const { link } = engine;
  mock.timers.enable({ apis: ["setTimeout"] });
  server.refuse.set("transport:connect", "media_unavailable");
  await engine.sender.publish("microphone", track("audio"));
  mock.timers.tick(300);
  mock.timers.reset();
  await enough(() => engine.link && engine.link !== link && engine.sender.producers.length === 1, "another transport");
});

test("another microphone while muted is put in place without being heard", async () => {
  await inClass();
  await engine.sender.pause("microphone");
  await engine.sender.publish("microphone", track("audio"), { paused: true });
  assert.equal(engine.sender.isSending("microphone"), false);
  assert.equal(server.of("produce:resume").length, 0);
});

test("a picture's size is told before it is resumed, a change of it once the page is calm, and no size where nobody looks", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  engine.receiver.lookAt(() => ({ width: 640, height: 360, priority: 1 }));
  await inClass();
  for (let turn = 0; turn < 20 && server.of("consumer:resume").length < 2; turn++) await settle();
  const [camera] = engine.receiver.received.filter(({ producer }) => producer.kind === "video").map(({ consumer }) => consumer.id);
  const about = server.requests.filter(([event, data]) => event.startsWith("consumer:") && data.consumer_id === camera);
  assert.deepEqual(about, [
    ["consumer:prefer", { consumer_id: camera, width: 640, height: 360, priority: 1 }], ["consumer:resume", { consumer_id: camera }],
  ]);
  for (const width of [700, 800, 1280]) {
    engine.receiver.lookAt(() => ({ width, height: 720, priority: 3 }));
    mock.timers.tick(100);
  }
  assert.equal(server.of("consumer:prefer").length, 1);
  mock.timers.tick(300);
  assert.deepEqual(server.of("consumer:prefer").at(-1), { consumer_id: camera, width: 1280, height: 720, priority: 3 });
  engine.receiver.lookAt(() => null);
  mock.timers.tick(1000);
  assert.equal(server.of("consumer:prefer").length, 2);
});

test("after a break every size is told again, since the worker may have missed it", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  engine.receiver.lookAt(() => ({ width: 640, height: 360, priority: 1 }));
  await inClass();
  for (let turn = 0; turn < 20 && server.of("consumer:resume").length < 2; turn++) await settle();
  mock.timers.tick(300);
  assert.equal(server.of("consumer:prefer").length, 1);
  await engine.joined(joinAnswer(alive()));
  mock.timers.tick(300);
  assert.equal(server.of("consumer:prefer").length, 2);
});

test("a picture that the line does not carry is told as such, and told again when it comes back", async () => {
  await inClass();
  await enough(() => engine.receiver.received.length === 2, "both streams");
  const told = [];
  engine.receiver.on("layers", ({ producer, starved }) => told.push([producer.producer_id, starved]));
  const { id } = engine.receiver.received.find(({ producer }) => producer.kind === "video").consumer;
  engine.receiver.layers({ consumer_id: id, spatial: 0, temporal: 1 });
  engine.receiver.layers({ consumer_id: id, spatial: null, temporal: null });
  engine.receiver.layers({ consumer_id: id, spatial: 2, temporal: 2 });
  engine.receiver.layers({ consumer_id: "of nobody", spatial: null, temporal: null });
  assert.deepEqual(told, [["tina-camera", true], ["tina-camera", false]]);
});

test("resting, nothing is fed to the worker, its producers and mutes stay, and waking feeds it the tracks of now", async () => {
  await inClass();
  const [microphone, camera] = ["microphone", "camera"].map((source) => engine.sender.producers.find((each) => each.source === source).producer);
  const voice = microphone.track;
  engine.sender.rest(true);
  await enough(() => !microphone.track && !camera.track, "resting");
  await engine.sender.publish("screen", track("video"));
  await enough(() => engine.sender.producers.length === 3 && !engine.sender.producers[2].producer.track, "a new one that rests as well");
  await engine.sender.pause("microphone");
  assert.equal(voice.enabled, false, "muted on whatever path it goes");
  assert.equal(engine.sender.onAir("microphone"), null);
  await engine.sender.resume("microphone");
  assert.equal(voice.enabled, true);
  engine.sender.pausedByHost("microphone");
  assert.equal(voice.enabled, false);
  const another = track("video");
  await engine.sender.publish("camera", another);
  assert.equal(camera.track, null);
  engine.sender.rest(false);
  await enough(() => microphone.track === voice && camera.track === another, "feeding again");
  assert.equal(voice.enabled, false);
  assert.deepEqual([server.of("produce:close").length, server.of("produce").length], [0, 3]);
});

test("what comes past the worker is shown in place of the consumer, and not at all while its producer is paused", async () => {
  const shown = [];
  engine.receiver.on("track", (each) => shown.push(each.track));
  await inClass();
  await enough(() => heard.length === 2, "both streams");
  const direct = { track: track("audio") };
  engine.receiver.divert("tina-microphone", direct);
  assert.equal(shown.at(-1), direct.track);
  engine.receiver.want([theirs("microphone", "tina", true), theirs("camera")]);
  assert.equal(direct.track.enabled, false, "a host muted it: the worker could not keep this back");
  engine.receiver.want([theirs("microphone"), theirs("camera")]);
  assert.equal(direct.track.enabled, true);
  const { consumer } = engine.receiver.entry("tina-microphone");
  engine.receiver.divert("tina-microphone", null);
  assert.equal(shown.at(-1), consumer.track);
  assert.equal(server.of("consumer:close").length, 0);
});

test("what comes directly is shown on while the worker's link is built anew, also under another id, and is consumed again", async () => {
  await inClass();
  await enough(() => engine.receiver.received.length === 2, "both streams");
  const direct = { track: track("video") };
  engine.receiver.divert("tina-camera", direct);
  const shown = [];
  const gone = [];
  engine.receiver.on("track", ({ producer, track: one }) => shown.push([producer.producer_id, one]));
  engine.receiver.on("gone", ({ producer }) => gone.push(producer.producer_id));
  engine.receiver.on("consumed", ({ producer }) => producer.kind === "video" && engine.receiver.divert(producer.producer_id, direct));
  engine.receiver.detach();
  assert.deepEqual(gone, ["tina-microphone"]);
  engine.receiver.want([{ ...theirs("camera"), producer_id: "tina-camera-2", paused: true }]);
  assert.deepEqual([shown, gone], [[["tina-camera-2", direct.track]], ["tina-microphone", "tina-camera"]]);
  assert.equal(direct.track.enabled, false, "muted since");
  await engine.restart({ epoch: "next" }, { private: false });
  await enough(() => engine.receiver.entry("tina-camera-2")?.direct === direct, "consuming it");
  engine.receiver.detach();
  engine.receiver.attach(engine.link);
  await enough(() => !engine.receiver.entry("tina-camera-2").consumer.closed, "consuming it once more");
  assert.equal(shown.at(-1)[1], direct.track);
});

test("another network restarts ICE at once on paths that still look well, and not twice for one change", async () => {
  await inClass();
  const { link } = engine;
  const wellConnected = [link.send, link.recv];
  for (const transport of wellConnected) assert.notEqual(transport.connectionState, "disconnected");
  link.moved();
  link.moved();
  await enough(() => server.of("transport:restart_ice").length === 2, "both restarts");
  assert.deepEqual(server.of("transport:restart_ice").map((data) => data.transport_id).sort(), wellConnected.map(({ id }) => id).sort());
});

test("where a relay's new credentials cannot be had, as in Firefox, ICE restarts with the old ones", async () => {
  await inClass();
  const request = server.request;
  server.request = async (event, data) => ({ ...await request(event, data), ice_servers: [{ urls: "turn:relay.example" }] });
  const restarted = [];
  for (const transport of [engine.link.send, engine.link.recv]) {
    mock.method(transport, "updateIceServers", () => Promise.reject(new Error("not supported")));
    mock.method(transport, "restartIce", async () => restarted.push(transport.direction));
  }
  engine.link.moved();
  await enough(() => restarted.length === 2, "both restarts");
});

test("a way that is cut while the socket lives is restarted in Firefox, which notices late, and left to others", async () => {
  await inClass();
  engine.link.cut();
  await settle();
  assert.equal(server.of("transport:restart_ice").length, 0);
  Object.defineProperty(engine.link.device, "handlerName", { value: "Firefox120" });
  engine.link.cut();
  await enough(() => server.of("transport:restart_ice").length === 2, "both restarts");
});

test("something is expected while one of those that are received is paused at neither end", async () => {
  await inClass();
  engine.receiver.want([]);
  assert.equal(engine.receiver.expects, false);
  engine.receiver.want([theirs("camera"), theirs("microphone", "tina", true)]);
  await enough(() => engine.receiver.expects, "the camera");
  engine.receiver.want([theirs("camera", "tina", true), theirs("microphone", "tina", true)]);
  await enough(() => !engine.receiver.expects, "nothing of what is paused");
});

test("a suspicion restarts nothing by itself, but with the socket that comes back after it", async () => {
  await inClass();
  engine.link.suspect();
  await settle();
  assert.equal(server.of("transport:restart_ice").length, 0);
  await engine.joined(joinAnswer(alive()));
  await enough(() => server.of("transport:restart_ice").length === 2, "restarting");
});

test("a silence of a while ago does not make a socket's break another network", async () => {
  await inClass();
  engine.link.suspect();
  const now = performance.now();
  mock.method(performance, "now", () => now + 6000);
  await engine.joined(joinAnswer(alive()));
  for (let turn = 0; turn < 5; turn++) await settle();
  mock.restoreAll();
  assert.equal(server.of("transport:restart_ice").length, 0);
});
