// @ts-check
/**
 * Where this browser stands in its class: in the lobby, joining, joined, coming back, or gone for a reason.
 * Joins again by itself after each break of the socket, with the session and the last event's number.
 */
import { Emitter } from "./emitter.js";
import { FINAL_CLOSE_CODES } from "./socket.js";

/** @typedef {'lobby' | 'joining' | 'joined' | 'reconnecting' | 'restarting' | 'left' | 'removed' | 'ended' | 'replaced' | 'unauthenticated'} State */

/** @type {Record<State, State[]>} from each state, where one can go */
export const TRANSITIONS = {
  lobby: ["joining", "ended"],
  joining: ["joined", "lobby", "left", "removed", "ended", "replaced", "unauthenticated"],
  joined: ["reconnecting", "restarting", "left", "removed", "ended", "replaced", "unauthenticated"],
  restarting: ["joined", "reconnecting", "left", "removed", "ended", "replaced", "unauthenticated"],
  reconnecting: ["joined", "lobby", "left", "removed", "ended", "replaced", "unauthenticated"],
  left: ["joining"],
  removed: [],
  ended: ["joining"],
  replaced: ["joining"],
  unauthenticated: [],
};

const PROBE = 3000; // ms: many round trips of a bad line, and no long wait for somebody who is back
const PROBE_SUSPECT = 1000; // ms: there is another sign that the line is dead, and coming back costs little
const PROBE_MOVED = 500; // ms: the network is another, so that the socket is most likely dead

/** Refusals of a join after which asking again changes nothing. */
const FINAL_REFUSALS = new Set([
  "bad_request", "unauthenticated", "forbidden", "not_found", "wrong_meeting", "meeting_full", "meeting_ended",
]);

/**
 * @typedef {import('./types.js').JoinAnswer} JoinAnswer
 * @typedef {{
 *   state: {from: State, to: State, reason: string},
 *   asked: undefined,
 *   joined: {answer: JoinAnswer, entered: boolean},
 *   refused: {code: string, message: string},
 * }} SessionEvents `asked`: a join is under way, and what it will lead to may be asked for behind it; `entered`: through
 *   the lobby, not back after a break
 */

/** @extends {Emitter<SessionEvents>} */
export class Session extends Emitter {
  #connection;
  #room;
  /** @type {State} */
  #state = "lobby";
  /** @type {Record<string, any>} */
  #profile = {};
  /** @type {string | null} */
  #session = null;
  /** @type {string | null} a large room's people come in pages: those after this one are still to be asked for */
  #peopleAfter = null;
  #paging = 0;

