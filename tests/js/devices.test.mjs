import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { FakeMediaStreamTrack } from "fake-mediastreamtrack";
import { cameraConstraints, cameraEncodings, explainDeviceError } from "../../static/js/room/media/device_state.js";
import { Devices } from "../../static/js/room/media/devices.js";

let granted, troubles, storage;
const named = (name) => Object.assign(new Error(name), { name });

/** A browser that grants what the test says: a track, or an error by name. */
function browser(answers) {
  granted = [];
  const listeners = new Map();
  return {
    addEventListener: (name, listener) => listeners.set(name, listener),
    enumerateDevices: async () => [{ kind: "videoinput", deviceId: "c1", label: "Front" }, { kind: "audioinput", deviceId: "", label: "" }],
    getUserMedia: async (constraints) => {
      granted.push(constraints);
      const answer = answers.shift();
      if (typeof answer === "string") throw named(answer);
      return { getTracks: () => [answer] };
    },
    getDisplayMedia: async () => {
      const answer = answers.shift();
      if (typeof answer === "string") throw named(answer);
      return { getTracks: () => [answer], getVideoTracks: () => [answer], getAudioTracks: () => [] };
    },
  };
}

function devicesOf(answers, options = {}) {
  const devices = new Devices({ media: browser(answers), storage, ...options });
  troubles = [];
  devices.on("trouble", ({ kind, trouble }) => troubles.push([kind, trouble.problem]));
  return devices;
}

const track = (kind) => new FakeMediaStreamTrack({ kind });

beforeEach(() => {
  const kept = new Map();
  storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
});

for (const [error, problem] of [
  ["NotAllowedError", "refused"], ["NotFoundError", "missing"], ["NotReadableError", "in_use"],
  ["OverconstrainedError", "missing"], ["SecurityError", "insecure"], ["SomethingNew", "broken"],
]) {
  test(`a camera that fails with ${error} is ${problem}, and the notice says what to do`, async () => {
    const devices = devicesOf([error]);
    assert.equal(await devices.open("camera"), null);
    assert.deepEqual(troubles, [["camera", problem]]);
    const { title, advice } = explainDeviceError(named(error), "camera");
    assert.match(title, /camera/);
    assert.ok(advice.length > 20);
  });
}

test("on an insecure page there are no devices at all, and the reason is told", async () => {
  const devices = new Devices({ media: undefined, storage });
  const told = [];
  devices.on("trouble", ({ trouble }) => told.push(trouble.problem));
  assert.equal(await devices.open("microphone"), null);
  assert.equal(await devices.openScreen(), null);
  assert.deepEqual(told, ["insecure", "insecure"]);
  assert.deepEqual(await devices.list(), { microphone: [], camera: [], speaker: [] });
});

test("a choice is remembered for the next class", async () => {
  await devicesOf([]).choose("camera", "c2");
  assert.equal(devicesOf([]).chosen.camera, "c2");
});

test("what was remembered in another shape is forgotten", () => {
  storage.setItem("lectern:devices", "{broken");
  assert.deepEqual(devicesOf([]).chosen, {});
});

test("another camera takes the place of the open one, whose light goes out", async () => {
  const [first, second] = [track("video"), track("video")];
  const devices = devicesOf([first, second]);
  await devices.open("camera");
  await devices.choose("camera", "c2");
  assert.equal(devices.camera, second);
  assert.equal(first.readyState, "ended");
  assert.deepEqual(granted[1].video.deviceId, { ideal: "c2" });
});

test("a phone that has one camera pipeline lets go of the old camera and tries again", async () => {
  const [first, second] = [track("video"), track("video")];
  const devices = devicesOf([first, "NotReadableError", second]);
  await devices.open("camera");
  await devices.choose("camera", "c2");
  assert.equal(first.readyState, "ended");
  assert.equal(devices.camera, second);
  assert.deepEqual(troubles, []);
});

test("an unplugged microphone is told as lost; one that was closed is not", async () => {
  const [first, second] = [track("audio"), track("audio")];
  const devices = devicesOf([first, second]);
  const lost = [];
  devices.on("lost", ({ kind }) => lost.push(kind));
  await devices.open("microphone");
  first.remoteStop();
  assert.deepEqual(lost, ["microphone"]);
  assert.equal(devices.microphone, null);
  await devices.open("microphone");
  devices.close("microphone");
  assert.deepEqual(lost, ["microphone"]);
});

test("a changed mind in the browser's screen dialog is no trouble", async () => {
  const devices = devicesOf(["NotAllowedError"]);
  assert.equal(await devices.openScreen(), null);
  assert.deepEqual(troubles, []);
});

test("a shared screen is sent sharp, and 'Stop sharing' of the browser's own bar ends it", async () => {
  const screen = track("video");
  const devices = devicesOf([screen]);
  const lost = [];
  devices.on("lost", ({ kind }) => lost.push(kind));
  await devices.openScreen();
  assert.equal(screen.contentHint, "detail");
  screen.remoteStop();
  assert.deepEqual(lost, ["screen"]);
  assert.equal(devices.screen, null);
});

test("a 720p camera is sent in 180p, 360p and 720p, a small one once", () => {
  assert.deepEqual(cameraEncodings(1280, 720).map((layer) => [layer.scaleResolutionDownBy, layer.maxBitrate]), [[4, 150_000], [2, 500_000], [1, 1_500_000]]);
  assert.equal(cameraEncodings(640, 480).length, 2);
  assert.equal(cameraEncodings(640, 360).length, 1);
  assert.equal(cameraEncodings(320, 180).length, 1);
});

test("a phone is asked for 360 lines at 20 frames at most", () => {
  const { height, frameRate } = cameraConstraints(undefined, true);
  assert.deepEqual(height, { ideal: 360 });
  assert.equal(frameRate.max, 20);
});

test("a camera that the browser gives after it was closed again is stopped at once: no light after leaving", async () => {
  const late = track("video");
  const devices = devicesOf([late]);
  const opening = devices.open("camera");
  devices.closeAll();
  assert.equal(await opening, null);
  assert.equal(late.readyState, "ended");
  assert.equal(devices.camera, null);
});

test("a screen that is chosen after the class is over is not captured", async () => {
  const late = track("video");
  const devices = devicesOf([late]);
  const opening = devices.openScreen();
  devices.closeAll();
  assert.equal(await opening, null);
  assert.equal(late.readyState, "ended");
});

test("of two openings at once the later one counts, and the other track does not stay open", async () => {
  const [first, second] = [track("audio"), track("audio")];
  const devices = devicesOf([first, second]);
  const both = [devices.open("microphone"), devices.open("microphone")];
  assert.deepEqual(await Promise.all(both), [null, second]);
  assert.equal(first.readyState, "ended");
  assert.equal(devices.microphone, second);
});

test("a camera that another program took while it was changed is told, and no dead picture stays", async () => {
  const devices = devicesOf([track("video"), "NotReadableError", "NotReadableError"]);
  await devices.open("camera");
  await devices.choose("camera", "c2");
  assert.deepEqual(troubles, [["camera", "in_use"]]);
  assert.equal(devices.camera, null);
});
