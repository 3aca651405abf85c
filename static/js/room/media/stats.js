// @ts-check
/** What flows, in numbers: one entry for each stream that we send or receive, and a word for how good it is. */

/**
 * @typedef {object} StreamStats
 * @property {string} participant_id
 * @property {import('../types.js').Source} source
 * @property {import('../types.js').Kind} kind
 * @property {'send' | 'recv'} direction
 * @property {number} framesDecoded for our own streams: frames encoded
 * @property {number} frameWidth
 * @property {number} frameHeight
 * @property {number} bytes
 * @property {number} packets
 * @property {number} packetsLost
 * @property {number} jitter seconds
 * @property {number} rtt seconds
 * @property {number} freezeCount
 * @property {number} [audioEnergy] the sum a receiver heard: rising means sound
 *
 * @typedef {'good' | 'warning' | 'danger' | 'critical'} Quality
 */

/**
 * @param {import('./engine.js').MediaEngine} engine
 * @param {string} self our participant id
 * @returns {Promise<StreamStats[]>}
 */
export async function collectStats(engine, self) {
  const { link } = engine;
  if (!link || link.closed) return [];
  const [incoming, outgoing] = await Promise.all([link.recv.getStats(), link.send.getStats()]);
  const result = [];
  for (const { source, producer } of engine.sender.producers) {
    result.push(sent(outgoing, { participant_id: self, source, kind: producer.kind, mid: producer.localId, producer }));
  }
  for (const { producer, consumer } of engine.receiver.received) result.push(received(incoming, producer, consumer));
  return result;
}

/** @param {RTCStatsReport} report @param {(stat: any) => boolean} test @returns {any[]} */
function pick(report, test) {
  const found = /** @type {any[]} */ ([]);
  report.forEach((stat) => test(stat) && found.push(stat));
  return found;
}

/** @param {RTCStatsReport} report @returns {number} seconds */
function pathRtt(report) {
  const pairs = pick(report, (stat) => stat.type === "candidate-pair" && (stat.nominated || stat.selected));
  return Math.max(0, ...pairs.map((pair) => pair.currentRoundTripTime ?? 0));
}

/**
 * @param {RTCStatsReport} report
 * @param {import('../types.js').ProducerInfo} producer
 * @param {import('mediasoup-client').types.Consumer} consumer
 * @returns {StreamStats}
 */
function received(report, producer, consumer) {
  const { participant_id, source, kind } = producer;
  const [stat = {}] = pick(report, (each) => each.type === "inbound-rtp"
    && (each.trackIdentifier === consumer.track.id || (each.mid !== undefined && each.mid === consumer.localId)));
  return {
    participant_id, source, kind, direction: "recv",
    framesDecoded: stat.framesDecoded ?? 0, frameWidth: stat.frameWidth ?? 0, frameHeight: stat.frameHeight ?? 0,
    bytes: stat.bytesReceived ?? 0, packets: stat.packetsReceived ?? 0, packetsLost: stat.packetsLost ?? 0,
    jitter: stat.jitter ?? 0, rtt: pathRtt(report), freezeCount: stat.freezeCount ?? 0,
    ...(kind === "audio" ? { audioEnergy: stat.totalAudioEnergy ?? 0 } : {}),
  };
}

/**
 * @param {RTCStatsReport} report
 * @param {any} info
 * @returns {StreamStats}
 */
function sent(report, { participant_id, source, kind, mid, producer }) {
  const ssrcs = new Set(producer.rtpParameters.encodings?.map((/** @type {any} */ encoding) => encoding.ssrc));
  const layers = pick(report, (each) => each.type === "outbound-rtp" && (each.mid === mid || ssrcs.has(each.ssrc)));
  const remote = pick(report, (each) => each.type === "remote-inbound-rtp" && layers.some((layer) => layer.id === each.localId));
  const best = [...layers].sort((a, b) => (b.frameHeight ?? 0) - (a.frameHeight ?? 0))[0] ?? {};
  const sum = (/** @type {any[]} */ stats, /** @type {string} */ key) => stats.reduce((total, stat) => total + (stat[key] ?? 0), 0);
  const most = (/** @type {string} */ key) => Math.max(0, ...remote.map((stat) => stat[key] ?? 0));
  return {
    participant_id, source, kind, direction: "send",
    framesDecoded: best.framesEncoded ?? 0, frameWidth: best.frameWidth ?? 0, frameHeight: best.frameHeight ?? 0,
    bytes: sum(layers, "bytesSent"), packets: sum(layers, "packetsSent"), packetsLost: sum(remote, "packetsLost"),
    jitter: most("jitter"), rtt: most("roundTripTime") || pathRtt(report), freezeCount: 0,
  };
}

