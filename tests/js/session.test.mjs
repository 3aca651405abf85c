import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { RoomState } from "../../static/js/room/room_state.js";
import { Session, TRANSITIONS } from "../../static/js/room/session.js";
import { RoomConnection } from "../../static/js/room/socket.js";
import { settle, snapshot, socketMaker } from "./helpers.mjs";

let sockets, connection, room, session, states, joined;
const newest = () => sockets.at(-1);
const lastJoin = () => newest().sent.findLast((request) => request.event === "room:join");

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  const maker = socketMaker();
  sockets = maker.sockets;
  connection = new RoomConnection({ url: "ws://class/", makeSocket: maker.makeSocket, random: () => 0.5 });
  room = new RoomState();
  session = new Session(connection, room);
  states = [];
  joined = [];
  session.on("state", ({ to }) => states.push(to));
  session.on("joined", (event) => joined.push(event));
});

async function join() {
  session.join({ display_name: "Sam" });
  newest().open();
  newest().answer("room:join", snapshot());
  await settle();
}

async function comeBack(answer) {
  newest().drop();
  mock.timers.tick(300);
  newest().open();
  newest().answer("room:join", answer);
  await settle();
}

test("joining sends the name and takes the snapshot", async () => {
  session.join({ display_name: "Sam" });
  newest().open();
  assert.deepEqual(lastJoin().data, { display_name: "Sam" });
  newest().answer("room:join", snapshot());
  await settle();
  assert.equal(session.state, "joined");
  assert.deepEqual(room.participants.map((person) => person.name), ["Tina", "Sam"]);
  assert.equal(joined[0].entered, true);
});

test("after a break it comes back with its session and the last event's number", async () => {
  await join();
  newest().event("chat:message", { message_id: "a", participant_id: "tina", message: "hello" }, 11);
  newest().drop();
  assert.equal(session.state, "reconnecting");
  mock.timers.tick(300);
  newest().open();
  assert.deepEqual(lastJoin().data, { display_name: "Sam", session: "session-1", last_seq: 11 });
});

test("a resumed session keeps the room and gets the missed events once", async () => {
  await join();
  newest().event("chat:message", { message_id: "a", participant_id: "tina", message: "before" }, 11);
  await comeBack({ session: "session-1", resumed: true, you: { participant_id: "sam", role: "attendee" }, last_seq: 13 });
  newest().event("chat:message", { message_id: "a", participant_id: "tina", message: "before" }, 11);
  newest().event("chat:message", { message_id: "b", participant_id: "tina", message: "missed" }, 12);
  newest().event("chat:message", { message_id: "c", participant_id: "tina", message: "too" }, 13);
  assert.deepEqual(room.chat.map((message) => message.message), ["before", "missed", "too"]);
  assert.equal(joined[1].entered, false);
  assert.equal(session.state, "joined");
});

test("a session that was forgotten gets the whole snapshot in place of the old room", async () => {
  await join();
  newest().event("hand:raised", { participant_id: "tina", position: 1 }, 11);
  await comeBack(snapshot({ session: "session-2", last_seq: 40, participants: [{ participant_id: "sam", name: "Sam", role: "attendee", hand: null, producers: [] }] }));
  assert.deepEqual(room.participants.map((person) => person.name), ["Sam"]);
  assert.equal(room.handOf("tina"), 0);
  newest().event("chat:message", { message_id: "old", participant_id: "sam", message: "in the snapshot" }, 40);
  assert.equal(room.chat.length, 0);
});

test("who stands in the lobby joins by the socket that is open already, and has another after a change of network", async () => {
  connection.prepare();
  newest().open();
  session.wake({ moved: true });
  assert.equal(sockets[0].closedWith, 1000);
  newest().open();
  assert.deepEqual(newest().sent, []);
  session.join({ display_name: "Sam" });
  assert.equal(sockets.length, 2);
  newest().answer("room:join", snapshot());
  await settle();
  assert.equal(session.state, "joined");
});

test("what a join leads to may be asked for right behind it", () => {
  session.on("asked", () => void connection.request("transport:create", { direction: "recv" }).catch(() => {}));
  session.join({});
  newest().open();
  assert.deepEqual(newest().sent.map((request) => request.event), ["room:join", "transport:create"]);
});

test("a join that times out or fails inside is tried again", async () => {
  session.join({ display_name: "Sam" });
  newest().open();
  newest().refuse("room:join", "internal");
  await settle();
  assert.equal(session.state, "joining");
  mock.timers.tick(300);
  newest().open();
  newest().answer("room:join", snapshot());
  await settle();
  assert.equal(session.state, "joined");
});

