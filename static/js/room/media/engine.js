// @ts-check
/**
 * Keeps this browser's media going: builds the link to the worker after a join, keeps what is alive after the socket
 * broke, and builds all of it anew when the worker went. Whatever is built is built from what Sender and Receiver want.
 */
import { retryDelay } from "../backoff.js";
import { Emitter } from "../emitter.js";
import { Direct } from "./direct.js";
import { MediaLink } from "./link.js";
import { Receiver } from "./receive.js";
import { Sender } from "./send.js";

/**
 * @typedef {import('mediasoup-client').types.Device} Device
 * @typedef {import('mediasoup-client').types.RtpCapabilities} RtpCapabilities
 * @typedef {import('../types.js').JoinAnswer} JoinAnswer
 * @typedef {import('./link.js').Made} Made
 * @typedef {'none' | 'building' | 'up'} MediaState
 * @typedef {{state: {state: MediaState}, unsupported: undefined, unknown: undefined, network: {direction: string, state: string}}} EngineEvents
 */

/** @extends {Emitter<EngineEvents>} */
export class MediaEngine extends Emitter {
  #makeDevice;
  #request;
  /** @type {Device | null} */
  #device = null;
  /** @type {MediaLink | null} */
  #link = null;
  /** @type {Made | null} what a join that is under way will need */
  #ahead = null;
  /** @type {RtpCapabilities | null} */
  #capabilities = null;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** @type {string | null} */
  #epoch = null;
  #self = "";
  /** @type {import('./direct.js').Pair} */
  #pair = { pair: null, participants: null };
  #generation = 0; // what was begun under another number is thrown away
  /** @type {MediaState} */
  #state = "none";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;

  /**
   * @param {object} options
   * @param {() => Promise<Device>} options.makeDevice a mediasoup Device, not yet loaded
   * @param {import('../types.js').Request} options.request
   * @param {import('./encryption.js').Encryption | null} [options.encryption] in an encrypted class
   * @param {((configuration: RTCConfiguration) => RTCPeerConnection) | null} [options.makeConnection] for two who are alone; null: never
   */
  constructor({ makeDevice, request, encryption = null, makeConnection = null }) {
    super();
    this.#makeDevice = makeDevice;
    this.#request = request;
    this.encryption = encryption;
    this.sender = new Sender(request, encryption);
    this.receiver = new Receiver(request, encryption);
    // What goes directly passes no transform: an encrypted class stays with the worker, whatever the server says of pairs.
    this.direct = new Direct({ sender: this.sender, receiver: this.receiver, request, makeConnection: encryption ? null : makeConnection });
  }

  get state() {
    return this.#state;
  }

  get link() {
    return this.#link;
  }

  get epoch() {
    return this.#epoch;
  }

  /** A join was asked for. The server takes requests in order: who has nothing yet asks for transports right behind it. */
  prepare() {
    if (this.#link || this.encryption?.isSupported === false) return;
    this.#ahead = MediaLink.ask(this.#request);
    this.#ahead.catch(() => {}); // whoever uses it hears of it
  }

  /** After each join, first or not. @param {JoinAnswer} answer */
  async joined(answer) {
    const ahead = this.#ahead;
    this.#ahead = null;
    if (answer.rtp_capabilities) this.#capabilities = answer.rtp_capabilities;
    if (answer.ice_servers) this.#iceServers = answer.ice_servers;
    if (this.encryption) this.encryption.self = answer.you.participant_id;
    this.#self = answer.you.participant_id;
    if (!answer.resumed) this.pair(answer.p2p ?? { pair: null, participants: null });
    const live = answer.media;
    const epoch = live?.epoch ?? null;
    const link = this.#link;
    if (link && !link.closed && live && link.epoch === epoch && link.livesIn(live.transports)) {
      link.heal();
      this.receiver.reconcile(live.consumers);
      await this.sender.reconcile(live.producers);
      return;
    }
    this.#epoch = epoch;
    // Without a worker there is nothing to build on: media:restart comes when there is one.
    if (this.#capabilities && epoch !== null) await this.#rebuild(0, ahead);
    else this.#tearDown();
  }

  /**
   * All our ids are void: the worker went and another has the room, or (`private`) it gave up us alone.
   * @param {{epoch: string, reason?: string, rtp_capabilities?: RtpCapabilities, ice_servers?: RTCIceServer[]}} data
   * @param {{private: boolean}} options
   */
  async restart(data, options) {
    if (data.rtp_capabilities) this.#capabilities = data.rtp_capabilities;
    if (data.ice_servers) this.#iceServers = data.ice_servers;
    // Told to all, and built on that worker already, since a join's answer had named it.
    if (!options.private && this.#epoch === data.epoch && this.#state !== "none") return;
    this.#epoch = data.epoch;
    if (this.#capabilities) await this.#rebuild();
    else this.emit("unknown", undefined); // joined while there was no worker to say what it can: a join asks again
  }

  /** The server decided who is connected directly. @param {import('./direct.js').Pair} pair */
  pair(pair) {
    this.#pair = pair;
    if (this.#state === "up") this.direct.changed(pair, { self: this.#self, iceServers: this.#iceServers });
  }

  /** The class is over for us: nothing is wanted any more. The tracks belong to the devices. */
  close() {
    this.#tearDown();
    this.direct.close();
    this.sender.clear();
    this.receiver.want([]);
  }

  #tearDown() {
    this.#generation++;
    clearTimeout(this.#retry);
    this.direct.mediaGone();
    this.#link?.close();
    this.#link = null;
    this.sender.detach();
    this.receiver.detach();
    this.#go("none");
  }

  /** @param {number} [attempt] @param {Made | null} [ahead] */
  async #rebuild(attempt = 0, ahead = null) {
    this.#tearDown();
    const generation = this.#generation;
    this.#go("building");
    try {
      const device = await this.#load();
      if (!device || generation !== this.#generation) return;
      const link = await MediaLink.open({
        device, request: this.#request, made: ahead ?? MediaLink.ask(this.#request), iceServers: this.#iceServers, epoch: this.#epoch,
        peerSettings: this.encryption?.peerSettings,
      });
      if (generation !== this.#generation) {
        link.close();
        return;
      }
      this.#link = link;
      link.on("broken", () => link === this.#link && void this.#rebuild());
      link.on("state", (change) => this.emit("network", change));
      this.receiver.attach(link);
      void this.sender.attach(link);
      this.#go("up");
      this.pair(this.#pair);
    } catch (error) {
      if (generation !== this.#generation) return;
      const { code } = /** @type {{code?: string}} */ (error);
      if (code === "disconnected" || code === "timeout") return; // joined() comes with the socket
      if (!code) console.error(error);
      this.#retry = setTimeout(() => generation === this.#generation && void this.#rebuild(attempt + 1), retryDelay(attempt));
    }
  }

  /** @returns {Promise<Device | null>} null where this browser cannot take part with media */
  async #load() {
    if (this.#device) return this.#device;
    const { encryption } = this;
    const device = encryption?.isSupported === false ? null : await this.#makeDevice().catch(() => null);
    if (!device || !this.#capabilities) {
      this.emit("unsupported", undefined);
      return null;
    }
    await device.load({ routerRtpCapabilities: encryption ? encryption.within(this.#capabilities) : this.#capabilities });
    this.#device = device;
    return device;
  }

  /** @param {MediaState} state */
  #go(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.emit("state", { state });
  }
}