  /**
   * @param {import('./socket.js').RoomConnection} connection
   * @param {import('./room_state.js').RoomState} room
   */
  constructor(connection, room) {
    super();
    this.#connection = connection;
    this.#room = room;
    connection.on("open", () => void this.#join());
    connection.on("down", () => {
      if (this.inClass) this.#go("reconnecting", "connection lost");
    });
    connection.on("closed", ({ code, reason }) => {
      this.#go(/** @type {Record<number, State>} */ (FINAL_CLOSE_CODES)[code], reason);
    });
    connection.on("event", ({ event, data, seq }) => this.#onEvent(event, data ?? {}, seq));
  }

  get state() {
    return this.#state;
  }

  /** Joined, with or without media at this moment. */
  get inClass() {
    return this.#state === "joined" || this.#state === "restarting";
  }

  /** @param {{display_name?: string, device?: string}} profile */
  join(profile) {
    this.#profile = profile;
    this.#go("joining", "asked to");
    this.#connection.start();
  }

  async leave() {
    const connected = this.inClass;
    this.#go("left", "asked to");
    // The server need not answer: a socket that closes after this request has left, not been lost.
    if (connected) await this.#connection.request("room:leave", {}, { timeout: 1000 }).catch(() => {});
    this.#session = null;
    if (this.#state === "left") this.#connection.stop();
  }

  /**
   * The network or the page came back: try now, and do not trust a line that looks open. One that died while nobody
   * looked can look so for minutes.
   * @param {{suspect?: boolean, moved?: boolean}} [why]
   * @returns {Promise<boolean>} whether it answered
   */
  async wake({ suspect = false, moved = false } = {}) {
    const timeout = moved ? PROBE_MOVED : suspect ? PROBE_SUSPECT : PROBE;
    if (this.#state === "lobby") this.#connection.prepare();
    else if (!this.#connection.isOpen) this.#connection.retryNow();
    else if (this.inClass) return this.#connection.request("stats:report", {}, { timeout }).then(() => true, () => false);
    return false;
  }

  /** The media worker went: the class goes on without pictures for a moment. */
  mediaRestarting() {
    if (this.#state === "joined") this.#go("restarting", "media worker gone");
  }

  mediaBack() {
    if (this.#state === "restarting") this.#go("joined", "media back");
  }

  async #join() {
    const request = { ...this.#profile };
    if (this.#session) Object.assign(request, { session: this.#session, last_seq: this.#connection.lastSeq });
    /** @type {JoinAnswer} */
    let answer;
    try {
      const answered = this.#connection.request("room:join", request);
      this.emit("asked", undefined);
      answer = await answered;
    } catch (error) {
      this.#refused(/** @type {import('./socket.js').RequestError} */ (error));
      return;
    }
    if (this.#state !== "joining" && this.#state !== "reconnecting") return; // left while it was asked
    this.#session = answer.session;
    this.#connection.markHealthy();
    this.#room.join(answer);
    const entered = this.#state === "joining";
    if (!answer.resumed) this.#peopleAfter = answer.participants_next ?? null;
    this.#go("joined", answer.resumed ? "resumed" : "joined");
    this.#connection.release(answer.resumed ? this.#connection.lastSeq : (answer.last_seq ?? 0));
    this.emit("joined", { answer, entered });
    await this.#restOfPeople();
  }

  /** Those who send or ask came with the first page. Broken off by a lost connection, it goes on after the next join. */
  async #restOfPeople() {
    const turn = ++this.#paging;
    while (this.#peopleAfter && this.inClass) {
      const page = await this.#connection.request("participants:page", { after: this.#peopleAfter }).catch(() => null);
      if (!page || turn !== this.#paging) return;
      const unknown = page.participants.filter((/** @type {any} */ each) => !this.#room.participant(each.participant_id));
      this.#room.apply("participant:joined", { participants: unknown });
      this.#peopleAfter = page.next;
    }
  }

  /** @param {import('./socket.js').RequestError} error */
  #refused(error) {
    if (error.code === "disconnected" || error.code === "timeout") return; // the connection retries by itself
    if (!FINAL_REFUSALS.has(error.code)) {
      this.#connection.reconnect();
      return;
    }
    this.#connection.stop();
    this.#session = null;
    const ended = error.code === "meeting_ended";
    this.#go(ended ? "ended" : "lobby", error.message);
    if (!ended) this.emit("refused", { code: error.code, message: error.message });
  }

  /** @param {string} event @param {Record<string, any>} data @param {number} [seq] */
  #onEvent(event, data, seq) {
    if (event === "removed:from-meeting") this.#finish("removed", data.reason ?? "");
    else if (event === "room:closed") this.#finish("ended", data.reason ?? "");
    else this.#room.apply(event, data, seq);
  }

  /** @param {State} state @param {string} reason */
  #finish(state, reason) {
    this.#session = null;
    this.#go(state, reason);
    this.#connection.stop();
  }

  /** @param {State} to @param {string} reason */
  #go(to, reason) {
    const from = this.#state;
    if (from === to || !TRANSITIONS[from].includes(to)) return;
    this.#state = to;
    this.emit("state", { from, to, reason });
  }
}
