// @ts-check
/**
 * A connection to the one other person in class, past the media worker. Its four media have a fixed order and are there
 * from the beginning, so that nothing is ever negotiated again: what is switched on or off only changes a track.
 */
import { Emitter } from "../emitter.js";

/**
 * @typedef {import('../types.js').Source} Source
 * @typedef {{description?: RTCSessionDescriptionInit, candidate?: RTCIceCandidateInit}} Signal
 * @typedef {{scaleResolutionDownBy?: number, maxBitrate?: number, active: boolean}} Limits
 * @typedef {{ready: undefined, broken: undefined, told: Record<string, any>}} DirectLinkEvents
 */

/** @type {Source[]} in the order of their media in the description */
export const SOURCES = ["microphone", "camera", "screen", "screen_audio"];
const AGAIN = 2000; // ms: an offer that met nobody (a page that was just being told of us) is made again

/** @extends {Emitter<DirectLinkEvents>} */
export class DirectLink extends Emitter {
  #connection;
  #makeStream;
  #polite;
  #signal;
  /** @type {RTCDataChannel | null} */
  #channel = null;
  /** @type {Map<Source, RTCRtpTransceiver>} */
  #transceivers = new Map();
  /** @type {Map<Source, MediaStreamTrack | null>} */
  #tracks = new Map();
  /** @type {Map<Source, Limits>} */
  #limits = new Map();
  #offering = false;
  #ignoring = false;
  /** @type {Promise<any>} signals are taken one after the other */
  #queue = Promise.resolve();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #again;
  #closed = false;

