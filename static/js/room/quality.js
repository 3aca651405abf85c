// @ts-check
/**
 * How good a connection is: what each stream did lately, what that makes of our own line, a word for it, and the calm
 * not to change the word at every look. The server has the same limits in meetings/quality.py.
 *
 * @typedef {import('./media/stats.js').StreamStats} StreamStats
 * @typedef {'good' | 'warning' | 'danger' | 'critical'} Quality
 * @typedef {{rtt: number, loss: number, jitter: number}} Measured seconds and a share
 *
 * @typedef {object} Lately what a stream did since the last look
 * @property {number} seconds that this was
 * @property {number} bitrate bit/s
 * @property {number} received bytes that came by it
 * @property {number} sent bytes that left by it
 * @property {number} packets
 * @property {number} lost packets
 * @property {number} loss share of the packets, 0 to 1
 * @property {number} tooLate packets that came too late to be heard
 * @property {number} freezes
 * @property {number} buffered seconds that sound waited to be played, so that no late packet is missed
 *
 * @typedef {StreamStats & Lately} Flow
 *
 * @typedef {Measured & {
 *   bitrateIn: number, bitrateOut: number, received: number, sent: number, freezes: number,
 *   voiceLoss: number | null, buffered: number | null, width: number, height: number, fps: number,
 *   path: string | null, available: number | null, limitedBy: string,
 * }} OwnLine
 */

/** @type {Quality[]} the better the earlier */
const QUALITIES = ["good", "warning", "danger", "critical"];

/** @type {[Quality, Measured][]} from these values on */
const LIMITS = [
  ["critical", { rtt: 2, loss: 0.2, jitter: 0.2 }],
  ["danger", { rtt: 1, loss: 0.1, jitter: 0.1 }],
  ["warning", { rtt: 0.5, loss: 0.05, jitter: 0.05 }],
];

const FEW = 20; // packets, which prove nothing
const WORSE_AFTER = 2; // looks in a row
const BETTER_AFTER = 3;

/** @param {Measured} measured @returns {Quality} */
export function qualityOf({ rtt, loss, jitter }) {
  for (const [quality, limit] of LIMITS) {
    if (rtt >= limit.rtt || loss >= limit.loss || jitter >= limit.jitter) return quality;
  }
  return "good";
}

/** @param {(string | undefined)[]} qualities @returns {Quality} */
export function worstOf(...qualities) {
  return QUALITIES[Math.max(0, ...qualities.map((quality) => QUALITIES.indexOf(/** @type {Quality} */ (quality))))];
}

/** @param {string} quality Is it so poor that sound should come before pictures? */
export function isPoor(quality) {
  return quality === "danger" || quality === "critical";
}

/** A word that stays until several looks in a row agree on another: bars must not flicker around a limit. */
export class Steady {
  /** @type {Quality} */
  #now = "good";
  /** @type {Quality[]} looks in a row, all on the same side of it */
  #others = [];

