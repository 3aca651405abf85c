import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Watch } from "../../static/js/room/watch.js";
import { settle } from "./helpers.mjs";

let requests, session, watch;

beforeEach(() => {
  mock.timers.enable({ apis: ["setInterval"] });
  requests = [];
  session = { inClass: true };
  watch = new Watch({
    session,
    connection: { request: async (event, data) => requests.push([event, data]) },
    room: { you: { participant_id: "sam" } },
    engine: { link: null, receiver: { received: [] } },
    controls: { sends: () => false },
    meter: { read: () => null },
  });
});
afterEach(() => mock.timers.reset());

test("the line is tried every five seconds even when no media flow, so that a dead one is noticed", async () => {
  watch.start();
  mock.timers.tick(5000);
  await settle();
  assert.deepEqual(requests, [["stats:report", {}]]);
  session.inClass = false;
  mock.timers.tick(10_000);
  await settle();
  assert.equal(requests.length, 1);
});
