// @ts-check
/**
 * Chat messages on their way: each is sent until the server has acknowledged it, in order, with a key of its own by
 * which the server knows a message that came twice. A break of the connection loses none.
 */
import { Emitter } from "./emitter.js";

/**
 * @typedef {{client_id: string, message: string}} Waiting
 * @typedef {{change: undefined, refused: {message: string, code: string, reason: string}}} OutboxEvents
 */

/** Refusals after which the same text would be refused again. (`wrong_state`: not joined yet, it waits for that.) */
const FINAL = new Set(["bad_request", "forbidden", "too_large", "not_found", "meeting_ended"]);
const RETRY = 1500; // ms: past the window of the server's rate limit

/** @extends {Emitter<OutboxEvents>} */
export class Outbox extends Emitter {
  #request;
  #newId;
  /** @type {Waiting[]} */
  #waiting = [];
  #busy = false;

  /**
   * @param {import('./types.js').Request} request
   * @param {() => string} [newId]
   */
  constructor(request, newId = randomId) {
    super();
    this.#request = request;
    this.#newId = newId;
  }

  get waiting() {
    return this.#waiting;
  }

  /** @param {string} message */
  send(message) {
    this.#waiting = [...this.#waiting, { client_id: this.#newId(), message }];
    this.emit("change", undefined);
    void this.flush();
  }

  /** Send what waits; called again when the connection is back. */
  async flush() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#waiting.length) {
        const [{ client_id, message }] = this.#waiting;
        try {
          await this.#request("chat:send", { message, metadata: { client_id } });
        } catch (error) {
          const { code, message: reason } = /** @type {{code: string, message: string}} */ (error);
          if (!FINAL.has(code)) {
            if (code !== "disconnected" && code !== "timeout") setTimeout(() => void this.flush(), RETRY);
            return;
          }
          this.emit("refused", { message, code, reason });
        }
        this.#waiting = this.#waiting.slice(1);
        this.emit("change", undefined);
      }
    } finally {
      this.#busy = false;
    }
  }
}

/** crypto.randomUUID exists on secure pages only; this works on all. */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
