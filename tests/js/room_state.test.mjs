import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { leftWords, participantRows, recordingEnd, recordingWords, tileModels } from "../../static/js/room/models.js";
import { RoomState } from "../../static/js/room/room_state.js";
import { snapshot } from "./helpers.mjs";

let room;
beforeEach(() => {
  room = new RoomState();
  room.join(snapshot());
});
const producer = (id, participant_id, source = "camera", paused = false) =>
  ({ producer_id: id, participant_id, kind: source === "microphone" ? "audio" : "video", source, paused });
const names = () => room.participants.map((person) => person.name);

test("arrivals and departures come gathered, as lists", () => {
  room.apply("participant:joined", { participants: [
    { participant_id: "olga", name: "Olga", role: "guest", connected: true, hand: null, producers: [] },
    { participant_id: "mei", name: "Mei", role: "attendee", connected: true, hand: null, producers: [] },
  ] });
  assert.deepEqual(names(), ["Tina", "Sam", "Olga", "Mei"]);
  room.apply("participant:left", { participants: [{ participant_id: "olga", reason: "left" }] });
  assert.deepEqual(names(), ["Tina", "Sam", "Mei"]);
});

test("a latecomer learns from the snapshot what others send", () => {
  room.join(snapshot({ participants: [
    { participant_id: "tina", name: "Tina", role: "host", hand: null, producers: [{ producer_id: "p1", kind: "video", source: "camera", paused: false }] },
  ] }));
  assert.deepEqual(room.producers, [producer("p1", "tina")]);
});

test("a stream that was told before its sender's gathered arrival stays", () => {
  room.apply("new-producer", producer("p1", "mei"));
  room.apply("participant:joined", { participants: [{ participant_id: "mei", name: "Mei", role: "attendee", producers: [] }] });
  assert.equal(room.sends("mei", "camera"), true);
});

test("who leaves takes streams and hand along", () => {
  room.apply("new-producer", producer("p1", "tina"));
  room.apply("hand:raised", { participant_id: "tina", position: 1 });
  room.apply("participant:left", { participants: [{ participant_id: "tina", reason: "left" }] });
  assert.deepEqual(room.producers, []);
  assert.equal(room.handOf("tina"), 0);
});

test("another worker voids all ids; whose media come directly keeps his until he has others, or is known to send no more", () => {
  const direct = [producer("p1", "tina"), producer("p2", "tina", "microphone")];
  for (const each of [...direct, producer("p3", "mei")]) room.apply("new-producer", each);
  room.forgetProducers("tina");
  assert.deepEqual(room.producers, direct.map((each) => ({ ...each, former: true })));
  room.apply("new-producer", producer("p4", "tina"));
  room.apply("new-producer", producer("p5", "mei"));
  assert.deepEqual(room.producers.map((each) => each.producer_id), ["p2", "p4", "p5"]);
  room.forgetFormer();
  assert.deepEqual(room.producers.map((each) => each.producer_id), ["p4", "p5"]);
});

test("who reconnects is away, not gone", () => {
  room.apply("new-producer", producer("p1", "tina"));
  room.apply("participant:updated", { participants: [{ participant_id: "tina", connected: false }] });
  assert.equal(room.participant("tina").connected, false);
  assert.equal(room.producers.length, 1);
});

test("pausing and resuming tell who can be heard", () => {
  room.apply("new-producer", producer("p1", "tina", "microphone"));
  assert.equal(room.sends("tina", "microphone"), true);
  room.apply("producer:paused", { producer_id: "p1" });
  assert.equal(room.sends("tina", "microphone"), false);
  room.apply("producer:resumed", { producer_id: "p1" });
  assert.equal(room.sends("tina", "microphone"), true);
  room.apply("producer:closed", { producer_id: "p1" });
  assert.equal(room.sends("tina", "microphone"), false);
});

test("hands stand in the server's order, whatever order the news came in", () => {
  room.apply("hand:raised", { participant_id: "sam", position: 2 });
  room.apply("hand:raised", { participant_id: "tina", position: 1 });
  assert.deepEqual(["tina", "sam"].map((id) => room.handOf(id)), [1, 2]);
  room.apply("hand:lowered", { participant_id: "tina" });
  assert.equal(room.handOf("sam"), 1);
  room.apply("hand:lowered", { participant_id: "all" });
  assert.equal(room.handOf("sam"), 0);
});

