// @ts-check
/**
 * What this browser receives: a consumer for each stream that others send. It is told the whole list each time and
 * finds the difference itself, so that a late joiner, a late stream and a rebuilt link are all the same case.
 */
import { retryDelay } from "../backoff.js";
import { Emitter } from "../emitter.js";

/**
 * @typedef {import('mediasoup-client').types.Consumer} Consumer
 * @typedef {import('../types.js').ProducerInfo} ProducerInfo
 * @typedef {import('../types.js').Request} Request
 * @typedef {import('./link.js').MediaLink} MediaLink
 * @typedef {{width?: number, height?: number, priority?: number}} Look how large a picture is shown, in device pixels, and how much it matters: 1 to 4
 * @typedef {{producer: ProducerInfo, consumer: Consumer, paused: boolean, starved: boolean, layer: import("./stats.js").Layer | null, told: string, direct: RTCRtpReceiver | null}} Received
 *   `paused`: by us, as nobody looks; `starved`: by the worker, as the line is too thin; `layer`: which the worker sends, as far
 *   as it said; `told`: the look that the worker knows of; `direct`: what is shown in place of the consumer, past the worker
 * @typedef {{
 *   track: {producer: ProducerInfo, track: MediaStreamTrack},
 *   consumed: {producer: ProducerInfo},
 *   gone: {producer: ProducerInfo},
 *   layers: {producer: ProducerInfo, starved: boolean},
 * }} ReceiverEvents
 */

const TRIES = 6; // then a stream counts as gone until the list changes
const CALM = 300; // ms without a change before sizes are told: a window that is dragged is not told of pixel by pixel

/** @extends {Emitter<ReceiverEvents>} */
export class Receiver extends Emitter {
  #request;
  #encryption;
  /** @type {MediaLink | null} */
  #link = null;
  /** @type {Map<string, ProducerInfo>} */
  #wanted = new Map();
  /** @type {Map<string, Received>} by producer id */
  #received = new Map();
  /** @type {Set<string>} producer ids being consumed or waiting for another try */
  #busy = new Set();
  /** @type {(producer: ProducerInfo) => Look | null} */
  #look = () => ({});
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #calm;

  /** @param {Request} request @param {import('./encryption.js').Encryption | null} [encryption] */
  constructor(request, encryption = null) {
    super();
    this.#request = request;
    this.#encryption = encryption;
  }

