// @ts-check
/**
 * The two transports to the media worker, one for sending and one for receiving, for as long as one epoch of the
 * worker lasts. Restarts ICE by itself when the network under it changed; says "broken" when that cannot help.
 */
import { retryDelay } from "../backoff.js";
import { Emitter } from "../emitter.js";

/**
 * @typedef {import('mediasoup-client').types.Device} Device
 * @typedef {import('mediasoup-client').types.Transport} Transport
 * @typedef {import('../types.js').Request} Request
 * @typedef {Promise<[any, any]>} Made the answers to transport:create, for receiving and for sending
 * @typedef {{broken: {reason: string}, state: {direction: 'send' | 'recv', state: string}}} LinkEvents
 */

const MOVES_APART = 2000; // ms: who changes from one network to another hears of it several times
const SUSPECTED_FOR = 5000; // ms: a socket that breaks later than this after a silence has another reason
const PATIENCE = 1000; // ms: "disconnected" often heals by itself within one consent check

/** @extends {Emitter<LinkEvents>} */
export class MediaLink extends Emitter {
  #device;
  #request;
  /** @type {Record<'send' | 'recv', Transport>} */
  #transports;
  #closed = false;
  #spoiled = false; // nothing more can be negotiated on it
  /** @type {Map<string, ReturnType<typeof setTimeout>>} by transport id */
  #restarts = new Map();
  /** @type {Set<string>} ids of transports whose network has changed, and that could not be told so yet */
  #moved = new Set();
  #movedAt = -Infinity;
  #suspectedAt = -Infinity;

  /**
   * Ask the worker for both transports at once.
   * @param {Request} request
   * @returns {Made}
   */
  static ask(request) {
    return Promise.all([request("transport:create", { direction: "recv" }), request("transport:create", { direction: "send" })]);
  }

  /**
   * @param {object} options
   * @param {Device} options.device loaded
   * @param {Request} options.request
   * @param {Made} options.made
   * @param {RTCIceServer[]} options.iceServers
   * @param {string | null} options.epoch
   * @param {object} [options.peerSettings] for each RTCPeerConnection
   * @returns {Promise<MediaLink>}
   */
  static async open({ device, request, made, iceServers, epoch, peerSettings = {} }) {
    const [recv, send] = await made;
    return new MediaLink(device, request, epoch, {
      recv: device.createRecvTransport(options(recv, iceServers, peerSettings)),
      send: device.createSendTransport(options(send, iceServers, peerSettings)),
    });
  }

  /**
   * @param {Device} device
   * @param {Request} request
   * @param {string | null} epoch
   * @param {Record<'send' | 'recv', Transport>} transports
   */
  constructor(device, request, epoch, transports) {
    super();
    this.#device = device;
    this.#request = request;
    this.epoch = epoch;
    this.#transports = transports;
    for (const transport of [transports.send, transports.recv]) this.#watch(transport);
    transports.send.on("produce", ({ kind, rtpParameters, appData }, done, failed) => {
      request("produce", {
        transport_id: transports.send.id, kind, source: appData.source, rtp_parameters: rtpParameters,
        paused: Boolean(appData.paused),
      }).then((answer) => done({ id: answer.producer_id }), failed);
    });
  }

  get send() {
    return this.#transports.send;
  }

  get recv() {
    return this.#transports.recv;
  }

  get device() {
    return this.#device;
  }

  get closed() {
    return this.#closed;
  }

  /** @param {{transport_id: string}[]} alive what the worker has @returns {boolean} */
  livesIn(alive) {
    const ids = new Set(alive.map((transport) => transport.transport_id));
    return !this.#spoiled && ids.has(this.send.id) && ids.has(this.recv.id);
  }

