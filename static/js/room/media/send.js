// @ts-check
/**
 * What this browser sends. It keeps what is wanted (a track for each source, muted or not) apart from what a link
 * carries, so that after a break everything is sent anew from the same tracks.
 */
import { retryDelay } from "../backoff.js";
import { Emitter } from "../emitter.js";
import { cameraEncodings, SCREEN_ENCODINGS } from "./device_state.js";

/**
 * @typedef {import('mediasoup-client').types.Producer} Producer
 * @typedef {import('../types.js').Source} Source
 * @typedef {import('../types.js').Request} Request
 * @typedef {import('./link.js').MediaLink} MediaLink
 * @typedef {{track: MediaStreamTrack, paused: boolean, untold: boolean}} Wanted `untold`: the server does not know of the last pause or resume
 * @typedef {{change: {source: Source}, refused: {source: Source, code: string, message: string}}} SenderEvents
 */

/** A screen has its own stream: players keep in step what shares one, and lips go with the voice, not with slides. */
const STREAMS = { microphone: "person", camera: "person", screen: "screen", screen_audio: "screen" };

/** Refusals that pass: a worker that stumbles, or one that has not heard yet that the last link's streams are gone. */
const PASSING = new Set(["media_unavailable", "wrong_state", "rate_limited", "internal"]);
const TRIES = 6;

/** Every browser decodes it, also in software: whoever joins later sees the picture. */
const VP8 = "video/vp8";

/** @extends {Emitter<SenderEvents>} */
export class Sender extends Emitter {
  /** Of pictures that are switched on from now on; VP8 where this browser lacks it, and where frames are encrypted. */
  codec = VP8;
  #request;
  #encryption;
  /** @type {MediaLink | null} */
  #link = null;
  /** @type {Map<Source, Wanted>} */
  #wanted = new Map();
  /** @type {Map<Source, Producer>} */
  #producers = new Map();
  /** @type {Map<Source, Promise<any>>} one step after the other, for each source */
  #queues = new Map();
  #resting = false;

  /** @param {Request} request @param {import('./encryption.js').Encryption | null} [encryption] */
  constructor(request, encryption = null) {
    super();
    this.#request = request;
    this.#encryption = encryption;
  }

  /** @param {Source} source */
  isSending(source) {
    return this.#wanted.get(source)?.paused === false;
  }

  /** @param {Source} source */
  has(source) {
    return this.#wanted.has(source);
  }

  /** What is sent of that source at this moment. @param {Source} source @returns {MediaStreamTrack | null} */
  onAir(source) {
    const wanted = this.#wanted.get(source);
    return wanted && !wanted.paused ? wanted.track : null;
  }

