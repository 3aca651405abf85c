// A small world for the classroom's modules: sockets that tests hold in their hands, a server that answers by a table.

/** Let all promises that can go on go on; timers are left alone. */
export async function settle() {
  for (let turn = 0; turn < 30; turn++) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
  for (let turn = 0; turn < 30; turn++) await Promise.resolve();
}

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  readyState = 0;
  sent = [];
  closedWith = null;

  constructor(url) {
    this.url = url;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.readyState = 3;
    this.closedWith = code;
  }

  // --- the server's side
  open() {
    this.readyState = 1;
    this.onopen?.({});
  }

  say(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  event(event, data, seq) {
    this.say(seq === undefined ? { event, data } : { event, seq, data });
  }

  answer(event, data) {
    const request = this.sent.findLast((each) => each.event === event);
    this.say({ ack: request.id, ok: true, data });
  }

  refuse(event, code, message = code) {
    const request = this.sent.findLast((each) => each.event === event);
    this.say({ ack: request.id, ok: false, error: { code, message } });
  }

  drop(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }
}

/** makeSocket for a RoomConnection; `sockets` holds what it made, the newest last. */
export function socketMaker() {
  const sockets = [];
  const makeSocket = (url) => {
    sockets.push(new FakeSocket(url));
    return sockets.at(-1);
  };
  return { sockets, makeSocket };
}

export const snapshot = (changes = {}) => ({
  session: "session-1", resumed: false, you: { participant_id: "sam", role: "attendee", can: ["microphone", "chat"] },
  participants: [
    { participant_id: "tina", name: "Tina", role: "host", hand: null, connected: true, producers: [] },
    { participant_id: "sam", name: "Sam", role: "attendee", hand: null, connected: true, producers: [] },
  ],
  chat: [], last_seq: 10, recording: null, rtp_capabilities: null, ice_servers: [], media: null, ...changes,
});