test("a snapshot's hands are in order too", () => {
  room.join(snapshot({ participants: [
    { participant_id: "a", name: "A", role: "attendee", hand: 2, producers: [] },
    { participant_id: "b", name: "B", role: "attendee", hand: 1, producers: [] },
  ] }));
  assert.deepEqual(["b", "a"].map((id) => room.handOf(id)), [1, 2]);
});

test("a chat message that comes twice stands once, and history is told from what is new", () => {
  const told = [];
  room.on("chat", (event) => told.push(event));
  const message = { message_id: "m1", participant_id: "tina", message: "hello", sent_at: "2026-01-01T08:00:00Z" };
  room.apply("chat:message", message);
  room.apply("chat:message", message);
  assert.equal(room.chat.length, 1);
  assert.equal(told.length, 1);
  room.join(snapshot({ chat: [message] }));
  assert.equal(told.at(-1).live, false);
});

test("earlier messages go before those that are there", () => {
  const message = (id) => ({ message_id: id, participant_id: "tina", message: id, sent_at: "2026-01-01T08:00:00Z" });
  room.apply("chat:message", message("m3"));
  room.prepend([message("m1"), message("m2"), message("m3")]);
  assert.deepEqual(room.chat.map((each) => each.message_id), ["m1", "m2", "m3"]);
});

test("an author's name outlives the stay", () => {
  room.apply("participant:left", { participants: [{ participant_id: "tina", reason: "left" }] });
  assert.equal(room.nameOf("tina"), "Tina");
});

test("a new role of one's own brings its permissions along", () => {
  room.apply("participant:role:changed", { participant_id: "sam", old_role: "attendee", new_role: "presenter", can: ["share"] });
  assert.equal(room.you.role, "presenter");
  assert.deepEqual(room.you.can, ["share"]);
});

test("the time recorded stands still in a pause, and latecomers are told how much there is", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  room.apply("recording:started", { recording_id: "r1", elapsed: 0, who: "all" });
  t.mock.timers.tick(5000);
  assert.equal(room.recordedSeconds, 5);
  room.apply("recording:paused", { recording_id: "r1", elapsed: 5 });
  t.mock.timers.tick(60_000);
  assert.equal(room.recordedSeconds, 5);
  assert.equal(room.isRecorded, true);
  assert.equal(recordingWords(room.recording).kind, "paused");
  room.apply("recording:resumed", { recording_id: "r1", elapsed: 5 });
  t.mock.timers.tick(2000);
  assert.equal(room.recordedSeconds, 7);
  assert.equal(room.recording.who, "all");
  room.join(snapshot({ recording: { recording_id: "r1", status: "recording", elapsed: 100, who: "teachers" } }));
  t.mock.timers.tick(1000);
  assert.equal(room.recordedSeconds, 101);
  room.apply("recording:stopped", { recording_id: "r1", duration: 102 });
  assert.equal(room.recordedSeconds, null);
});

test("who has agreed to be recorded is known of each", () => {
  room.apply("participant:joined", { participants: [{ participant_id: "p9", name: "Nia", role: "attendee" }] });
  assert.equal(room.participant("p9").consent, false);
  room.apply("participant:updated", { participants: [{ participant_id: "p9", consent: true }] });
  assert.equal(room.participant("p9").consent, true);
});

test("a recording's progress after its end is told, but not over one that runs", () => {
  room.apply("recording:started", { recording_id: "r1" });
  assert.deepEqual(recordingWords(room.recording), { text: "REC", kind: "live" });
  room.apply("recording:stopped", { recording_id: "r1", duration: 60 });
  room.apply("recording:status", { recording_id: "r1", status: "composing", progress: 41.6 });
  assert.equal(recordingWords(room.recording).text, "Composing 42 %");
  room.apply("recording:started", { recording_id: "r2" });
  room.apply("recording:status", { recording_id: "r1", status: "ready" });
  assert.equal(room.recording.status, "recording");
});

