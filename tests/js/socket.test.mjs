import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { retryDelay } from "../../static/js/room/backoff.js";
import { RoomConnection } from "../../static/js/room/socket.js";
import { settle, socketMaker } from "./helpers.mjs";

let connection, sockets, events;
const newest = () => sockets.at(-1);

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  const maker = socketMaker();
  sockets = maker.sockets;
  connection = new RoomConnection({ url: "ws://class/", makeSocket: maker.makeSocket, random: () => 0.5 });
  events = [];
  connection.on("event", (event) => events.push(event));
});

function connected(lastSeq = 0) {
  connection.start();
  newest().open();
  connection.release(lastSeq);
}

test("the first retry comes within 100 to 300 ms, and no wait is longer than 5 s", () => {
  assert.ok(retryDelay(0, () => 0) >= 100);
  assert.ok(retryDelay(0, () => 0.999) <= 300);
  for (let attempt = 0; attempt < 40; attempt++) assert.ok(retryDelay(attempt, () => 0.999) <= 5000);
  assert.ok(retryDelay(20, () => 0) > retryDelay(0, () => 0.999), "later waits are longer");
});

test("the first five retries fall within three seconds, in which a server restarts", () => {
  const waits = [0, 1, 2, 3, 4].map((attempt) => retryDelay(attempt, () => 0.999));
  assert.ok(waits.reduce((sum, wait) => sum + wait) < 3000);
});

test("a request resolves with the data of its own acknowledgement", async () => {
  connected();
  const first = connection.request("chat:send", { message: "one" });
  const second = connection.request("hand:raise");
  const [a, b] = newest().sent;
  newest().say({ ack: b.id, ok: true, data: { position: 1 } });
  newest().say({ ack: a.id, ok: true, data: { message_id: "m" } });
  assert.deepEqual(await first, { message_id: "m" });
  assert.deepEqual(await second, { position: 1 });
});

test("a refused request rejects with the stable code and the message for people", async () => {
  connected();
  const request = connection.request("participant:mute", { participant_id: "all", kind: "audio" });
  newest().refuse("participant:mute", "forbidden", "Only a host can mute others.");
  await assert.rejects(request, { code: "forbidden", message: "Only a host can mute others." });
});

test("a request without a connection is refused at once", async () => {
  await assert.rejects(connection.request("hand:raise"), { code: "disconnected" });
});

test("requests under way fail when the connection drops, and it comes back by itself", async () => {
  connected();
  const request = connection.request("hand:raise");
  newest().drop();
  await assert.rejects(request, { code: "disconnected" });
  assert.equal(sockets.length, 1);
  mock.timers.tick(300);
  assert.equal(sockets.length, 2);
});

test("an unanswered request gives the dead line up and makes another", async () => {
  connected();
  const request = connection.request("chat:send", { message: "is anybody there?" });
  mock.timers.tick(8000);
  await assert.rejects(request, { code: "timeout" });
  assert.equal(sockets[0].closedWith, 4000);
  mock.timers.tick(300);
  assert.equal(sockets.length, 2);
});

test("a handshake that hangs is given up", () => {
  connection.start();
  mock.timers.tick(10_000);
  assert.equal(sockets[0].closedWith, 4000);
  mock.timers.tick(300);
  assert.equal(sockets.length, 2);
});

test("a handshake from before the network came back is not waited for", () => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  connection.start();
  connection.retryNow();
  assert.equal(sockets.length, 1, "it has only just begun");
  mock.timers.tick(2000);
  connection.retryNow();
  assert.equal(sockets[0].closedWith, 4000);
  assert.equal(sockets.length, 2);
});

test("a socket that was opened ahead is the one that is used, with no other handshake", async () => {
  let opened = 0;
  connection.on("open", () => opened++);
  connection.prepare();
  newest().open();
  assert.equal(opened, 0, "nobody has asked for it yet");
  connection.start();
  assert.equal(opened, 1);
  assert.equal(sockets.length, 1);
  const request = connection.request("room:join");
  newest().answer("room:join", {});
  await request;
});

test("a handshake that was begun ahead, and is under way, is waited for", () => {
  let opened = 0;
  connection.on("open", () => opened++);
  connection.prepare();
  connection.start();
  newest().open();
  assert.deepEqual([opened, sockets.length], [1, 1]);
});

