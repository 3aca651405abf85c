// What a page asks, tells and ends while its class is recorded, shown live, or recorded on one's own device.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Emitter } from "../../static/js/room/emitter.js";
import { RoomState } from "../../static/js/room/room_state.js";
import { wireLive } from "../../static/js/room/wiring/live.js";
import { nameOf, wireLocalRecording } from "../../static/js/room/wiring/local_recording.js";
import { wireRecording } from "../../static/js/room/wiring/recording.js";
import { settle, snapshot } from "./helpers.mjs";

mock.timers.enable({ apis: ["setInterval"] });
globalThis.addEventListener = () => {};

/** A question whose answer the test gives. */
class Question {
  texts = [];
  open = false;
  #answered = () => {};

  ask(text) {
    this.#answered("");
    this.texts.push(text);
    this.open = true;
    return new Promise((resolve) => (this.#answered = resolve));
  }

  async answer(word) {
    this.open = false;
    this.#answered(word);
    await settle();
  }

  close() {
    void this.answer("");
  }
}

let room, did, question;
const say = (what) => (...details) => void did.push(details.length ? `${what} ${JSON.stringify(details)}` : what);
const notices = { show: ({ title }) => did.push(title), hide() {} };

beforeEach(() => {
  room = new RoomState();
  did = [];
  question = new Question();
});

// --- consent ---

const TEACHERS = { recording_id: "r1", started_at: "", elapsed: 0, layout: "grid", who: "teachers" };
const EVERYBODY = { ...TEACHERS, recording_id: "r2", who: "all" };

function recordingPage(over = []) {
  const controls = { consent: async (id, accepted) => (did.push(`${id} ${accepted}`), !over.includes(id)) };
  const view = { ask: (who) => question.ask(who), closeQuestion: () => question.close(), tick() {} };
  return wireRecording({ room, controls, notices, wanted: {}, impossible: false, leave: say("leave"), draw() {}, view });
}

test("an answer names the recording that was asked about", async () => {
  const page = recordingPage();
  room.join(snapshot({ recording: TEACHERS }));
  let sends = false;
  void page.agreed({ consent_asked: "r1" }).then(() => (sends = true));
  page.joined(snapshot({ consent_asked: "r1" }));
  assert.deepEqual(question.texts, ["teachers"]);
  await settle();
  assert.equal(sends, false);
  await question.answer("continue");
  assert.deepEqual([did, sends], [["r1 true"], true]);
});

test("of two recordings the second one's question says who is in it, and the first one's answer is none to it", async () => {
  const page = recordingPage(["r1"]);
  room.join(snapshot({ recording: TEACHERS }));
  let sends = false;
  void page.agreed({ consent_asked: "r1" }).then(() => (sends = true));
  page.joined(snapshot({ consent_asked: "r1" }));
  await question.answer("continue"); // too late: it has ended, which this page has not heard yet
  room.apply("recording:consent_asked", { recording_id: "r2" });
  assert.equal(question.open, false); // nobody here knows yet whom it records
  room.apply("recording:stopped", { recording_id: "r1" });
  assert.equal(sends, false);
  room.apply("recording:started", EVERYBODY);
  assert.deepEqual(question.texts, ["teachers", "all"]);
  await question.answer("continue");
  assert.deepEqual([did, sends], [["r1 true", "r2 true"], true]);
});

test("who comes back is asked about the recording that began meanwhile, when the events have told of it", async () => {
  const page = recordingPage();
  room.join(snapshot({ recording: TEACHERS }));
  room.join(snapshot({ resumed: true }));
  page.joined(snapshot({ resumed: true, consent_asked: "r2" }));
  room.apply("recording:stopped", { recording_id: "r1" });
  room.apply("recording:started", EVERYBODY);
  assert.deepEqual(question.texts, ["all"]);
  room.apply("recording:stopped", { recording_id: "r2" });
  await settle();
  assert.deepEqual([question.open, did], [false, []]);
});

// --- the live stream ---

const STREAM = { stream_id: "s1", url: "/live/s1/", target: "hls", access: "public", started_at: "", status: "starting" };

function livePage() {
  const session = Object.assign(new Emitter(), { leave: say("leave") });
  const shown = [];
  const view = { render: (stream) => shown.push(stream?.status ?? null) };
  const page = wireLive({ room, session, notices, unavailable: "", request: say("request"), draw() {}, makeView: () => view, question });
  const joined = (changes, entered) => {
    const answer = snapshot(changes);
    room.join(answer);
    session.emit("joined", { answer, entered });
  };
  const status = () => (page.render(), shown.at(-1));
  return { page, joined, status };
}

test("a page that was away while the stream came up knows that it is live", () => {
  const { joined, status } = livePage();
  joined({}, true);
  room.apply("stream:started", STREAM, 11);
  assert.equal(status(), "starting");
  joined({ resumed: true, stream: { ...STREAM, status: "live" } }, false);
  assert.equal(status(), "live");

  room.apply("stream:stopped", { stream_id: "s1", duration: 1, reason: "" }, 12);
  const second = { ...STREAM, stream_id: "s2" };
  joined({ resumed: true, stream: { ...second, status: "live" } }, false); // it began while the page was away
  assert.equal(status(), null);
  room.apply("stream:started", second, 13);
  assert.equal(status(), "live");
});

test("who comes into a class that is live is told before anything of his is sent, once", async () => {
  const { page, joined } = livePage();
  joined({ stream: { ...STREAM, status: "live" } }, true);
  let sends = false;
  void page.agreed().then(() => (sends = true));
  await settle();
  assert.deepEqual([question.open, sends, did], [true, false, []]);
  assert.match(question.texts[0], /everybody who has the link/);
  await question.answer("continue");
  assert.equal(sends, true);
  await page.agreed();
  assert.equal(question.texts.length, 1);
});

test("who does not want to be seen leaves; when the stream ends nobody is asked any more", async () => {
  const { page, joined } = livePage();
  joined({ stream: STREAM }, true);
  const agreed = page.agreed();
  await question.answer("leave");
  await agreed;
  assert.deepEqual(did, ["leave"]);

  joined({ stream: { ...STREAM, stream_id: "s2" } }, true);
  void page.agreed();
  room.apply("stream:stopped", { stream_id: "s2", duration: 1, reason: "" }, 12);
  assert.equal(question.open, false);
});

test("who was in class when it went live, or streams it, has a notice and no question", async () => {
  const { page, joined } = livePage();
  joined({}, true);
  room.apply("stream:started", STREAM, 11);
  await page.agreed();
  const host = livePage();
  host.joined({ stream: STREAM, you: { participant_id: "tina", role: "host", can: ["stream"] } }, true);
  await host.page.agreed();
  assert.deepEqual([question.texts, new Set(did)], [[], new Set(["This class is live"])]);
});

// --- on one's own device ---

test("a host who is one no more stops recording on his device, and what he has is kept", () => {
  const local = Object.assign(new Emitter(), { isRunning: true, stop: say("stop") });
  wireLocalRecording({ room, notices, local, picture: { stop() {} }, controls: { recordsHere: say("told") }, draw() {} });
  room.join(snapshot({ you: { participant_id: "sam", role: "co-host", can: ["record_here"] } }));
  assert.deepEqual(did, []);
  room.apply("participant:role:changed", { participant_id: "sam", old_role: "co-host", new_role: "attendee", can: ["chat"] });
  assert.deepEqual(did, ["stop", "The recording on this device has ended"]);
});

test("the file is named by this device's clock, with nothing that a file system refuses", () => {
  const noon = new Date(2026, 10, 7, 9, 5);
  assert.equal(nameOf("Biology: cells / week 1", noon), "Biology_ cells _ week 1 2026-11-07 09.05");
  assert.equal(nameOf("..", noon), "class 2026-11-07 09.05");
  assert.equal(nameOf("Zoölogie 生物", noon), "Zoölogie 生物 2026-11-07 09.05");
});