for (const code of ["meeting_full", "forbidden", "unauthenticated", "not_found"]) {
  test(`a join refused with ${code} goes back to the lobby with the reason and is not repeated`, async () => {
    const refused = [];
    session.on("refused", (event) => refused.push(event));
    session.join({ display_name: "Sam" });
    newest().open();
    newest().refuse("room:join", code, "Because.");
    await settle();
    mock.timers.tick(60_000);
    assert.equal(session.state, "lobby");
    assert.deepEqual(refused, [{ code, message: "Because." }]);
    assert.equal(sockets.length, 1);
  });
}

test("who joins a class that is over is told so, and not sent back to the lobby as well", async () => {
  const refused = [];
  session.on("refused", (event) => refused.push(event));
  session.join({});
  newest().open();
  newest().refuse("room:join", "meeting_ended");
  await settle();
  assert.equal(session.state, "ended");
  assert.deepEqual(refused, []);
});

test("who was sent back to the lobby after a break enters anew when the next join succeeds", async () => {
  await join();
  newest().drop();
  mock.timers.tick(300);
  newest().open();
  newest().refuse("room:join", "meeting_full", "This class is full.");
  await settle();
  assert.equal(session.state, "lobby");
  await join();
  assert.equal(joined.at(-1).entered, true);
});

test("a large room's people are asked for page by page, and a break in between loses none of them", async () => {
  const person = (id) => ({ participant_id: id, name: id, role: "attendee", hand: null, connected: true, producers: [] });
  session.join({});
  newest().open();
  newest().answer("room:join", snapshot({ participants_next: "sam" }));
  await settle();
  newest().answer("participants:page", { participants: [person("a"), person("sam")], next: "a" });
  await settle();
  await comeBack({ session: "session-1", resumed: true, you: { participant_id: "sam", role: "attendee" }, last_seq: 10 });
  assert.deepEqual(newest().sent.at(-1).data, { after: "a" });
  newest().answer("participants:page", { participants: [person("b")], next: null });
  await settle();
  assert.deepEqual(room.participants.map((each) => each.participant_id), ["tina", "sam", "a", "b"]);
});

test("a line that looks open but is dead is found when the page wakes up", async () => {
  await join();
  session.wake();
  mock.timers.tick(3000);
  await settle();
  assert.equal(session.state, "reconnecting");
  mock.timers.tick(300);
  assert.equal(sockets.length, 2);
});

test("on another network a line that is dead is given up sooner", async () => {
  await join();
  session.wake({ moved: true });
  mock.timers.tick(500);
  await settle();
  assert.equal(session.state, "reconnecting");
});

test("a page that wakes up while it waits for its next try tries at once", async () => {
  await join();
  newest().drop();
  session.wake();
  assert.equal(sockets.length, 2);
});

for (const [code, state] of [[4001, "unauthenticated"], [4003, "removed"], [4004, "ended"], [4009, "replaced"]]) {
  test(`close code ${code} ends in the state ${state}`, async () => {
    await join();
    newest().drop(code);
    mock.timers.tick(60_000);
    assert.equal(session.state, state);
    assert.equal(sockets.length, 1);
  });
}

test("a removed person is told the reason and does not come back", async () => {
  await join();
  let why = "";
  session.on("state", ({ reason }) => (why = reason));
  newest().event("removed:from-meeting", { reason: "disturbed the class" });
  newest().drop(4003);
  mock.timers.tick(60_000);
  assert.equal(session.state, "removed");
  assert.equal(why, "disturbed the class");
  assert.equal(sockets.length, 1);
});

test("the end of the class for all is final here too", async () => {
  await join();
  newest().event("room:closed", { reason: "ended" }, 11);
  assert.equal(session.state, "ended");
  assert.equal(newest().closedWith, 1000);
});

test("leaving says so and closes", async () => {
  await join();
  const leaving = session.leave();
  newest().answer("room:leave", {});
  await leaving;
  assert.equal(session.state, "left");
  mock.timers.tick(60_000);
  assert.equal(sockets.length, 1);
});

test("leaving while the connection is down does not come back", async () => {
  await join();
  newest().drop();
  await session.leave();
  mock.timers.tick(60_000);
  assert.equal(session.state, "left");
  assert.equal(sockets.length, 1);
});

test("a media worker's death is a state of its own, that a break of the socket overrides", async () => {
  await join();
  session.mediaRestarting();
  assert.equal(session.state, "restarting");
  session.mediaBack();
  assert.equal(session.state, "joined");
  session.mediaRestarting();
  newest().drop();
  assert.equal(session.state, "reconnecting");
  session.mediaBack();
  assert.equal(session.state, "reconnecting");
});

test("every state that a transition leads to is itself in the table", () => {
  for (const targets of Object.values(TRANSITIONS)) for (const target of targets) assert.ok(target in TRANSITIONS, target);
});
