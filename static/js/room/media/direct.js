// @ts-check
/**
 * While two are alone in class their media go directly, and come back to the worker when that ends or breaks. Both ways
 * the new path carries the pictures before the old one is let go, and the worker keeps its producers and consumers.
 *
 *   off -> connecting: both paths carry, the worker's is shown
 *       -> direct: each shows the direct path, tells the other so, and rests what the other needs no more
 *       -> returning: fed to the worker again, shown from there as soon as it arrives
 */
import { DirectLink, SOURCES } from "./direct_link.js";
import { limitsFor, lookIn } from "./direct_looks.js";
import { DirectNumbers } from "./direct_numbers.js";

/**
 * @typedef {import('../types.js').Source} Source
 * @typedef {import('../types.js').Request} Request
 * @typedef {import('./receive.js').Look} Look
 * @typedef {import('./receive.js').Received} Received
 * @typedef {import('./direct_link.js').Signal} Signal
 * @typedef {{pair: string | null, participants: string[] | null}} Pair
 * @typedef {'off' | 'connecting' | 'direct' | 'returning'} DirectState
 */

export const LOOK_EVERY = 100; // ms
const STALLED = 400; // ms without a packet of what should come: the worker's path is there, so there is no need to hope
const SUSPECT = 150; // ms without one: whoever hears nothing is likely not heard, so the worker is fed again meanwhile
const CONNECT_WITHIN = 10_000; // ms, as an offer takes over a slow socket and the checks over a poor line
const RETURN_WITHIN = 3000; // ms: then the worker's path is taken as it is
const EARLY = 64; // signals kept of a pair that we were not told of yet

export class Direct {
  #sender;
  #receiver;
  #request;
  #makeConnection;
  #makeStream;
  #now;
  #every;
  /** @type {DirectState} */
  #state = "off";
  /** @type {string | null} */
  #pair = null;
  #other = "";
  /** @type {DirectLink | null} */
  #link = null;
  /** @type {() => void} */
  #stopLooking = () => {};
  #since = 0;
  #looking = false;
  #theyShow = false;
  /** @type {{bytes: number, at: number}} */
  #flow = { bytes: 0, at: 0 };
  /** @type {Map<string, number>} by producer id: what had come by the worker when we began to return, or to suspect that we shall */
  #before = new Map();
  /** @type {string} */
  #toldLooks = "";
  /** @type {Map<Source, Look | null>} */
  #theirLooks = new Map();
  /** @type {{pair: string, signal: Signal}[]} */
  #early = [];
  #numbers = new DirectNumbers();