test("a socket opened ahead that breaks, or is refused, is not told of and not tried again until it is wanted", () => {
  const told = [];
  for (const event of ["down", "closed"]) connection.on(event, () => told.push(event));
  for (const code of [1006, 4003]) {
    connection.prepare();
    newest().open();
    newest().drop(code);
  }
  mock.timers.tick(60_000);
  assert.deepEqual([told, sockets.length], [[], 2]);
  connection.start();
  assert.equal(sockets.length, 3);
  newest().open();
  newest().drop(4003);
  assert.deepEqual(told, ["closed"]);
});

test("a socket opened ahead is let go when nobody joins for long, and one that was joined by never", () => {
  connection.prepare();
  newest().open();
  mock.timers.tick(300_000);
  assert.equal(newest().closedWith, 1000);
  connection.prepare();
  newest().open();
  connection.start();
  mock.timers.tick(300_000);
  assert.equal(newest().closedWith, null);
});

for (const [code, meaning] of [[4001, "unauthenticated"], [4003, "removed"], [4004, "ended"], [4009, "replaced"]]) {
  test(`close code ${code} (${meaning}) is not retried`, () => {
    connected();
    const closed = [];
    connection.on("closed", (event) => closed.push(event.code));
    newest().drop(code);
    mock.timers.tick(60_000);
    assert.deepEqual(closed, [code]);
    assert.equal(sockets.length, 1);
  });
}

for (const code of [1000, 1006, 1009, 1011, 1012, 4000]) {
  test(`close code ${code} is retried`, () => {
    connected();
    newest().drop(code);
    mock.timers.tick(300);
    assert.equal(sockets.length, 2);
  });
}

test("waits grow while the server stays away, and begin anew after a healthy join", () => {
  connected();
  const waits = [];
  connection.on("down", ({ retryIn }) => waits.push(retryIn));
  for (let round = 0; round < 6; round++) {
    newest().drop();
    mock.timers.tick(5000);
  }
  for (let round = 1; round < 6; round++) assert.ok(waits[round] > waits[round - 1]);
  newest().open();
  connection.markHealthy();
  newest().drop();
  assert.equal(waits.at(-1), waits[0]);
});

test("retryNow does not wait for the next turn", () => {
  connected();
  newest().drop();
  connection.retryNow();
  assert.equal(sockets.length, 2);
  mock.timers.tick(2000);
  assert.equal(sockets.length, 2, "the turn that was waited for does not come as well");
});

test("events that come before the join's answer wait for it, and what the snapshot has is left out", () => {
  connection.start();
  newest().open();
  newest().event("chat:message", { n: 10 }, 10);
  newest().event("chat:message", { n: 11 }, 11);
  assert.deepEqual(events, []);
  connection.release(10);
  newest().event("chat:message", { n: 12 }, 12);
  assert.deepEqual(events.map((event) => event.data.n), [11, 12]);
  assert.equal(connection.lastSeq, 12);
});

test("an event that is sent twice is handed on once", () => {
  connected(10);
  newest().event("chat:message", {}, 11);
  newest().event("chat:message", {}, 11);
  newest().event("chat:message", {}, 12);
  newest().event("chat:message", {}, 11);
  assert.deepEqual(events.map((event) => event.seq), [11, 12]);
});

test("private events bear no number and are handed on as they come", () => {
  connected(10);
  newest().event("muted:by-host", { kind: "audio" });
  newest().event("muted:by-host", { kind: "audio" });
  assert.equal(events.length, 2);
  assert.equal(connection.lastSeq, 10);
});

test("what an old connection still says is not listened to", async () => {
  connected();
  const old = newest();
  connection.reconnect();
  mock.timers.tick(300);
  newest().open();
  connection.release(0);
  old.onmessage({ data: JSON.stringify({ event: "chat:message", seq: 5, data: {} }) });
  old.onclose({ code: 4003, reason: "" });
  await settle();
  assert.deepEqual(events, []);
  assert.equal(sockets.length, 2);
});

test("after stop nothing is tried any more", () => {
  connected();
  connection.stop();
  mock.timers.tick(60_000);
  assert.equal(sockets.length, 1);
  assert.equal(sockets[0].closedWith, 1000);
});