test("an unknown event changes nothing and harms nobody", () => {
  room.apply("poll:opened", { poll_id: "1" });
  assert.deepEqual(names(), ["Tina", "Sam"]);
});

test("a host may act upon those below, never upon hosts or upon itself", () => {
  room.join(snapshot({ you: { participant_id: "tina", role: "host" } }));
  room.apply("participant:joined", { participants: [{ participant_id: "hugo", name: "Hugo", role: "host" }] });
  const can = new Set(["mute", "remove", "change_roles", "make_co_host"]);
  const rows = Object.fromEntries(participantRows(room, can, () => "good").map((row) => [row.participant_id, row]));
  assert.equal(rows.sam.canMute && rows.sam.canRemove, true);
  assert.deepEqual(rows.sam.roles, ["co-host", "presenter", "attendee", "guest"]);
  for (const id of ["tina", "hugo"]) assert.equal(rows[id].canMute || rows[id].canRemove || rows[id].roles.length > 0, false, id);
});

test("without permission no row offers anything", () => {
  for (const row of participantRows(room, new Set(), () => "poor")) assert.equal(row.quality, "", "nor is another's connection shown");
  for (const row of participantRows(room, new Set(), () => "poor")) assert.equal(row.canMute || row.canRemove || row.roles.length > 0, false);
});

const shown = (received) => tileModels(room, { camera: null, screen: null, microphone: false }, {
  tracks: new Map(), starved: new Set(), locked: new Set(), camerasOff: false, qualityOf: (id) => (id === "tina" ? "danger" : "good"), ...received,
});

test("a paused camera shows no picture, a shared screen a tile of its own", () => {
  room.apply("new-producer", producer("cam", "tina", "camera", true));
  room.apply("new-producer", producer("scr", "tina", "screen"));
  const models = shown({ tracks: new Map([["cam", { id: "t1" }], ["scr", { id: "t2" }]]) });
  const of = (id) => models.find((model) => model.id === id);
  assert.equal(of("tina/camera").track, null);
  assert.equal(of("tina/screen").track.id, "t2");
  assert.equal(of("sam/screen"), undefined);
});

test("audio and screen only: cameras give way to names, a shared screen stays", () => {
  room.apply("new-producer", producer("cam", "tina"));
  room.apply("new-producer", producer("scr", "tina", "screen"));
  const tracks = new Map([["cam", { id: "t1" }], ["scr", { id: "t2" }]]);
  const pictures = (camerasOff) => shown({ tracks, camerasOff }).map((model) => [model.id, model.track?.id]);
  assert.deepEqual(pictures(false), [["tina/camera", "t1"], ["tina/screen", "t2"], ["sam/camera", undefined]]);
  assert.deepEqual(pictures(true), [["tina/camera", undefined], ["tina/screen", "t2"], ["sam/camera", undefined]]);
});

test("a picture that our line does not carry says so on its tile, and only there", () => {
  room.apply("new-producer", producer("cam", "tina"));
  const notes = shown({ tracks: new Map([["cam", { id: "t1" }]]), starved: new Set(["cam"]) }).map((model) => model.note);
  assert.match(notes[0], /too slow/);
  assert.equal(notes[1], "");
});

test("of somebody whose key we have not, the tile says so, shows no picture, and no screen", () => {
  room.apply("new-producer", producer("cam", "tina"));
  room.apply("new-producer", producer("scr", "tina", "screen"));
  const models = shown({ tracks: new Map([["cam", { id: "t1" }], ["scr", { id: "t2" }]]), locked: new Set(["tina"]) });
  assert.deepEqual(models.map((model) => [model.id, model.track]), [["tina/camera", null], ["sam/camera", null]]);
  assert.match(models[0].note, /a key that you do not have/);
});

test("room on a disk, and why a recording ended, in words", () => {
  assert.deepEqual([1_950_000_000, 1_000_000_000, 990_000_000, 401_000_000, 5].map(leftWords), ["2 GB", "1 GB", "1 GB", "500 MB", "100 MB"]);
  assert.match(recordingEnd("disk_full"), /disk is nearly full/);
  assert.match(recordingEnd("something new"), /kept/);
});