  /**
   * @param {object} parts
   * @param {import('./send.js').Sender} parts.sender
   * @param {import('./receive.js').Receiver} parts.receiver
   * @param {Request} parts.request
   * @param {((configuration: RTCConfiguration) => RTCPeerConnection) | null} parts.makeConnection null: always by the worker
   * @param {() => MediaStream} [parts.makeStream]
   * @param {() => number} [parts.now] ms
   * @param {(look: () => void, ms: number) => () => void} [parts.every] -> ends it
   */
  constructor({
    sender, receiver, request, makeConnection, makeStream = () => new MediaStream(), now = () => performance.now(), every = repeat,
  }) {
    this.#sender = sender;
    this.#receiver = receiver;
    this.#request = request;
    this.#makeConnection = makeConnection;
    this.#makeStream = makeStream;
    this.#now = now;
    this.#every = every;
    sender.on("change", () => this.#send());
    receiver.on("consumed", ({ producer }) => {
      if (this.#state === "direct") this.#show(this.#receiver.entry(producer.producer_id));
    });
  }

  get state() {
    return this.#state;
  }

  /** Whose media come directly at the moment, and only so; "" for nobody's. */
  get partner() {
    return this.#state === "direct" ? this.#other : "";
  }

  /** The server decided who is connected directly. @param {Pair} pair @param {{self: string, iceServers: RTCIceServer[]}} about */
  changed({ pair, participants }, { self, iceServers }) {
    if (pair === this.#pair) return;
    const other = participants?.includes(self) ? participants.find((id) => id !== self) : undefined;
    this.#pair = other ? pair : null;
    if (!other || !pair || !participants) {
      this.#goBack();
      return;
    }
    this.#end();
    if (!this.#makeConnection) {
      this.#tellFailed(pair);
      return;
    }
    this.#other = other;
    this.#begin(this.#makeConnection, iceServers, participants[0] !== self);
    const early = this.#early.filter((each) => each.pair === pair);
    this.#early = [];
    for (const { signal } of early) void this.#link?.receive(signal);
  }

  /** @param {{pair: string} & Signal} data */
  signal({ pair, description, candidate }) {
    if (pair === this.#pair) void this.#link?.receive({ description, candidate });
    else this.#early = [...this.#early.slice(1 - EARLY), { pair, signal: { description, candidate } }];
  }

  /**
   * The worker is gone with its producers and consumers. What goes directly does not notice; but where the worker is still
   * needed beside it, or again, the two stay with the worker.
   */
  mediaGone() {
    if (this.#state === "direct") return;
    if (this.#link && this.#pair) this.#tellFailed(this.#pair);
    this.#end();
  }

  /** The class is over for us. */
  close() {
    this.#pair = null;
    this.#early = [];
    this.#numbers.clear();
    this.#end();
  }

  /**
   * What passed directly of a stream.
   * @param {string} participant
   * @param {Source} source
   * @param {'send' | 'recv'} direction
   */
  numbers(participant, source, direction) {
    const shown = direction === "send" ? this.#theyShow : this.#state === "direct" && participant === this.#other;
    return this.#numbers.of(direction === "send" ? "" : participant, source, shown);
  }

  /** @param {(configuration: RTCConfiguration) => RTCPeerConnection} makeConnection @param {RTCIceServer[]} iceServers @param {boolean} polite */
  #begin(makeConnection, iceServers, polite) {
    const pair = this.#pair;
    this.#state = "connecting";
    this.#since = this.#now();
    const link = (this.#link = new DirectLink({
      makeConnection, makeStream: this.#makeStream, iceServers, polite,
      signal: (signal) => this.#request("p2p:signal", { participant_id: this.#other, pair, ...signal }).catch(() => {}),
    }));
    link.on("broken", () => link === this.#link && this.#fail());
    link.on("told", (message) => link === this.#link && this.#hear(message));
    this.#send();
    this.#stopLooking = this.#every(() => void this.look(), LOOK_EVERY);
  }

  /** One look at what arrives. */
  async look() {
    const link = this.#link;
    if (!link || this.#looking) return;
    this.#looking = true;
    try {
      const stats = await link.getStats();
      const suspicious = this.#state === "direct" && this.#now() - this.#flow.at >= SUSPECT;
      const here = suspicious || this.#state === "returning" ? await this.#receiver.arrived() : null;
      if (link !== this.#link) return;
      this.#numbers.take(this.#other, stats);
      if (this.#state === "connecting") this.#lookConnecting(link);
      else if (this.#state === "direct") this.#lookDirect(link, here);
      if (this.#state === "returning" && here) this.#lookReturning(link, here);
    } finally {
      this.#looking = false;
    }
  }

  /** @param {DirectLink} link */
  #lookConnecting(link) {
    if (link.ready) this.#tellLooks(link);
    const expected = this.#expected();
    if (link.ready && expected && expected.every((received) => this.#comes(received.producer.source))) {
      this.#state = "direct";
      this.#flow = { bytes: 0, at: this.#now() };
      for (const received of this.#receiver.received) this.#show(received);
      link.tell({ shown: true });
    } else if (this.#now() - this.#since > CONNECT_WITHIN) this.#fail();
  }

  /** @param {DirectLink} link @param {Map<string, number> | null} here what has come by the worker, where that is of interest */
  #lookDirect(link, here) {
    this.#tellLooks(link);
    // A still screen sends nothing for seconds; voices and cameras never stop.
    const steady = (this.#expected() ?? []).filter(({ producer }) => producer.source === "microphone" || producer.source === "camera");
    const bytes = steady.reduce((total, { producer }) => total + (this.#numbers.received(producer.source)?.bytesReceived ?? 0), 0);
    const now = this.#now();
    if (bytes !== this.#flow.bytes || !steady.length) this.#flow = { bytes, at: now };
    const silent = now - this.#flow.at;
    if (silent < SUSPECT) this.#before.clear();
    else if (here && !this.#before.size) this.#before = here;
    if (silent >= STALLED) this.#fail();
    else this.#sender.rest(this.#theyShow && silent < SUSPECT);
  }

  /** @param {DirectLink} link @param {Map<string, number>} here what has come by the worker, by producer id */
  #lookReturning(link, here) {
    const late = this.#now() - this.#since > RETURN_WITHIN;
    for (const received of this.#receiver.received) {
      const { producer_id: id, paused } = received.producer;
      if (!received.direct) continue;
      const came = here.get(id) ?? 0;
      if (!this.#before.has(id)) this.#before.set(id, came);
      if (paused || received.paused || late || came > (this.#before.get(id) ?? 0)) this.#receiver.divert(id, null);
    }
    if (this.#receiver.received.some(({ direct }) => direct)) return;
    link.tell({ shown: false });
    if (!this.#theyShow || late) this.#end();
  }

  /** The other's streams that should come now; null while one of them has no consumer yet. @returns {Received[] | null} */
  #expected() {
    const wanted = this.#receiver.wanted.filter((producer) => producer.participant_id === this.#other && !producer.paused);
    const found = wanted.map((producer) => this.#receiver.entry(producer.producer_id));
    if (found.some((received) => !received)) return null;
    return /** @type {Received[]} */ (found).filter((received) => !received.paused);
  }

  /** @param {Source} source */
  #comes(source) {
    const stat = this.#numbers.received(source);
    return (stat?.kind === "video" ? stat.framesDecoded : stat?.packetsReceived) > 0;
  }

  /** @param {Received | undefined} received */
  #show(received) {
    if (!received || received.direct || received.producer.participant_id !== this.#other) return;
    const receiver = this.#link?.receiver(received.producer.source);
    if (receiver) this.#receiver.divert(received.producer.producer_id, receiver);
  }

  /** Put our tracks on the connection as they are now: what is muted is not there. */
  #send() {
    const link = this.#link;
    if (!link) return;
    for (const source of SOURCES) {
      const track = this.#sender.onAir(source);
      if (track?.kind === "video") link.setLimits(source, limitsFor(source, track, this.#theirLooks.get(source)));
      link.setTrack(source, track);
    }
  }

  /** What the other page says. @param {Record<string, any>} message */
  #hear(message) {
    if (typeof message.shown === "boolean") {
      this.#theyShow = message.shown;
      this.#sender.rest(this.#theyShow && this.#state !== "returning");
    }
    if (message.looks && typeof message.looks === "object") {
      for (const source of /** @type {Source[]} */ (["camera", "screen"])) {
        if (source in message.looks) this.#theirLooks.set(source, lookIn(message.looks[source]));
      }
      this.#send();
    }
  }

  /** How large the other's pictures are shown here. @param {DirectLink} link */
  #tellLooks(link) {
    /** @type {Record<string, Look | null>} */
    const looks = {};
    for (const producer of this.#receiver.wanted) {
      if (producer.participant_id !== this.#other || producer.kind !== "video") continue;
      const look = this.#receiver.lookOf(producer);
      looks[producer.source] = look && { width: look.width, height: look.height };
    }
    const text = JSON.stringify(looks);
    if (text === this.#toldLooks) return;
    this.#toldLooks = text;
    link.tell({ looks });
  }

  #fail() {
    if (this.#pair) this.#tellFailed(this.#pair);
    const before = this.#before;
    this.#goBack();
    this.#before = before; // what came by the worker since the first suspicion is there to be shown
  }

  /** The server takes the other one back too. @param {string} pair */
  #tellFailed(pair) {
    this.#request("p2p:failed", { pair }).catch(() => {});
  }

  /** To the worker, without a gap. */
  #goBack() {
    if (this.#state === "connecting") this.#end();
    if (this.#state !== "direct") return;
    this.#state = "returning";
    this.#since = this.#now();
    this.#before = new Map();
    this.#sender.rest(false);
    void this.look();
  }

  #end() {
    const link = this.#link;
    this.#state = "off";
    if (!link) return;
    this.#stopLooking();
    this.#link = null;
    for (const received of this.#receiver.received) if (received.direct) this.#receiver.divert(received.producer.producer_id, null);
    this.#sender.rest(false);
    this.#numbers.closed();
    this.#theyShow = false;
    this.#toldLooks = "";
    this.#theirLooks.clear();
    link.close();
  }
}

/** @param {() => void} look @param {number} ms */
function repeat(look, ms) {
  const timer = setInterval(look, ms);
  return () => clearInterval(timer);
}
