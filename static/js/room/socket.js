// @ts-check
/**
 * The classroom's socket: requests that are each acknowledged once, events in order and each once, and a connection
 * that comes back by itself. It knows the envelope of docs/protocol.md and nothing of what is said inside.
 */
import { retryDelay } from "./backoff.js";
import { Emitter } from "./emitter.js";

/** Closed by the server for good: who comes back uninvited would only be sent away again. */
export const FINAL_CLOSE_CODES = Object.freeze({
  4001: "unauthenticated", 4003: "removed", 4004: "ended", 4009: "replaced",
});
// ms. Longer than a server takes to start: where its listening socket outlives it, the first in the queue is served first.
const OPEN_TIMEOUT = 10_000;
const KEPT_AHEAD = 300_000; // ms that a socket is kept which nobody joins by: a lobby left open needs none
const STALE = 2000; // ms after which a handshake from before the network came back is not waited for
const REQUEST_TIMEOUT = 8000; // ms

/** A request that was refused, timed out or lost its connection. `code` is stable, `message` is for people. */
export class RequestError extends Error {
  /** @param {string} code @param {string} [message] */
  constructor(code, message) {
    super(message || code);
    this.name = "RequestError";
    this.code = code;
  }
}

/**
 * @typedef {object} Pending
 * @property {(data: any) => void} resolve
 * @property {(error: RequestError) => void} reject
 * @property {ReturnType<typeof setTimeout>} timer
 *
 * @typedef {{event: string, data: any, seq?: number}} ServerEvent
 * @typedef {{
 *   open: undefined,
 *   down: {retryIn: number, attempt: number},
 *   closed: {code: number, reason: string},
 *   event: ServerEvent,
 * }} SocketEvents
 */

/** @extends {Emitter<SocketEvents>} */
export class RoomConnection extends Emitter {
  #url;
  #makeSocket;
  #random;
  /** @type {WebSocket | null} */
  #socket = null;
  #wanted = false;
  #attempt = 0;
  #nextId = 1;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #openTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #aheadTimer;
  #lastSeq = 0;
  #began = 0; // ms, of the handshake under way
  /** @type {ServerEvent[] | null} held back until the join's answer says from which number they count */
  #held = [];

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {(url: string) => WebSocket} [options.makeSocket]
   * @param {() => number} [options.random]
   */
  constructor({ url, makeSocket = (address) => new WebSocket(address), random = Math.random }) {
    super();
    this.#url = url;
    this.#makeSocket = makeSocket;
    this.#random = random;
  }

  /** The number of the last event that was handed on. */
  get lastSeq() {
    return this.#lastSeq;
  }

  get isOpen() {
    return this.#socket?.readyState === 1;
  }

  /** Open the socket ahead: whoever starts later need not wait for its handshake. What becomes of it is not told. */
  prepare() {
    if (this.#wanted) return;
    this.#drop(1000);
    this.#connect();
    this.#aheadTimer = setTimeout(() => this.#drop(1000), KEPT_AHEAD);
  }

  start() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#attempt = 0;
    clearTimeout(this.#aheadTimer);
    if (this.isOpen) this.emit("open", undefined);
    else this.retryNow();
  }

  /** Close for good. */
  stop() {
    this.#wanted = false;
    clearTimeout(this.#retryTimer);
    this.#drop(1000);
  }

  /** Try now instead of waiting for the next turn: the network is back, or somebody pressed "Rejoin now". */
  retryNow() {
    if (!this.#wanted || this.isOpen) return;
    if (this.#socket && Date.now() - this.#began < STALE) return;
    this.#drop(4000);
    clearTimeout(this.#retryTimer);
    this.#connect();
  }

  /** Give up this connection, which does not answer, and make another. */
  reconnect() {
    if (!this.#wanted || !this.#socket) return;
    this.#drop(4000);
    this.#retryLater();
  }

  /** The join was answered with a working room: the next break begins with a quick retry again. */
  markHealthy() {
    this.#attempt = 0;
  }

  /**
   * Hand on what came before the join's answer, and from now on each event as it comes. Events up to `lastSeq`
   * are in the answer's snapshot already (or were handed on before a resume).
   * @param {number} lastSeq
   */
  release(lastSeq) {
    this.#lastSeq = lastSeq;
    const held = this.#held ?? [];
    this.#held = null;
    for (const event of held) this.#deliver(event);
  }

  /**
   * @param {string} event
   * @param {object} [data]
   * @param {{timeout?: number}} [options]
   * @returns {Promise<any>} the answer's data; rejects with a RequestError
   */
  request(event, data = {}, { timeout = REQUEST_TIMEOUT } = {}) {
    const socket = this.#socket;
    if (!socket || socket.readyState !== 1) {
      return Promise.reject(new RequestError("disconnected", "The connection to the class is down."));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new RequestError("timeout", "The server did not answer in time."));
        // Every request is answered at once or refused: silence means that the line is dead, whatever TCP believes.
        if (this.#socket === socket) this.reconnect();
      }, timeout);
      this.#pending.set(id, { resolve, reject, timer });
      socket.send(JSON.stringify({ id, event, data }));
    });
  }

  #connect() {
    this.#held = [];
    const socket = this.#makeSocket(this.#url);
    this.#began = Date.now();
    this.#socket = socket;
    this.#openTimer = setTimeout(() => this.#socket === socket && this.reconnect(), OPEN_TIMEOUT);
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      clearTimeout(this.#openTimer);
      if (this.#wanted) this.emit("open", undefined);
    };
    socket.onmessage = (message) => this.#socket === socket && this.#receive(message.data);
    socket.onclose = (event) => this.#socket === socket && this.#closed(event.code, event.reason);
  }

  /** @param {string} text */
  #receive(text) {
    const frame = JSON.parse(text);
    if (frame.ack !== undefined) {
      const pending = this.#pending.get(frame.ack);
      if (!pending) return;
      this.#pending.delete(frame.ack);
      clearTimeout(pending.timer);
      if (frame.ok) pending.resolve(frame.data ?? {});
      else pending.reject(new RequestError(frame.error?.code ?? "internal", frame.error?.message));
    } else if (typeof frame.event === "string") {
      if (this.#held) this.#held.push(frame);
      else this.#deliver(frame);
    }
  }

  /** @param {ServerEvent} frame */
  #deliver(frame) {
    if (typeof frame.seq === "number") {
      if (frame.seq <= this.#lastSeq) return; // seen before the break, and sent again by the resume
      this.#lastSeq = frame.seq;
    }
    this.emit("event", frame);
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    this.#forget();
    if (!this.#wanted) return;
    if (code in FINAL_CLOSE_CODES) {
      this.#wanted = false;
      this.emit("closed", { code, reason });
    } else {
      this.#retryLater();
    }
  }

  #retryLater() {
    const attempt = this.#attempt++;
    const retryIn = retryDelay(attempt, this.#random);
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#connect(), retryIn);
    this.emit("down", { retryIn, attempt });
  }

  /** @param {number} code */
  #drop(code) {
    const socket = this.#socket;
    this.#forget();
    if (socket && socket.readyState < 2) socket.close(code);
  }

  #forget() {
    clearTimeout(this.#openTimer);
    clearTimeout(this.#aheadTimer);
    this.#socket = null;
    this.#held = [];
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of pending) {
      clearTimeout(timer);
      reject(new RequestError("disconnected", "The connection to the class went down."));
    }
  }
}
