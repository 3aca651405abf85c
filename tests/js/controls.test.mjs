// What a person does, with the real devices module and a browser that answers when the test says so.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { FakeMediaStreamTrack } from "fake-mediastreamtrack";
import { Controls } from "../../static/js/room/controls.js";
import { Emitter } from "../../static/js/room/emitter.js";
import { Devices } from "../../static/js/room/media/devices.js";
import { Sender } from "../../static/js/room/media/send.js";
import { RoomState } from "../../static/js/room/room_state.js";
import { settle, snapshot } from "./helpers.mjs";

let asked, refusals, requests, notices, devices, sender, controls;

/** What is asked of the browser waits in `asked` until the test grants it. */
const ask = (kind) => new Promise((resolve) => asked.push(() => {
  const track = new FakeMediaStreamTrack({ kind });
  resolve({ getTracks: () => [track], getVideoTracks: () => [track], getAudioTracks: () => [] });
  return track;
}));

beforeEach(() => {
  [asked, requests, notices, refusals] = [[], [], [], new Map()];
  const request = async (event, data) => {
    requests.push([event, data]);
    if (refusals.has(event)) throw Object.assign(new Error("No."), { code: refusals.get(event) });
    return {};
  };
  const kept = new Map();
  devices = new Devices({
    storage: { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) },
    media: { getUserMedia: ({ audio }) => ask(audio ? "audio" : "video"), getDisplayMedia: () => ask("video") },
  });
  sender = new Sender(request);
  const room = new RoomState();
  room.join(snapshot());
  controls = new Controls({ connection: { request }, room, engine: Object.assign(new Emitter(), { sender }), devices });
  controls.on("notice", (notice) => notices.push(notice.title));
});

async function grant() {
  const track = asked.shift()();
  await settle();
  return track;
}

test("Space let go before the browser gave the microphone leaves it shut", async () => {
  controls.pushToTalk(true);
  controls.pushToTalk(false);
  const track = await grant();
  assert.equal(controls.sends("microphone"), false);
  assert.equal(track.readyState, "ended");
});

test("a camera button pressed twice opens one camera and closes it again", async () => {
  void controls.toggleCamera();
  void controls.toggleCamera();
  const track = await grant();
  assert.equal(asked.length, 0);
  assert.equal(controls.sends("camera"), false);
  assert.equal(track.readyState, "ended");
});

test("who chooses another microphone while muted stays muted", async () => {
  void controls.setMicrophone(true);
  await grant();
  await controls.setMicrophone(false);
  const choosing = devices.choose("microphone", "m2").then(() => controls.deviceChosen("microphone"));
  const second = await grant();
  await choosing;
  assert.equal(controls.sends("microphone"), false);
  assert.equal(sender.has("microphone"), true);
  await controls.setMicrophone(true);
  assert.equal(controls.sends("microphone"), true);
  assert.equal(devices.microphone, second);
});

test("an unplugged microphone is replaced by another, and the person is told", async () => {
  void controls.setMicrophone(true);
  const first = await grant();
  first.remoteStop();
  await settle();
  await grant();
  assert.equal(controls.sends("microphone"), true);
  assert.deepEqual(notices, ["Your microphone was unplugged"]);
});

test("an unplugged microphone that was muted stays off: nothing opens a microphone unasked", async () => {
  void controls.setMicrophone(true);
  const first = await grant();
  await controls.setMicrophone(false);
  first.remoteStop();
  await settle();
  assert.equal(asked.length, 0);
  assert.equal(sender.has("microphone"), false);
});

test("a screen that is stopped by the browser's own button is told to the class, once", async () => {
  void controls.toggleScreen();
  const track = await grant();
  assert.equal(controls.sharing, true);
  track.remoteStop();
  await settle();
  assert.equal(controls.sharing, false);
  assert.equal(requests.filter(([event]) => event === "screen:stop").length, 1);
});

test("a screen stopped by the browser's own button before the server allowed it is never sent", async () => {
  let allow;
  const waits = new Promise((resolve) => (allow = resolve));
  const late = new Controls({
    connection: { request: (event) => (event === "screen:start" ? waits : Promise.resolve({})) }, room: new RoomState(),
    engine: Object.assign(new Emitter(), { sender }), devices,
  });
  late.on("notice", (notice) => assert.fail(notice.title));
  const sharing = late.toggleScreen();
  const track = await grant();
  track.remoteStop();
  allow({});
  await sharing;
  assert.equal(late.sharing, false);
});

test("a screen that may not be shared is let go at once", async () => {
  refusals.set("screen:start", "forbidden");
  const sharing = controls.toggleScreen();
  const track = await grant();
  await sharing;
  assert.equal(track.readyState, "ended");
  assert.equal(controls.sharing, false);
  assert.deepEqual(notices, ["No."]);
});

test("a host's mute is shown at once, with the way back, and undone by the person alone", async () => {
  let actions;
  controls.on("notice", (notice) => ({ actions } = notice));
  void controls.setMicrophone(true);
  await grant();
  controls.onEvent("muted:by-host", { kind: "audio", by: { name: "Tina" } });
  assert.equal(controls.sends("microphone"), false);
  assert.deepEqual(notices, ["Tina muted you"]);
  actions[0].run();
  await settle();
  assert.equal(controls.sends("microphone"), true);
});
