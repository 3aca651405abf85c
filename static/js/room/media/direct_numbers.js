// @ts-check
/** What passed directly, of links open and closed: a stream's counts never fall when it changes its path. */

/**
 * @typedef {import('../types.js').Source} Source
 * @typedef {{recv: Map<Source, any>, send: Map<Source, any>, rtt: number}} LinkStats
 * @typedef {{framesDecoded: number, bytes: number, packets: number, packetsLost: number}} Counts
 */

/** @type {Counts} */
const NOTHING = { framesDecoded: 0, bytes: 0, packets: 0, packetsLost: 0 };

export class DirectNumbers {
  #from = "";
  /** @type {LinkStats | null} */
  #last = null;
  /** @type {Map<string, Counts>} of links that are closed: from whom (nobody: from us) and of what */
  #past = new Map();

  /** @param {string} from whom the received come @param {LinkStats} stats */
  take(from, stats) {
    this.#from = from;
    this.#last = stats;
  }

  /** @param {Source} source @returns {any} the browser's own numbers */
  received(source) {
    return this.#last?.recv.get(source);
  }

  /** The link is closed: what it counted is kept. */
  closed() {
    for (const [source, stat] of this.#last?.recv ?? []) this.#keep(keyOf(this.#from, source), stat);
    for (const [source, stat] of this.#last?.send ?? []) this.#keep(keyOf("", source), stat);
    this.#last = null;
  }

  clear() {
    this.#past.clear();
    this.#last = null;
  }

  /**
   * @param {string} from participant id, or nothing for our own
   * @param {Source} source
   * @param {boolean} shown is this the path that counts now?
   * @returns {Counts & {now: any, rtt: number}} `now`: the browser's own numbers
   */
  of(from, source, shown) {
    const past = this.#past.get(keyOf(from, source)) ?? NOTHING;
    const current = from ? (from === this.#from ? this.#last?.recv.get(source) : null) : this.#last?.send.get(source);
    return { ...sum(past, countsOf(current)), now: shown ? current ?? null : null, rtt: this.#last?.rtt ?? 0 };
  }

  /** @param {string} key @param {any} stat */
  #keep(key, stat) {
    this.#past.set(key, sum(this.#past.get(key) ?? NOTHING, countsOf(stat)));
  }
}

/** @param {string} from @param {Source} source */
function keyOf(from, source) {
  return `${from}/${source}`;
}

/** @param {any} stat inbound-rtp or outbound-rtp @returns {Counts} */
function countsOf(stat) {
  if (!stat) return NOTHING;
  return {
    framesDecoded: stat.framesDecoded ?? stat.framesEncoded ?? 0,
    bytes: stat.bytesReceived ?? stat.bytesSent ?? 0,
    packets: stat.packetsReceived ?? stat.packetsSent ?? 0,
    packetsLost: stat.packetsLost ?? stat.remote?.packetsLost ?? 0,
  };
}

/** @param {Counts} a @param {Counts} b @returns {Counts} */
function sum(a, b) {
  return {
    framesDecoded: a.framesDecoded + b.framesDecoded, bytes: a.bytes + b.bytes,
    packets: a.packets + b.packets, packetsLost: a.packetsLost + b.packetsLost,
  };
}