  /**
   * @param {object} options
   * @param {(configuration: RTCConfiguration) => RTCPeerConnection} options.makeConnection
   * @param {() => MediaStream} options.makeStream
   * @param {RTCIceServer[]} options.iceServers
   * @param {boolean} options.polite gives way when both offer at once; the other one opens the connection
   * @param {(signal: Signal) => void} options.signal to the other person
   */
  constructor({ makeConnection, makeStream, iceServers, polite, signal }) {
    super();
    this.#makeStream = makeStream;
    this.#polite = polite;
    this.#signal = signal;
    const connection = (this.#connection = makeConnection({ iceServers: ownAddressOnly(iceServers), bundlePolicy: "max-bundle" }));
    connection.onicecandidate = ({ candidate }) => candidate && signal({ candidate: candidate.toJSON() });
    connection.onnegotiationneeded = () => void this.#offer();
    connection.onconnectionstatechange = () => this.#judge();
    if (!polite) {
      this.#open();
      this.#again = setInterval(() => this.#connection.localDescription && this.#describe(), AGAIN);
    }
  }

  /** Media and messages pass. */
  get ready() {
    return this.#connection.connectionState === "connected" && this.#channel?.readyState === "open";
  }

  /** @param {Source} source @returns {RTCRtpReceiver | null} */
  receiver(source) {
    return this.#transceivers.get(source)?.receiver ?? null;
  }

  /** Send a track, or nothing, of that source. @param {Source} source @param {MediaStreamTrack | null} track */
  setTrack(source, track) {
    if ((this.#tracks.get(source) ?? null) === track) return;
    this.#tracks.set(source, track);
    this.#apply(source);
  }

  /** How much of a picture is of use to the other one. @param {Source} source @param {Limits} limits */
  setLimits(source, limits) {
    this.#limits.set(source, limits);
    this.#applyLimits(source);
  }

  /** @param {Record<string, any>} message to the page at the other end */
  tell(message) {
    if (this.#channel?.readyState === "open") this.#channel.send(JSON.stringify(message));
  }

  /** What the other person sent. @param {Signal} signal */
  receive(signal) {
    clearInterval(this.#again);
    this.#queue = this.#queue.then(() => (this.#closed ? undefined : this.#take(signal))).catch((error) => {
      console.warn("direct connection:", error);
      this.#break();
    });
    return this.#queue;
  }

  /**
   * The browser's numbers of what passes here, by source.
   * @returns {Promise<{recv: Map<Source, any>, send: Map<Source, any>, rtt: number}>}
   */
  async getStats() {
    const recv = new Map();
    const send = new Map();
    let rtt = 0;
    if (this.#closed) return { recv, send, rtt };
    const report = await this.#connection.getStats();
    const sources = new Map([...this.#transceivers].map(([source, { mid }]) => [mid, source]));
    report.forEach((/** @type {any} */ stat) => {
      const source = sources.get(stat.mid);
      const codec = report.get(stat.codecId)?.mimeType?.split("/")[1];
      if (source && stat.type === "inbound-rtp") recv.set(source, { ...stat, codec });
      if (source && stat.type === "outbound-rtp") send.set(source, { ...stat, codec, remote: report.get(stat.remoteId) });
      if (stat.type === "candidate-pair" && stat.nominated) rtt = Math.max(rtt, stat.currentRoundTripTime ?? 0);
    });
    return { recv, send, rtt };
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#again);
    this.#channel?.close();
    this.#connection.close();
  }

  #open() {
    for (const source of SOURCES) {
      const kind = source === "camera" || source === "screen" ? "video" : "audio";
      this.#adopt(source, this.#connection.addTransceiver(kind, { direction: "sendrecv", streams: [this.#stream(source)] }));
    }
    this.#openChannel();
  }

  /** The other one opened: its media are ours, in the same order. */
  #answerIn() {
    const transceivers = this.#connection.getTransceivers();
    for (const [place, source] of SOURCES.entries()) {
      const transceiver = transceivers[place];
      if (!transceiver || this.#transceivers.has(source)) continue;
      transceiver.direction = "sendrecv";
      transceiver.sender.setStreams?.(this.#stream(source));
      this.#adopt(source, transceiver);
    }
    if (!this.#channel) this.#openChannel();
  }

  /** @type {Map<string, MediaStream>} players keep in step what shares one: lips with the voice, a screen with its sound */
  #streams = new Map();

  /** @param {Source} source @returns {MediaStream} */
  #stream(source) {
    const name = source.startsWith("screen") ? "screen" : "person";
    const stream = this.#streams.get(name) ?? this.#makeStream();
    this.#streams.set(name, stream);
    return stream;
  }

  /** @param {Source} source @param {RTCRtpTransceiver} transceiver */
  #adopt(source, transceiver) {
    this.#transceivers.set(source, transceiver);
    this.#apply(source);
  }

  #openChannel() {
    const channel = (this.#channel = this.#connection.createDataChannel("lectern", { negotiated: true, id: 0 }));
    channel.onopen = () => this.#judge();
    channel.onmessage = ({ data }) => {
      try {
        const message = JSON.parse(data);
        if (message && typeof message === "object") this.emit("told", message);
      } catch {
        // Not from our page: of no meaning to us.
      }
    };
  }

  /** @param {Source} source */
  async #apply(source) {
    const sender = this.#transceivers.get(source)?.sender;
    if (!sender || this.#closed) return;
    try {
      if (this.#tracks.get(source)) await this.#applyLimits(source); // not a packet of what nobody has asked for
      await sender.replaceTrack(this.#tracks.get(source) ?? null);
      await this.#applyLimits(source);
    } catch (error) {
      console.warn("direct connection:", error);
    }
  }

  /** @param {Source} source */
  async #applyLimits(source) {
    const sender = this.#transceivers.get(source)?.sender;
    const limits = this.#limits.get(source);
    if (!sender || !limits || this.#closed) return;
    const parameters = sender.getParameters();
    const [encoding] = parameters.encodings ?? [];
    if (!encoding) return; // before the first answer, in some browsers: applied again with the connection
    Object.assign(encoding, limits);
    await sender.setParameters(parameters).catch(() => {}); // a newer change came in between, and brings these along
  }

  #judge() {
    if (this.#closed) return;
    const { connectionState } = this.#connection;
    if (connectionState === "failed" || connectionState === "disconnected" || connectionState === "closed") this.#break();
    else if (this.ready) {
      for (const source of this.#limits.keys()) this.#applyLimits(source);
      this.emit("ready", undefined);
    }
  }

  #break() {
    if (!this.#closed) this.emit("broken", undefined);
  }

  #describe() {
    const description = this.#connection.localDescription;
    if (description) this.#signal({ description: { type: description.type, sdp: description.sdp } });
  }

  async #offer() {
    if (this.#closed || (this.#polite && !this.#channel)) return;
    try {
      this.#offering = true;
      await this.#connection.setLocalDescription();
      this.#describe();
    } catch (error) {
      console.warn("direct connection:", error);
      this.#break();
    } finally {
      this.#offering = false;
    }
  }

  /** Perfect negotiation (WebRTC 1.0, 10.7). @param {Signal} signal */
  async #take({ description, candidate }) {
    const connection = this.#connection;
    if (description) {
      if (description.type === "answer" && connection.signalingState !== "have-local-offer") return; // an offer made twice
      const collision = description.type === "offer" && (this.#offering || connection.signalingState !== "stable");
      this.#ignoring = !this.#polite && collision;
      if (this.#ignoring) return;
      await connection.setRemoteDescription(description);
      if (description.type === "offer") {
        this.#answerIn();
        await connection.setLocalDescription();
        this.#describe();
      }
    }
    if (candidate) {
      try {
        await connection.addIceCandidate(candidate);
      } catch (error) {
        // One that belongs to an offer that was ignored, or an address of a kind unknown here: others may do.
        if (!this.#ignoring) console.warn("direct connection:", error);
      }
    }
  }
}

/**
 * The servers, asked for no more than how others see us: a path over a relay would be no better than the worker's.
 * @param {RTCIceServer[]} servers
 * @returns {RTCIceServer[]}
 */
export function ownAddressOnly(servers) {
  const urls = servers.flatMap((server) => server.urls)
    .filter((url) => /^(stun|turn):/.test(url) && !/transport=tcp/.test(url))
    .map((url) => url.replace(/^turn:/, "stun:").replace(/\?.*$/, ""));
  return urls.length ? [{ urls: [...new Set(urls)] }] : [];
}