  get received() {
    return [...this.#received.values()];
  }

  /** Whether something should arrive: nobody has paused it, at either end. */
  get expects() {
    return this.received.some(({ producer, consumer }) => !producer.paused && !consumer.paused);
  }

  get wanted() {
    return [...this.#wanted.values()];
  }

  /** @param {string} producerId */
  entry(producerId) {
    return this.#received.get(producerId);
  }

  /** @param {ProducerInfo} producer @returns {Look | null} */
  lookOf(producer) {
    return this.#look(producer);
  }

  /** @param {ProducerInfo[]} producers of all others, as the room has them now */
  want(producers) {
    this.#wanted = new Map(producers.map((producer) => [producer.producer_id, producer]));
    for (const id of [...this.#received.keys()]) {
      if (this.#wanted.has(id)) continue;
      this.#bequeath(id, producers);
      this.#drop(id);
    }
    for (const [id, received] of this.#received) {
      received.producer = /** @type {ProducerInfo} */ (this.#wanted.get(id));
      this.#obey(received);
    }
    this.#consumeMissing();
  }

  /**
   * Show what comes past the worker in place of the consumer; null: the consumer again.
   * @param {string} producerId
   * @param {RTCRtpReceiver | null} direct
   */
  divert(producerId, direct) {
    const received = this.#received.get(producerId);
    if (!received || received.direct === direct) return;
    received.direct = direct;
    this.#obey(received);
    this.emit("track", { producer: received.producer, track: direct?.track ?? received.consumer.track });
    if (received.starved) this.emit("layers", { producer: received.producer, starved: !direct });
  }

  /** The worker cannot keep back what a host has muted when it does not come by the worker: then it is done here. @param {Received} received */
  #obey({ producer, direct }) {
    if (direct) direct.track.enabled = !producer.paused;
  }

  /** What comes past the worker is shown on when its producer gets another id. @param {string} id @param {ProducerInfo[]} producers */
  #bequeath(id, producers) {
    const { producer, direct } = /** @type {Received} */ (this.#received.get(id));
    const heir = direct && producers.find(({ participant_id, source }) => participant_id === producer.participant_id && source === producer.source);
    if (!heir || this.#received.has(heir.producer_id)) return;
    direct.track.enabled = !heir.paused;
    this.emit("track", { producer: heir, track: direct.track });
  }

  /** What has come by the worker: frames of pictures, packets of voices, by producer id. @returns {Promise<Map<string, number>>} */
  async arrived() {
    /** @type {Map<string, number>} */
    const result = new Map();
    if (!this.#link || this.#link.closed) return result;
    const report = await this.#link.recv.getStats();
    const ids = new Map(this.received.map(({ producer, consumer }) => [consumer.track.id, producer.producer_id]));
    report.forEach((/** @type {any} */ stat) => {
      const id = stat.type === "inbound-rtp" && ids.get(stat.trackIdentifier);
      if (id) result.set(id, (stat.kind === "video" ? stat.framesDecoded : stat.packetsReceived) ?? 0);
    });
    return result;
  }

  /**
   * Receive what is looked at, no larger than it is shown. Null saves what nobody sees: pictures on another page of the
   * grid, or all cameras on a thin line. Voices are always heard.
   * @param {(producer: ProducerInfo) => Look | null} look
   */
  lookAt(look) {
    this.#look = look;
    for (const received of this.#received.values()) void this.#matchPause(received);
    this.#tellSoon();
  }

  /**
   * The worker chose other layers for us. None at all means that the line carries nothing of this picture for now.
   * @param {{consumer_id: string, spatial: number | null, temporal?: number | null}} change
   */
  layers({ consumer_id, spatial, temporal }) {
    const received = this.received.find(({ consumer }) => consumer.id === consumer_id);
    const starved = spatial === null;
    if (!received) return;
    received.layer = spatial === null ? null : { spatial, temporal: temporal ?? null };
    if (received.starved === starved) return;
    received.starved = starved;
    if (!received.direct) this.emit("layers", { producer: received.producer, starved });
  }

  /** @param {MediaLink} link */
  attach(link) {
    this.detach();
    this.#link = link;
    this.#consumeMissing();
  }

  /** The link is gone with all consumers; the list of wanted streams stays, and what does not come by the worker. */
  detach() {
    this.#link = null;
    clearTimeout(this.#calm);
    this.#busy.clear();
    for (const id of [...this.#received.keys()]) this.#lose(id);
  }

  /** @param {{consumer_id: string}[]} alive what the worker still has of ours after the socket came back */
  reconcile(alive) {
    const known = new Set(alive.map((consumer) => consumer.consumer_id));
    for (const [id, { consumer }] of this.#received) if (!known.has(consumer.id)) this.#lose(id);
    const ours = new Set(this.received.map(({ consumer }) => consumer.id));
    for (const id of known) if (!ours.has(id)) this.#request("consumer:close", { consumer_id: id }).catch(() => {});
    // A resume that was lost with the socket costs one more request, a stream that stays black costs trust.
    for (const received of this.#received.values()) {
      const event = received.paused ? "consumer:pause" : "consumer:resume";
      this.#request(event, { consumer_id: received.consumer.id }).catch(() => {});
      received.told = "";
    }
    this.#tellSoon();
    this.#consumeMissing();
  }

  /** The server closed one. If its producer is still there, it is consumed again. @param {string} consumerId */
  closed(consumerId) {
    for (const [id, { consumer }] of this.#received) if (consumer.id === consumerId) this.#lose(id);
    this.#consumeMissing();
  }

  /** The worker has its consumer no more. @param {string} id */
  #lose(id) {
    const received = this.#received.get(id);
    if (received?.direct) received.consumer.close(); // shown on, and consumed anew beside it
    else this.#drop(id, false);
  }

  #consumeMissing() {
    if (!this.#link) return;
    for (const producer of this.#wanted.values()) {
      const id = producer.producer_id;
      const there = this.#received.get(id)?.consumer.closed === false;
      if (!there && !producer.former && !this.#busy.has(id)) {
        this.#busy.add(id);
        void this.#consume(producer, this.#link, 0);
      }
    }
  }

  /** @param {ProducerInfo} producer @param {MediaLink} link @param {number} attempt */
  async #consume(producer, link, attempt) {
    const id = producer.producer_id;
    const valid = () => link === this.#link && !link.closed && this.#wanted.has(id);
    try {
      const answer = await this.#request("consume", {
        transport_id: link.recv.id, producer_id: id, rtp_capabilities: link.device.recvRtpCapabilities,
      });
      if (!valid()) {
        if (link === this.#link) this.#busy.delete(id);
        await this.#request("consumer:close", { consumer_id: answer.consumer_id }).catch(() => {});
        return;
      }
      const consumer = await link.recv.consume({
        id: answer.consumer_id, producerId: id, kind: answer.kind, rtpParameters: answer.rtp_parameters,
        // A voice and its camera are kept in step; a screen and its sound are a stream of their own.
        streamId: `${producer.participant_id}-${producer.source.startsWith("screen") ? "screen" : "person"}`,
        onRtpReceiver: (receiver) => this.#encryption?.decrypt(receiver, producer),
      });
      this.#busy.delete(id);
      if (!valid()) {
        consumer.close();
        return;
      }
      const current = /** @type {ProducerInfo} */ (this.#wanted.get(id)); // it may have been muted meanwhile
      const received = { producer: current, consumer, paused: true, starved: false, layer: null, told: "", direct: null };
      this.#received.set(id, received);
      this.emit("track", { producer: current, track: consumer.track });
      this.emit("consumed", { producer: current }); // when all have the track: somebody may know a better one
      await this.#matchPause(received);
    } catch (error) {
      const code = /** @type {{code?: string}} */ (error).code;
      if (!valid() || code === "not_found" || code === "disconnected" || attempt >= TRIES) {
        // not_found: it closed meanwhile, and the news is on its way. disconnected: reconcile() asks again.
        if (link === this.#link) this.#busy.delete(id);
        return;
      }
      setTimeout(() => {
        if (valid()) void this.#consume(producer, link, attempt + 1);
        else if (link === this.#link) this.#busy.delete(id);
      }, retryDelay(attempt));
    }
  }

  /** @param {Received} received */
  async #matchPause(received) {
    const paused = received.producer.kind === "video" && this.#look(received.producer) === null;
    if (paused === received.paused || received.consumer.closed) return;
    received.paused = paused;
    if (!paused) this.#tell(received); // first, so that the first picture has the right size already
    if (paused) received.consumer.pause();
    else received.consumer.resume();
    try {
      await this.#request(paused ? "consumer:pause" : "consumer:resume", { consumer_id: received.consumer.id });
    } catch (error) {
      const { code } = /** @type {{code?: string}} */ (error);
      if (code === "not_found") this.closed(received.consumer.id);
    }
  }

  #tellSoon() {
    clearTimeout(this.#calm);
    this.#calm = setTimeout(() => {
      for (const received of this.#received.values()) if (!received.paused) this.#tell(received);
    }, CALM);
  }

  /** @param {Received} received */
  #tell(received) {
    const { width, height, priority } = (received.producer.kind === "video" && this.#look(received.producer)) || {};
    const look = JSON.stringify({ width, height, priority });
    if (!width || look === received.told || received.consumer.closed) return;
    received.told = look;
    this.#request("consumer:prefer", { consumer_id: received.consumer.id, width, height, priority }).catch(() => {});
  }

  /** @param {string} id @param {boolean} [tell] whether the server still has the consumer and is to close it */
  #drop(id, tell = true) {
    const received = this.#received.get(id);
    if (!received) return;
    this.#received.delete(id);
    const { consumer, producer } = received;
    consumer.close();
    this.emit("gone", { producer });
    // Its producer's end closed it at the worker already; only a stream that goes on has to be closed by us.
    if (tell && this.#wanted.has(id)) this.#request("consumer:close", { consumer_id: consumer.id }).catch(() => {});
  }
}
