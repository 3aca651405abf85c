// @ts-check
/** The figures of a connection as a person reads them: for the panel, and for whoever it is copied to. */

/**
 * @typedef {import('./quality.js').Flow} Flow
 * @typedef {import('./quality.js').OwnLine} OwnLine
 * @typedef {[string, string][]} Facts what it is, and how much
 *
 * @typedef {object} Told what somebody's browser reported and the server judged
 * @property {string} participant_id
 * @property {string} quality
 * @property {number} [score] of what is heard, 1 to 4.4
 * @property {number} [rtt] ms
 * @property {number} [jitter] ms
 * @property {number} [packet_loss] percent
 * @property {number} [bitrate] bit/s
 * @property {string} [path]
 * @property {string} [limited_by]
 *
 * @typedef {{note: string, facts: Facts, streams: {name: string, facts: Facts}[]}} Described
 */

const SOURCES = { microphone: "Voice", camera: "Camera", screen: "Screen", screen_audio: "Sound of the screen" };
const PATHS = /** @type {Record<string, string>} */ ({ udp: "UDP", tcp: "TCP", relay: "by a relay", direct: "directly" });
const LIMITS = /** @type {Record<string, string>} */ ({
  cpu: "This device is busy: your picture is smaller than your camera gives.",
  bandwidth: "Your line is narrow: your picture is smaller than your camera gives.",
});

/** @param {number} bitsPerSecond */
export function rate(bitsPerSecond) {
  if (bitsPerSecond >= 999_500) return `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1000)} kbit/s`;
}

/** @param {number} seconds */
function milliseconds(seconds) {
  return `${Math.round(1000 * seconds)} ms`;
}

/** @param {number} share */
function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

/**
 * @param {object} of
 * @param {boolean} of.self
 * @param {Flow[]} of.flows this person's streams
 * @param {OwnLine | null} of.line our own
 * @param {number | null} of.estimate bit/s that our line carries to us, as the worker thinks
 * @param {Told | null} of.told
 * @returns {Described}
 */
export function describeConnection({ self, flows, line, estimate, told }) {
  const streams = flows.map((flow) => ({ name: SOURCES[flow.source], facts: factsOf(flow) }));
  if (self) return { note: noteOf(line), facts: line ? factsOfLine(line, estimate) : [], streams };
  if (told) return { note: `Measured by their own browser${streams.length ? "; below, what of theirs reaches you" : ""}.`, facts: factsTold(told), streams };
  return { note: streams.length ? "" : "Nothing of theirs is received at this moment.", facts: [], streams };
}

/** @param {OwnLine | null} line */
function noteOf(line) {
  return line ? (LIMITS[line.limitedBy] ?? "") : "Nothing is sent or received at this moment.";
}

/** @param {OwnLine} line @param {number | null} estimate @returns {Facts} */
function factsOfLine(line, estimate) {
  return [
    ["Received", rate(line.bitrateIn)], ["Sent", rate(line.bitrateOut)], ["Loss", percent(line.loss)],
    ["Round trip", milliseconds(line.rtt)], ["Jitter", milliseconds(line.jitter)],
    ...(estimate ? /** @type {Facts} */ ([["Line carries", `about ${rate(estimate)}`]]) : []),
    ...(line.path ? /** @type {Facts} */ ([["Path", PATHS[line.path] ?? line.path]]) : []),
  ];
}

/** @param {Told} told @returns {Facts} */
function factsTold({ bitrate, packet_loss, rtt, jitter, path, score, limited_by }) {
  /** @type {Facts} */
  const facts = [];
  if (bitrate !== undefined) facts.push(["Bitrate", rate(bitrate)]);
  if (packet_loss !== undefined) facts.push(["Loss", percent(packet_loss / 100)]);
  if (rtt !== undefined) facts.push(["Round trip", milliseconds(rtt / 1000)]);
  if (jitter !== undefined) facts.push(["Jitter", milliseconds(jitter / 1000)]);
  if (path !== undefined) facts.push(["Path", PATHS[path] ?? path]);
  if (score !== undefined) facts.push(["Sound quality", `${score.toFixed(1)} of 4.4`]);
  if (limited_by === "cpu") facts.push(["Device", "busy"]);
  return facts;
}

/** @param {Flow} flow @returns {Facts} */
function factsOf(flow) {
  /** @type {Facts} */
  const facts = [["Bitrate", rate(flow.bitrate)], ["Loss", percent(flow.loss)]];
  if (flow.rtt) facts.push(["Round trip", milliseconds(flow.rtt)]);
  facts.push(["Jitter", milliseconds(flow.jitter)]);
  if (flow.frameHeight) facts.push(["Resolution", `${flow.frameWidth} × ${flow.frameHeight}`]);
  if (flow.frameHeight && flow.fps) facts.push(["Frames", `${Math.round(flow.fps)} a second`]);
  if (flow.codec) facts.push(["Codec", flow.codec]);
  if (flow.layer) facts.push(["Layer", `${flow.layer.spatial + 1}${flow.layer.temporal === null ? "" : `, temporal ${flow.layer.temporal + 1}`}`]);
  return facts;
}

/** @param {string} title @param {string} words @param {Described} described @returns {string} for the clipboard */
export function asText(title, words, { note, facts, streams }) {
  const lines = (/** @type {Facts} */ list) => list.map(([name, value]) => `${name}: ${value}`);
  return [
    `${title}: ${words}`, ...(note ? [note] : []), ...lines(facts), ...streams.map((stream) => `${stream.name}: ${lines(stream.facts).join(", ")}`),
  ].join("\n");
}