  /** @param {Quality} found @returns {Quality} */
  update(found) {
    const side = Math.sign(QUALITIES.indexOf(found) - QUALITIES.indexOf(this.#now));
    const before = this.#others.length ? Math.sign(QUALITIES.indexOf(this.#others[0]) - QUALITIES.indexOf(this.#now)) : side;
    if (side !== before || side === 0) this.#others = [];
    if (side !== 0) this.#others.push(found);
    if (this.#others.length >= (side > 0 ? WORSE_AFTER : BETTER_AFTER)) {
      // No further than all of them went.
      const places = this.#others.map((each) => QUALITIES.indexOf(each));
      this.#now = QUALITIES[side > 0 ? Math.min(...places) : Math.max(...places)];
      this.#others = [];
    }
    return this.#now;
  }
}

/** Keeps the last counts of each stream, so that its figures are of the last seconds and not of the whole class. */
export class FlowMeter {
  /** @type {Map<string, {stats: StreamStats, at: number}>} */
  #last = new Map();

  /** @param {StreamStats[]} stats @param {number} now ms @returns {Flow[]} streams that were there at the last look, too */
  update(stats, now) {
    const last = this.#last;
    this.#last = new Map(stats.map((each) => [keyOf(each), { stats: each, at: now }]));
    /** @type {Flow[]} */
    const flows = [];
    for (const each of stats) {
      const before = last.get(keyOf(each));
      if (before && now > before.at) flows.push({ ...each, ...lately(each, before.stats, (now - before.at) / 1000) });
    }
    return flows;
  }
}

/** @param {StreamStats} stream */
function keyOf(stream) {
  return `${stream.participant_id}/${stream.source}/${stream.direction}`;
}

/** @param {StreamStats} stats @param {StreamStats} before @param {number} seconds @returns {Lately} */
function lately(stats, before, seconds) {
  const since = (/** @type {number} */ now, /** @type {number} */ then) => Math.max(0, now - then); // a stream that began anew counts from 0
  const bytes = since(stats.bytes, before.bytes);
  const packets = since(stats.packets, before.packets);
  const lost = since(stats.packetsLost, before.packetsLost);
  const all = stats.direction === "send" ? packets : packets + lost;
  const played = since(stats.buffer?.played ?? 0, before.buffer?.played ?? 0);
  return {
    seconds, packets, lost, bitrate: (8 * bytes) / seconds,
    received: stats.direction === "recv" ? bytes : 0, sent: stats.direction === "send" ? bytes : 0,
    loss: all > FEW ? Math.min(1, lost / all) : 0,
    tooLate: since(stats.packetsDiscarded ?? 0, before.packetsDiscarded ?? 0),
    freezes: since(stats.freezeCount, before.freezeCount),
    buffered: played ? since(stats.buffer?.delay ?? 0, before.buffer?.delay ?? 0) / played : 0,
  };
}

/**
 * What the streams say of our own line. One sender's bad line makes one bad picture, ours makes most of them bad: of
 * what is received, the jitter of the one in the middle counts, and the loss of all together.
 * @param {Flow[]} flows
 * @returns {OwnLine | null} null when nothing flows
 */
export function ownLine(flows) {
  if (!flows.length) return null;
  const received = flows.filter((flow) => flow.direction === "recv");
  const sent = flows.filter((flow) => flow.direction === "send");
  const sum = (/** @type {Flow[]} */ of, /** @type {'bitrate' | 'received' | 'sent' | 'freezes' | 'lost' | 'packets' | 'tooLate'} */ key) =>
    of.reduce((total, flow) => total + flow[key], 0);
  const flowing = received.filter((flow) => flow.packets);
  const jitters = flowing.map((flow) => flow.jitter).sort((a, b) => a - b);
  const all = sum(received, "packets") + sum(received, "lost");
  const lossIn = all > FEW ? sum(received, "lost") / all : 0;
  const voices = flowing.filter((flow) => flow.kind === "audio");
  const heard = sum(voices, "packets") + sum(voices, "lost");
  const [largest] = [...received].sort((a, b) => b.frameHeight - a.frameHeight);
  return {
    rtt: Math.max(...flows.map((flow) => flow.rtt)),
    jitter: Math.max(jitters[jitters.length >> 1] ?? 0, ...sent.map((flow) => flow.jitter)),
    loss: Math.min(1, Math.max(lossIn, ...sent.map((flow) => flow.loss))),
    bitrateIn: sum(received, "bitrate"), bitrateOut: sum(sent, "bitrate"), received: sum(flows, "received"), sent: sum(flows, "sent"),
    freezes: sum(received, "freezes"),
    voiceLoss: heard ? Math.min(1, (sum(voices, "lost") + sum(voices, "tooLate")) / heard) : null,
    buffered: voices.length ? Math.max(...voices.map((flow) => flow.buffered)) : null,
    width: largest?.frameWidth ?? 0, height: largest?.frameHeight ?? 0, fps: largest?.fps ?? 0,
    path: flows.find((flow) => flow.path)?.path ?? null,
    available: sent.find((flow) => flow.available)?.available ?? null,
    limitedBy: sent.find((flow) => flow.limitedBy === "cpu")?.limitedBy ?? sent.find((flow) => flow.source === "camera")?.limitedBy ?? "none",
  };
}

/**
 * One line for the server: milliseconds, percent, bit/s.
 * @param {OwnLine} line
 * @returns {Record<string, number | string>}
 */
export function reportOf(line) {
  const tenths = (/** @type {number} */ share) => Math.round(1000 * share) / 10;
  /** @type {Record<string, number | string | null>} */
  const report = {
    rtt: Math.round(1000 * line.rtt), jitter: Math.round(1000 * line.jitter), packet_loss: tenths(line.loss),
    bitrate: Math.round(line.bitrateIn + line.bitrateOut), bytes_received: line.received, bytes_sent: line.sent,
    available_bitrate: line.available && Math.round(line.available),
    voice_loss: line.voiceLoss === null ? null : tenths(line.voiceLoss),
    voice_buffer: line.buffered === null ? null : Math.round(1000 * line.buffered),
    frames_per_second: Math.round(line.fps), frame_width: line.width, frame_height: line.height, freeze_count: line.freezes,
    limited_by: line.limitedBy, path: line.path,
  };
  return /** @type {any} */ (Object.fromEntries(Object.entries(report).filter(([, value]) => value !== null)));
}

/** Judges everybody whose streams flow here, and ourselves, look by look. */
export class QualityMeter {
  #flows = new FlowMeter();
  /** @type {Map<string, Steady>} by participant id */
  #steady = new Map();

  /**
   * @param {StreamStats[]} stats
   * @param {string} self our participant id
   * @param {number} now ms
   * @returns {{flows: Flow[], line: OwnLine | null, quality: Map<string, Quality>}} `quality`: the worst of each person's streams
   */
  update(stats, self, now) {
    const flows = this.#flows.update(stats, now);
    const line = ownLine(flows);
    /** @type {Map<string, Quality>} */
    const found = new Map();
    for (const flow of flows) {
      if (flow.direction === "send") continue;
      found.set(flow.participant_id, worstOf(found.get(flow.participant_id), qualityOf(flow)));
    }
    if (line) found.set(self, qualityOf(line));
    for (const id of this.#steady.keys()) if (!found.has(id)) this.#steady.delete(id);
    /** @type {Map<string, Quality>} */
    const quality = new Map();
    for (const [id, each] of found) {
      const steady = this.#steady.get(id) ?? new Steady();
      this.#steady.set(id, steady);
      quality.set(id, steady.update(each));
    }
    return { flows, line, quality };
  }
}