  /** The socket is back: what could not be asked for meanwhile is asked for now. */
  heal() {
    if (performance.now() - this.#suspectedAt < SUSPECTED_FOR) this.#allMoved();
    for (const transport of [this.send, this.recv]) {
      const lost = transport.connectionState === "failed" || transport.connectionState === "disconnected";
      if (lost || this.#moved.has(transport.id)) this.#restartLater(transport, 0, 0);
    }
  }

  /** Nothing arrives. Should the socket turn out to be dead as well, the network was another, and heal() acts on it. */
  suspect() {
    this.#suspectedAt = performance.now();
  }

  /**
   * Nothing arrives of what should, though the socket lives: a NAT may have given media alone another port. Firefox
   * checks its way each 4 to 6 s; the others do so each 2.5 s or less, and need no help.
   */
  cut() {
    if (this.#device.handlerName.startsWith("Firefox")) this.moved();
  }

  /** There is another network under us. A path that looks well may be none any more, and the browser says so late. */
  moved() {
    if (this.#closed || performance.now() - this.#movedAt < MOVES_APART) return;
    this.#movedAt = performance.now();
    this.#allMoved();
    for (const transport of [this.send, this.recv]) this.#restartLater(transport, 0, 0);
  }

  #allMoved() {
    this.#suspectedAt = -Infinity;
    for (const transport of [this.send, this.recv]) this.#moved.add(transport.id);
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of this.#restarts.values()) clearTimeout(timer);
    this.send.close();
    this.recv.close();
  }

  /** @param {Transport} transport */
  #watch(transport) {
    transport.on("connect", ({ dtlsParameters }, done) => {
      const request = { transport_id: transport.id, dtls_parameters: dtlsParameters };
      this.#request("transport:connect", request).catch((error) => this.#spoil(transport, error.code));
      done(); // checks and handshake begin while it is under way: the worker keeps what comes before it
    });
    transport.on("connectionstatechange", (state) => {
      if (this.#closed) return;
      this.emit("state", { direction: transport.direction, state });
      if (state === "disconnected") this.#restartLater(transport, PATIENCE, 0);
      else if (state === "failed") this.#restartLater(transport, 0, 0);
      else if (state === "connected") this.#noRestart(transport);
    });
  }

  /**
   * The worker may or may not have heard whose the transport is. One that it does not know never gets its keys, and a
   * second time it may not be told: the transport is of no use any more.
   * @param {Transport} transport
   * @param {string} code
   */
  #spoil(transport, code) {
    this.#spoiled = true;
    if (this.#closed || code === "disconnected" || code === "timeout") return; // a join comes, and finds it spoiled
    this.#restarts.set(transport.id, setTimeout(() => this.emit("broken", { reason: `connect: ${code}` }), retryDelay(0)));
  }

  /** @param {Transport} transport */
  #noRestart(transport) {
    clearTimeout(this.#restarts.get(transport.id));
    this.#restarts.delete(transport.id);
  }

  /** @param {Transport} transport @param {number} delay ms @param {number} attempt */
  #restartLater(transport, delay, attempt) {
    this.#noRestart(transport);
    this.#restarts.set(transport.id, setTimeout(() => void this.#restart(transport, attempt), delay));
  }

  /** @param {Transport} transport @param {number} attempt */
  async #restart(transport, attempt) {
    if (this.#closed || transport.closed) return;
    if (transport.connectionState === "connected" && !this.#moved.has(transport.id)) return;
    try {
      const answer = await this.#request("transport:restart_ice", { transport_id: transport.id });
      if (this.#closed) return;
      this.#moved.delete(transport.id);
      // Credentials run out. In Firefox mediasoup-client cannot change them: a restart with the old ones is better than none.
      if (answer.ice_servers?.length) await transport.updateIceServers({ iceServers: answer.ice_servers }).catch(() => {});
      await transport.restartIce({ iceParameters: answer.ice_parameters });
    } catch (error) {
      const { code } = /** @type {{code?: string}} */ (error);
      if (code === "disconnected" || code === "timeout") return; // heal() comes with the socket
      if (code === "not_found" || code === "wrong_state") {
        this.emit("broken", { reason: `transport ${transport.direction}: ${code}` });
        return;
      }
    }
    // Checks take a moment on a bad network; a second restart too early would throw away the first.
    this.#restartLater(transport, 3000 + retryDelay(attempt), attempt + 1);
  }
}

/**
 * @param {any} answer of transport:create
 * @param {RTCIceServer[]} iceServers
 * @param {object} additionalSettings
 */
function options(answer, iceServers, additionalSettings) {
  return {
    id: answer.transport_id,
    iceParameters: answer.ice_parameters,
    iceCandidates: answer.ice_candidates,
    dtlsParameters: answer.dtls_parameters,
    iceServers: answer.ice_servers ?? iceServers,
    additionalSettings,
  };
}