  /** Feed the worker nothing for as long as nobody needs it; producers and their rights stay. @param {boolean} resting */
  rest(resting) {
    if (resting === this.#resting) return;
    this.#resting = resting;
    for (const source of this.#producers.keys()) void this.#inTurn(source, () => this.#feed(source)).catch(() => {});
  }

  /** @param {Source} source */
  async #feed(source) {
    const producer = this.#producers.get(source);
    const wanted = this.#wanted.get(source);
    if (!producer || producer.closed || !wanted) return;
    const track = this.#resting ? null : wanted.track;
    if (producer.track !== track) await producer.replaceTrack({ track });
  }

  get producers() {
    return [...this.#producers].map(([source, producer]) => ({ source, producer }));
  }

  /** @param {string} producerId @returns {Source | undefined} */
  sourceOf(producerId) {
    return this.producers.find(({ producer }) => producer.id === producerId)?.source;
  }

  /**
   * Send a track, in place of the source's last one.
   * @param {Source} source
   * @param {MediaStreamTrack} track
   * @param {{paused?: boolean}} [how] who chooses another microphone while muted stays muted
   * @returns {Promise<void>} when it is sent; rejects when the server forbids it
   */
  publish(source, track, { paused = false } = {}) {
    const before = this.#wanted.get(source);
    this.#wanted.set(source, { track, paused, untold: before?.paused === paused ? before.untold : true });
    this.emit("change", { source });
    return this.#inTurn(source, () => this.#send(source));
  }

  /** @param {Source} source @returns {Promise<void>} */
  unpublish(source) {
    this.#wanted.delete(source);
    this.emit("change", { source });
    return this.#inTurn(source, async () => {
      const producer = this.#producers.get(source);
      if (!producer || this.#wanted.has(source)) return;
      this.#producers.delete(source);
      producer.close();
      await this.#request("produce:close", { producer_id: producer.id }).catch(() => {});
    });
  }

  /** Stop the media and keep the track. @param {Source} source @returns {Promise<void>} */
  pause(source) {
    return this.#setPaused(source, true);
  }

  /** @param {Source} source @returns {Promise<void>} rejects when the server forbids it */
  resume(source) {
    return this.#setPaused(source, false);
  }

  /** A host muted us: the worker has stopped the media already. @param {Source} source */
  pausedByHost(source) {
    const wanted = this.#wanted.get(source);
    if (!wanted || wanted.paused) return;
    wanted.paused = true;
    wanted.untold = false;
    wanted.track.enabled = false;
    this.#producers.get(source)?.pause();
    this.emit("change", { source });
  }

  /** @param {MediaLink} link */
  async attach(link) {
    this.#link = link;
    this.#producers.clear();
    // Pictures first: Chromium probes the way up once, as soon as there is one, and needs video packets for it. With a
    // voice alone there it learns nothing, and a camera climbs to its best layer in 15 s instead of 3.
    const sources = [...this.#wanted].sort(([, a], [, b]) => rank(a.track) - rank(b.track)).map(([source]) => source);
    await Promise.allSettled(sources.map((source) => this.#inTurn(source, () => this.#send(source))));
  }

  /** The link is gone with all producers; tracks and wishes stay. */
  detach() {
    this.#link = null;
    this.#producers.clear();
  }

  /** Nothing is to be sent any more. */
  clear() {
    this.#wanted.clear();
  }

  /**
   * After the socket came back: send anew what the worker no longer has, and tell it what changed meanwhile.
   * @param {{producer_id: string, paused?: boolean}[]} alive
   */
  async reconcile(alive) {
    const known = new Map(alive.map((producer) => [producer.producer_id, producer]));
    for (const { source, producer } of this.producers) {
      if (!known.has(producer.id)) {
        this.#producers.delete(source);
        producer.close();
      }
    }
    const strangers = [...known.keys()].filter((id) => !this.sourceOf(id));
    // One of them may be what a request that was just answered is about to set up.
    if (strangers.length) await Promise.allSettled(this.#queues.values());
    for (const id of strangers) {
      if (!this.sourceOf(id)) await this.#request("produce:close", { producer_id: id }).catch(() => {});
    }
    for (const [source, wanted] of this.#wanted) {
      const producer = this.#producers.get(source);
      const pausedThere = known.get(producer?.id ?? "")?.paused ?? wanted.paused;
      if (!producer) await this.#inTurn(source, () => this.#send(source)).catch(() => {});
      else if (pausedThere && !wanted.paused && !wanted.untold) this.pausedByHost(source); // while we were away
      else if (pausedThere !== wanted.paused) await this.#inTurn(source, () => this.#tellPaused(source)).catch(() => {});
    }
  }

  /** @param {Source} source @param {boolean} paused */
  #setPaused(source, paused) {
    const wanted = this.#wanted.get(source);
    if (!wanted || wanted.paused === paused) return Promise.resolve();
    wanted.paused = paused;
    wanted.untold = true;
    const producer = this.#producers.get(source);
    if (paused) {
      producer?.pause(); // silent at once, whatever the network does
      wanted.track.enabled = false; // and on whatever path
    }
    this.emit("change", { source });
    return this.#inTurn(source, () => this.#tellPaused(source));
  }

  /** @param {Source} source */
  async #tellPaused(source) {
    const wanted = this.#wanted.get(source);
    const producer = this.#producers.get(source);
    if (!wanted || !producer || producer.closed) return;
    const { paused } = wanted;
    try {
      await this.#request(paused ? "produce:pause" : "produce:resume", { producer_id: producer.id });
      if (wanted.paused === paused) wanted.untold = false;
      if (!wanted.paused) {
        producer.resume();
        wanted.track.enabled = true;
      }
    } catch (error) {
      this.#judge(source, error);
    }
  }

  /** @param {Source} source @param {number} [attempt] */
  async #send(source, attempt = 0) {
    const wanted = this.#wanted.get(source);
    const link = this.#link;
    if (!wanted || !link || link.closed) return; // attach() sends it when there is a link
    const current = this.#producers.get(source);
    if (current && !current.closed) {
      await this.#feed(source).catch((error) => this.#judge(source, error));
      if (current.paused !== wanted.paused) await this.#tellPaused(source);
      return;
    }
    try {
      const producer = await link.send.produce({
        ...produceOptions(source, wanted, link, this.#encryption ? VP8 : this.codec), stopTracks: false, onRtpSender: (sender) => this.#encryption?.encrypt(sender, source),
      });
      if (link !== this.#link || this.#wanted.get(source) !== wanted) {
        producer.close();
        await this.#request("produce:close", { producer_id: producer.id }).catch(() => {});
        if (link === this.#link) await this.#send(source);
        return;
      }
      this.#producers.set(source, producer);
      if (wanted.paused) producer.pause();
      if (this.#resting) await this.#feed(source);
    } catch (error) {
      if (!PASSING.has(/** @type {{code?: string}} */ (error).code ?? "") || attempt >= TRIES) return this.#judge(source, error);
      setTimeout(() => {
        if (link === this.#link) this.#inTurn(source, () => this.#send(source, attempt + 1));
      }, retryDelay(attempt));
      return;
    }
    const producer = this.#producers.get(source);
    if (!producer) return;
    if (wanted.paused !== Boolean(producer.appData.paused)) await this.#tellPaused(source);
    else {
      wanted.untold = false;
      if (!wanted.paused) producer.resume(); // a mute before there was this producer has silenced the track
    }
    this.emit("change", { source });
  }

  /** A refusal ends the wish; a broken line does not. @param {Source} source @param {any} error */
  #judge(source, error) {
    const code = error?.code;
    if (!code || code === "disconnected" || code === "timeout" || code === "not_found" || PASSING.has(code)) {
      if (!code && this.#link && !this.#link.closed) throw error;
      return;
    }
    const wanted = this.#wanted.get(source);
    if (this.#producers.has(source) && wanted) wanted.paused = true;
    else this.#wanted.delete(source);
    this.#producers.get(source)?.pause();
    this.emit("change", { source });
    this.emit("refused", { source, code, message: error.message });
    throw error;
  }

  /**
   * @param {Source} source
   * @param {() => Promise<void>} step
   * @returns {Promise<void>}
   */
  #inTurn(source, step) {
    const turn = (this.#queues.get(source) ?? Promise.resolve()).catch(() => {}).then(step);
    this.#queues.set(source, turn);
    turn.catch(() => {});
    return turn;
  }
}

/** @param {MediaStreamTrack} track @returns {number} what is sent first on a new link: the lowest */
function rank(track) {
  return track.kind === "video" ? 0 : 1;
}

/**
 * @param {Source} source
 * @param {Wanted} wanted
 * @param {MediaLink} link
 * @param {string} format the codec of pictures
 */
function produceOptions(source, { track, paused }, link, format) {
  const options = {
    track, streamId: STREAMS[source], appData: { source, paused },
    // An unpaused track must run even when the wish is to begin paused: resume() enables it again.
    disableTrackOnPause: true,
  };
  if (track.kind === "audio") {
    // A lost packet is asked for again, and mended out of the next one where there is no time for that. Silence is not
    // sent, but for music, whose quiet places are no silence.
    const music = source === "screen_audio";
    return { ...options, codecOptions: { opusFec: true, opusNack: true, opusDtx: !music, opusStereo: music } };
  }
  const known = link.device.sendRtpCapabilities.codecs ?? [];
  const [codec] = [format, VP8].flatMap((name) => known.filter((each) => each.mimeType.toLowerCase() === name));
  const { width = 640, height = 360 } = track.getSettings();
  const encodings = source === "screen" ? [...SCREEN_ENCODINGS] : cameraEncodings(width, height);
  return { ...options, encodings, ...(codec ? { codec } : {}), codecOptions: { videoGoogleStartBitrate: 600 } };
}
