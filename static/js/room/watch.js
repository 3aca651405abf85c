// @ts-check
/**
 * Watches what flows: who speaks, whether the microphone gives anything, how good each line is. Ten looks a second at
 * loudness, one every two seconds at the numbers, a report to the server every five.
 */
import { Emitter } from "./emitter.js";
import { HandWatch } from "./hand.js";
import { receivedLevel, SilenceWatch, SpeakingTracker } from "./media/levels.js";
import { lastPlayed, StallWatch } from "./media/stall.js";
import { collectStats } from "./media/stats.js";
import { FlowMeter, isPoor, ownLine, QualityMeter, reportOf } from "./quality.js";

const LEVELS_EVERY = 100; // ms
const QUALITY_EVERY = 2000; // ms
const REPORT_EVERY = 5000; // ms
const LOUD = 0.08; // of full scale: somebody speaks into a muted microphone, and not just breathes
const HINT_EVERY = 30_000; // ms
const SPEAKER_STAYS = 1500; // ms: the large picture does not jump at every "hm"
const THIN_FOR = 3; // judgements in a row: 6 s of a poor line, not one bad moment
const WIDE_FOR = 5; // judgements in a row until what was offered for a poor line is taken back

/**
 * @typedef {{
 *   level: number | null,
 *   speaking: Set<string>,
 *   speaker: string,
 *   quality: {quality: Map<string, string>, flows: import('./quality.js').Flow[], line: import('./quality.js').OwnLine | null},
 *   thinLine: boolean,
 *   handGoesDown: undefined,
 *   handDown: undefined,
 *   mutedButSpeaking: undefined,
 *   silent: undefined,
 *   stalled: undefined,
 * }} WatchEvents
 */

/** @extends {Emitter<WatchEvents>} */
export class Watch extends Emitter {
  #parts;
  #tracker = new SpeakingTracker();
  #silence = new SilenceWatch();
  #stall = new StallWatch();
  #quality = new QualityMeter();
  #hintAt = -Infinity;
  #hand = new HandWatch();
  #flows = new FlowMeter(); // between two reports
  #thin = false;
  #doubts = 0; // judgements in a row that say otherwise
  /** @type {string | null} */
  #speaker = null;
  /** @type {string[] | null} who speaks by the server's word; null: it has not said anything yet */
  #heard = null;

  /**
   * @param {object} parts
   * @param {import('./socket.js').RoomConnection} parts.connection
   * @param {import('./session.js').Session} parts.session
   * @param {import('./room_state.js').RoomState} parts.room
   * @param {import('./media/engine.js').MediaEngine} parts.engine
   * @param {import('./controls.js').Controls} parts.controls
   * @param {import('./media/levels.js').LevelMeter} parts.meter
   */
  constructor(parts) {
    super();
    this.#parts = parts;
    parts.room.on("speaker", (heard) => this.#hear(heard));
    // After a break, or from another worker, what it says next counts; until then we listen ourselves.
    parts.session.on("state", ({ to }) => {
      if (to !== "joined") this.#heard = null;
    });
  }

  /** The hand that was about to go down stays up. */
  keepHand() {
    this.#hand.keep();
  }

  /**
   * The server hears everybody, also those whose voices do not reach this browser: once it tells, it decides.
   * @param {{participant_id: string | null, levels: Record<string, number>}} heard
   */
  #hear({ participant_id, levels }) {
    this.#heard = Object.keys(levels);
    if (participant_id && !(participant_id in levels)) this.#heard.push(participant_id);
    if (participant_id && participant_id !== this.#parts.room.you.participant_id) this.#feature(participant_id);
  }

  /** @param {string} id the one whose picture is shown large */
  #feature(id) {
    if (id === this.#speaker) return;
    this.#speaker = id;
    this.emit("speaker", id);
  }

  start() {
    setInterval(() => this.#look(performance.now()), LEVELS_EVERY);
    setInterval(() => void this.#judge(), QUALITY_EVERY);
    setInterval(() => void this.#report(), REPORT_EVERY);
  }

  /** @param {string} participantId @returns {number} ms, 0 for never */
  lastSpoke(participantId) {
    return this.#tracker.lastSpoke(participantId);
  }

  /** @param {number} now ms */
  #look(now) {
    const { session, room, engine, controls, meter } = this.#parts;
    const level = meter.read();
    this.emit("level", level);
    if (!session.inClass) return;
    const self = room.you.participant_id;
    const sends = controls.sends("microphone");
    /** @type {Map<string, number>} */
    const levels = new Map();
    if (sends && level !== null) levels.set(self, level);
    // The server hears nothing of what goes past it.
    if (engine.direct.state === "direct") this.#heard = null;
    let newest = 0;
    for (const { producer, consumer, direct } of engine.receiver.received) {
      newest = Math.max(newest, lastPlayed(direct ?? consumer.rtpReceiver));
      if (producer.source === "microphone" && !producer.paused) levels.set(producer.participant_id, receivedLevel(direct ?? consumer.rtpReceiver));
    }
    if (this.#stall.update(newest, now)) this.emit("stalled", undefined);
    for (const id of this.#heard ?? []) levels.set(id, 1); // until it says otherwise
    const speaking = this.#tracker.update(levels, now);
    this.emit("speaking", speaking);
    const [loudest] = [...levels].filter(([id]) => id !== self && speaking.has(id)).sort((a, b) => b[1] - a[1]);
    if (loudest && this.#heard === null && now - this.lastSpoke(this.#speaker ?? "") > SPEAKER_STAYS) this.#feature(loudest[0]);
    const hand = this.#hand.update({ up: room.handOf(self) > 0, speaking: sends && speaking.has(self) }, now);
    if (hand) this.emit(hand === "ask" ? "handGoesDown" : "handDown", undefined);
    if (!sends && level !== null && level > LOUD && now - this.#hintAt > HINT_EVERY) {
      this.#hintAt = now;
      this.emit("mutedButSpeaking", undefined);
    }
    if (this.#silence.update(sends ? level : null, now)) this.emit("silent", undefined);
  }

  async #judge() {
    const { session, engine, room } = this.#parts;
    if (!session.inClass || !engine.link) return;
    const self = room.you.participant_id;
    const stats = await collectStats(engine, self).catch(() => []);
    const judged = this.#quality.update(stats, self, performance.now());
    this.emit("quality", judged);
    this.#doubts = isPoor(judged.quality.get(self) ?? "good") === this.#thin ? 0 : this.#doubts + 1;
    if (this.#doubts < (this.#thin ? WIDE_FOR : THIN_FOR)) return;
    this.#doubts = 0;
    this.#thin = !this.#thin;
    this.emit("thinLine", this.#thin);
  }

  async #report() {
    const { session, engine, room, connection } = this.#parts;
    if (!session.inClass) return;
    const stats = await collectStats(engine, room.you.participant_id).catch(() => []);
    const line = ownLine(this.#flows.update(stats, performance.now()));
    // Also without media: an answer that does not come is how a dead line is noticed.
    connection.request("stats:report", line ? reportOf(line) : {}).catch(() => {});
  }
}