/** @type {[Quality, {rtt: number, loss: number, jitter: number}][]} from these values on: seconds and shares */
const LIMITS = [
  ["critical", { rtt: 2, loss: 0.2, jitter: 0.2 }],
  ["danger", { rtt: 1, loss: 0.1, jitter: 0.1 }],
  ["warning", { rtt: 0.5, loss: 0.05, jitter: 0.05 }],
];

/** @param {{rtt: number, loss: number, jitter: number}} measured @returns {Quality} */
export function qualityOf({ rtt, loss, jitter }) {
  for (const [quality, limit] of LIMITS) {
    if (rtt >= limit.rtt || loss >= limit.loss || jitter >= limit.jitter) return quality;
  }
  return "good";
}

/**
 * Is our own line the poor one? One sender's bad line makes one bad picture, ours makes most of them bad.
 * @param {Map<string, Quality>} found by participant id
 * @param {string} self
 * @returns {boolean}
 */
export function isThin(found, self) {
  const theirs = [...found].filter(([id]) => id !== self).map(([, quality]) => quality);
  const poor = theirs.filter((quality) => quality === "danger" || quality === "critical").length;
  return poor * 2 > theirs.length;
}

/**
 * One line for the server: milliseconds, percent, bit/s, over the last seconds.
 * @param {StreamStats[]} stats
 * @param {StreamStats[]} before the same some seconds ago
 * @param {number} seconds
 * @returns {Record<string, number> | null} null when nothing flows
 */
export function summarise(stats, before, seconds) {
  const received = stats.filter((stream) => stream.direction === "recv");
  if (!stats.length) return null;
  const earlier = new Map(before.map((stream) => [keyOf(stream), stream]));
  let [bytes, packets, lost] = [0, 0, 0];
  for (const stream of stats) {
    const last = earlier.get(keyOf(stream));
    bytes += Math.max(0, stream.bytes - (last?.bytes ?? 0));
    packets += Math.max(0, stream.packets - (last?.packets ?? 0));
    lost += Math.max(0, stream.packetsLost - (last?.packetsLost ?? 0));
  }
  return {
    rtt: Math.round(1000 * Math.max(...stats.map((stream) => stream.rtt))),
    jitter: Math.round(1000 * Math.max(0, ...received.map((stream) => stream.jitter))),
    packet_loss: packets + lost ? Math.round((1000 * lost) / (packets + lost)) / 10 : 0,
    bitrate: Math.round((bytes * 8) / seconds),
    freeze_count: received.reduce((sum, stream) => sum + stream.freezeCount, 0),
  };
}

/** @param {StreamStats} stream */
function keyOf(stream) {
  return `${stream.participant_id}/${stream.source}/${stream.direction}`;
}

/** Keeps the last counts of each stream, so that loss is of the last seconds and not of the whole class. */
export class QualityMeter {
  /** @type {Map<string, {packets: number, lost: number}>} */
  #last = new Map();

  /** @param {StreamStats[]} stats @returns {Map<string, Quality>} the worst of each person's streams */
  update(stats) {
    const order = ["good", "warning", "danger", "critical"];
    /** @type {Map<string, Quality>} */
    const result = new Map();
    const seen = new Map();
    for (const stream of stats) {
      const key = keyOf(stream);
      const before = this.#last.get(key) ?? { packets: 0, lost: 0 };
      seen.set(key, { packets: stream.packets, lost: stream.packetsLost });
      const packets = Math.max(0, stream.packets - before.packets);
      const lost = Math.max(0, stream.packetsLost - before.lost);
      const loss = packets + lost > 20 ? lost / (packets + lost) : 0; // a handful of packets proves nothing
      const quality = qualityOf({ rtt: stream.rtt, loss, jitter: stream.jitter });
      const worst = result.get(stream.participant_id) ?? "good";
      result.set(stream.participant_id, order.indexOf(quality) > order.indexOf(worst) ? quality : worst);
    }
    this.#last = seen;
    return result;
  }
}
