import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { LocalRecording } from "../../static/js/room/media/local_recording.js";

class FakeRecorder {
  state = "inactive";
  constructor(stream, options) {
    this.stream = stream;
    this.options = options;
    made.push(this);
  }
  start(every) {
    this.state = "recording";
    this.every = every;
  }
  stop() {
    this.state = "inactive";
    this.ondataavailable({ data: new Blob(["end"]) });
    return (this.stopped = this.onstop());
  }
}

let made, connected, local;
const track = (id) => ({ id, readyState: "live" });
const audio = {
  createMediaStreamDestination: () => ({ stream: { getAudioTracks: () => [track("mix")] } }),
  createMediaStreamSource: (stream) => ({ connect: () => connected.add(stream.tracks[0].id), disconnect: () => connected.delete(stream.tracks[0].id) }),
};
const sinkOf = (pieces, changes = {}) => ({
  write: async (piece) => pieces.push(await piece.text()), close: async () => pieces.push("closed"), ...changes,
});

beforeEach(() => {
  made = [];
  connected = new Set();
  globalThis.MediaStream = class {
    constructor(tracks) {
      this.tracks = tracks;
    }
  };
  local = new LocalRecording(audio, { types: (type) => type === "video/webm", makeRecorder: (...given) => new FakeRecorder(...given) });
});
afterEach(() => local.stop());

test("what comes goes to the file at once, in order, and the file is closed", async () => {
  const pieces = [];
  local.start({ picture: track("picture"), sounds: () => [track("a")], name: "class.webm", sink: sinkOf(pieces) });
  const [recorder] = made;
  assert.deepEqual(recorder.stream.tracks.map(({ id }) => id), ["picture", "mix"]);
  assert.equal(recorder.options.mimeType, "video/webm");
  recorder.ondataavailable({ data: new Blob(["one"]) });
  recorder.ondataavailable({ data: new Blob([]) });
  recorder.ondataavailable({ data: new Blob(["two"]) });
  assert.equal(local.isRunning, true);
  local.stop();
  await recorder.stopped;
  assert.deepEqual(pieces, ["one", "two", "end", "closed"]);
  assert.equal(local.isRunning, false);
  local.stop(); // twice does no harm
});

test("without a file it is given whole at the end", async () => {
  let whole;
  local.on("whole", (given) => (whole = given));
  local.start({ picture: track("picture"), sounds: () => [], name: "class.webm", sink: null });
  made[0].ondataavailable({ data: new Blob(["one"]) });
  local.stop();
  await made[0].stopped;
  assert.equal(await whole.film.text(), "oneend");
  assert.equal(whole.name, "class.webm");
});

test("a disk that is full ends it and says so once", async () => {
  const reasons = [];
  local.on("failed", ({ reason }) => reasons.push(reason));
  const sink = sinkOf([], { write: async () => { throw new Error("The disk is full"); } });
  local.start({ picture: track("picture"), sounds: () => [], name: "class.webm", sink });
  made[0].ondataavailable({ data: new Blob(["one"]) });
  await new Promise((resolve) => setTimeout(resolve));
  await made[0].stopped;
  assert.deepEqual(reasons, ["The disk is full"]);
  assert.equal(local.isRunning, false);
});

test("who comes is mixed in, and who goes is no more", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  let heard = [track("tina"), track("sam")];
  local.start({ picture: track("picture"), sounds: () => heard, name: "class.webm", sink: sinkOf([]) });
  assert.deepEqual([...connected], ["tina", "sam"]);
  heard = [track("sam"), track("mei"), { ...track("gone"), readyState: "ended" }];
  t.mock.timers.tick(1000);
  assert.deepEqual([...connected], ["sam", "mei"]);
  local.stop();
  assert.equal(connected.size, 0);
});

test("a browser that can write none of the formats says so", () => {
  assert.equal(new LocalRecording(audio, { types: () => false }).type, "");
  assert.equal(new LocalRecording(audio, { types: (type) => type === "video/mp4" }).fileName("class"), "class.mp4");
});
