// @ts-check
/** What flows, in numbers: one entry for each stream that we send or receive, as the browser has counted since it began. */

/**
 * @typedef {{spatial: number, temporal: number | null}} Layer 0 is the coarsest; `temporal` the smoothest that is sent
 *
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
 * @property {number} [fps]
 * @property {string} [codec] such as VP8
 * @property {Layer | null} [layer] of a picture that is received, as far as the worker said
 * @property {number} [packetsDiscarded] that came too late
 * @property {{delay: number, played: number}} [buffer] of sound: seconds that all samples together waited, and how many they were
 * @property {number} [audioEnergy] the sum a receiver heard: rising means sound
 * @property {string | null} [path] 'udp', 'tcp' or 'relay' to the worker; 'direct' past it
 * @property {number | null} [available] bit/s that the browser thinks it could send by this path
 * @property {string} [limitedBy] why our picture is less than the camera gives: 'none', 'cpu', 'bandwidth', 'other'
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
    const stream = sent(outgoing, { participant_id: self, source, kind: producer.kind, mid: producer.localId, producer });
    result.push(withDirect(stream, engine.direct));
  }
  for (const each of engine.receiver.received) result.push(withDirect(received(incoming, each), engine.direct));
  return result;
}

/**
 * By whatever path it came: counts are of both, so that they never fall; sizes and times are of the one that is shown.
 * @param {StreamStats} stream
 * @param {import('./direct.js').Direct} direct
 * @returns {StreamStats}
 */
function withDirect(stream, direct) {
  const { now, rtt, ...counts } = direct.numbers(stream.participant_id, stream.source, stream.direction);
  for (const key of /** @type {const} */ (["framesDecoded", "bytes", "packets", "packetsLost"])) stream[key] += counts[key];
  if (!now) return stream;
  const { frameWidth = 0, frameHeight = 0, freezeCount = 0, framesPerSecond = 0, totalAudioEnergy = 0 } = now;
  const { jitter = 0 } = stream.direction === "recv" ? now : (now.remote ?? {});
  const { jitterBufferDelay = 0, jitterBufferEmittedCount = 0 } = now;
  const { audioEnergy, buffer } = stream;
  return {
    ...stream, frameWidth, frameHeight, jitter, rtt, freezeCount: stream.freezeCount + freezeCount, fps: framesPerSecond,
    codec: now.codec ?? "", layer: null, path: "direct",
    ...(audioEnergy === undefined ? {} : { audioEnergy: audioEnergy + totalAudioEnergy }),
    ...(buffer ? { buffer: { delay: buffer.delay + jitterBufferDelay, played: buffer.played + jitterBufferEmittedCount } } : {}),
  };
}

/** @param {RTCStatsReport} report @param {(stat: any) => boolean} test @returns {any[]} */
function pick(report, test) {
  const found = /** @type {any[]} */ ([]);
  report.forEach((stat) => test(stat) && found.push(stat));
  return found;
}

/**
 * The way that the packets take. Chromium says which pair it is, Firefox marks it.
 * @param {RTCStatsReport} report
 * @returns {{rtt: number, path: string | null, available: number | null}} seconds, 'udp' / 'tcp' / 'relay', bit/s
 */
function pathOf(report) {
  const [transport] = pick(report, (stat) => stat.type === "transport" && stat.selectedCandidatePairId);
  const pairs = transport
    ? pick(report, (stat) => stat.id === transport.selectedCandidatePairId)
    : pick(report, (stat) => stat.type === "candidate-pair" && (stat.nominated || stat.selected));
  const [local] = pick(report, (stat) => stat.id === pairs[0]?.localCandidateId);
  return {
    rtt: Math.max(0, ...pairs.map((pair) => pair.currentRoundTripTime ?? 0)),
    path: local ? (local.candidateType === "relay" ? "relay" : local.protocol === "tcp" ? "tcp" : "udp") : null,
    available: pairs[0]?.availableOutgoingBitrate ?? null,
  };
}

/** @param {RTCStatsReport} report @param {any} stat @returns {string} */
function codecOf(report, stat) {
  const [codec] = pick(report, (each) => each.id === stat.codecId);
  return codec?.mimeType?.split("/")[1] ?? "";
}

/**
 * @param {RTCStatsReport} report
 * @param {import('./receive.js').Received} of
 * @returns {StreamStats}
 */
function received(report, { producer, consumer, layer }) {
  const { participant_id, source, kind } = producer;
  const [stat = {}] = pick(report, (each) => each.type === "inbound-rtp"
    && (each.trackIdentifier === consumer.track.id || (each.mid !== undefined && each.mid === consumer.localId)));
  return {
    participant_id, source, kind, direction: "recv",
    framesDecoded: stat.framesDecoded ?? 0, frameWidth: stat.frameWidth ?? 0, frameHeight: stat.frameHeight ?? 0,
    bytes: stat.bytesReceived ?? 0, packets: stat.packetsReceived ?? 0, packetsLost: stat.packetsLost ?? 0,
    jitter: stat.jitter ?? 0, freezeCount: stat.freezeCount ?? 0, ...pathOf(report),
    fps: stat.framesPerSecond ?? 0, codec: codecOf(report, stat), layer: kind === "video" ? layer : null,
    packetsDiscarded: stat.packetsDiscarded ?? 0,
    ...(kind === "audio"
      ? { audioEnergy: stat.totalAudioEnergy ?? 0, buffer: { delay: stat.jitterBufferDelay ?? 0, played: stat.jitterBufferEmittedCount ?? 0 } }
      : {}),
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
  const path = pathOf(report);
  return {
    participant_id, source, kind, direction: "send",
    framesDecoded: best.framesEncoded ?? 0, frameWidth: best.frameWidth ?? 0, frameHeight: best.frameHeight ?? 0,
    bytes: sum(layers, "bytesSent"), packets: sum(layers, "packetsSent"), packetsLost: sum(remote, "packetsLost"),
    jitter: most("jitter"), freezeCount: 0, ...path, rtt: most("roundTripTime") || path.rtt,
    fps: best.framesPerSecond ?? 0, codec: codecOf(report, best),
    limitedBy: layers.find((layer) => layer.qualityLimitationReason === "cpu") ? "cpu" : (best.qualityLimitationReason ?? "none"),
  };
}
