// @ts-check
/**
 * Watches what flows: who speaks, whether the microphone gives anything, how good each line is. Ten looks a second at
 * loudness, one every two seconds at the numbers, a report to the server every five.
 */
import { Emitter } from "./emitter.js";
import { receivedLevel, SilenceWatch, SpeakingTracker } from "./media/levels.js";
import { collectStats, QualityMeter, summarise } from "./media/stats.js";

const LEVELS_EVERY = 100; // ms
const QUALITY_EVERY = 2000; // ms
const REPORT_EVERY = 5000; // ms
const LOUD = 0.08; // of full scale: somebody speaks into a muted microphone, and not just breathes
const HINT_EVERY = 30_000; // ms
const SPEAKER_STAYS = 1500; // ms: the large picture does not jump at every "hm"

/**
 * @typedef {{
 *   level: number | null,
 *   speaking: Set<string>,
 *   speaker: string,
 *   quality: Map<string, string>,
 *   mutedButSpeaking: undefined,
 *   silent: undefined,
 * }} WatchEvents
 */

/** @extends {Emitter<WatchEvents>} */
export class Watch extends Emitter {
  #parts;
  #tracker = new SpeakingTracker();
  #silence = new SilenceWatch();
  #quality = new QualityMeter();
  #hintAt = -Infinity;
  /** @type {string | null} */
  #speaker = null;
  /** @type {import('./media/stats.js').StreamStats[]} */
  #reported = [];

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
    for (const { producer, consumer } of engine.receiver.received) {
      if (producer.source === "microphone" && !producer.paused) levels.set(producer.participant_id, receivedLevel(consumer.rtpReceiver));
    }
    const speaking = this.#tracker.update(levels, now);
    this.emit("speaking", speaking);
    const [loudest] = [...levels].filter(([id]) => id !== self && speaking.has(id)).sort((a, b) => b[1] - a[1]);
    if (loudest && loudest[0] !== this.#speaker && now - this.lastSpoke(this.#speaker ?? "") > SPEAKER_STAYS) {
      this.#speaker = loudest[0];
      this.emit("speaker", loudest[0]);
    }
    if (!sends && level !== null && level > LOUD && now - this.#hintAt > HINT_EVERY) {
      this.#hintAt = now;
      this.emit("mutedButSpeaking", undefined);
    }
    if (this.#silence.update(sends ? level : null, now)) this.emit("silent", undefined);
  }

  async #judge() {
    const { session, engine, room } = this.#parts;
    if (!session.inClass || !engine.link) return;
    const stats = await collectStats(engine, room.you.participant_id).catch(() => []);
    this.emit("quality", this.#quality.update(stats));
  }

  async #report() {
    const { session, engine, room, connection } = this.#parts;
    if (!session.inClass) return;
    const stats = await collectStats(engine, room.you.participant_id).catch(() => []);
    const summary = summarise(stats, this.#reported, REPORT_EVERY / 1000);
    this.#reported = stats;
    // Also without media: an answer that does not come is how a dead line is noticed.
    connection.request("stats:report", summary ?? {}).catch(() => {});
  }
}
