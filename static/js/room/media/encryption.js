// @ts-check
/**
 * Puts the worker that encrypts between this browser's encoders and its connection, and between connection and decoders.
 * A stream that was given to `encrypt` or `decrypt` never passes as it is, whatever keys there are.
 */
import { Emitter } from "../emitter.js";

/**
 * @typedef {import('../types.js').Source} Source
 * @typedef {import('../types.js').ProducerInfo} ProducerInfo
 * @typedef {import('./frame_crypto.js').RoomKey} RoomKey
 * @typedef {import('mediasoup-client').types.RtpCapabilities} RtpCapabilities
 * @typedef {Pick<Worker, 'postMessage' | 'addEventListener'>} Passage
 * @typedef {{locked: {producerId: string, locked: boolean}, broken: undefined}} EncryptionEvents `locked`: none of our keys
 *   opens this stream; `broken`: the worker did not start, and nothing passes
 */

/** Whose first bytes are enough for a forwarder and a depacketizer; of the others they read on. */
const CODECS = new Set(["video/vp8", "audio/opus"]);

/** @extends {Emitter<EncryptionEvents>} */
export class Encryption extends Emitter {
  #worker;
  #scope;
  /** Of this browser's person, from the answer of room:join on. */
  self = "";

  /** @param {{scope?: any, makeWorker?: () => Passage}} [browser] */
  constructor({ scope = globalThis, makeWorker = newWorker } = {}) {
    super();
    this.#scope = scope;
    this.#worker = this.isSupported ? makeWorker() : null;
    this.#worker?.addEventListener("message", (event) => {
      const { id, locked } = /** @type {MessageEvent} */ (event).data;
      this.emit("locked", { producerId: id, locked });
    });
    this.#worker?.addEventListener("error", () => this.emit("broken", undefined));
  }

  get isSupported() {
    const { RTCRtpScriptTransform, RTCRtpSender, crypto } = this.#scope;
    return Boolean(crypto?.subtle && (RTCRtpScriptTransform || RTCRtpSender?.prototype.createEncodedStreams));
  }

  /** For each RTCPeerConnection. With it, Chromium before 141 sends nothing that did not pass a transform. */
  get peerSettings() {
    return this.#scope.RTCRtpScriptTransform ? {} : { encodedInsertableStreams: true };
  }

  /** @param {RtpCapabilities} capabilities of the router @returns {RtpCapabilities} what of it can be encrypted */
  within(capabilities) {
    const codecs = (capabilities.codecs ?? []).filter((codec) => CODECS.has(codec.mimeType.toLowerCase()));
    const types = /** @type {Set<unknown>} */ (new Set(codecs.map((codec) => codec.preferredPayloadType)));
    const repairs = (capabilities.codecs ?? []).filter((codec) => types.has(codec.parameters?.apt));
    return { ...capabilities, codecs: [...codecs, ...repairs] };
  }

  /** @param {RoomKey[]} keys the newest last: we send with that one, and read with all */
  use(keys) {
    this.#worker?.postMessage({ do: "keys", keys });
  }

  /** Tell anew of streams that cannot be read. */
  lookAgain() {
    this.#worker?.postMessage({ do: "look again" });
  }

  /** Before anything of it is negotiated. @param {RTCRtpSender} sender @param {Source} source */
  encrypt(sender, source) {
    this.#pass(sender, { id: "", encrypts: true, ...named(this.self, source) });
  }

  /** @param {RTCRtpReceiver} receiver @param {ProducerInfo} producer */
  decrypt(receiver, { producer_id, participant_id, source }) {
    this.#pass(receiver, { id: producer_id, encrypts: false, ...named(participant_id, source) });
  }

  /** @param {any} end RTCRtpSender or RTCRtpReceiver @param {import('./encryption_worker.js').Options} options */
  #pass(end, options) {
    const { RTCRtpScriptTransform } = this.#scope;
    if (!this.#worker) throw new Error("This browser cannot encrypt frames.");
    if (RTCRtpScriptTransform) {
      end.transform = new RTCRtpScriptTransform(this.#worker, options);
    } else {
      const { readable, writable } = end.createEncodedStreams();
      this.#worker.postMessage({ do: "stream", options, readable, writable }, [readable, writable]);
    }
  }
}

/** The key of a stream depends on whose it is and what: frames of one are no frames of another. @param {string} person @param {Source} source */
function named(person, source) {
  const kind = /** @type {import('../types.js').Kind} */ (source === "microphone" || source === "screen_audio" ? "audio" : "video");
  return { kind, label: `${person} ${source}` };
}

function newWorker() {
  return new Worker(new URL("./encryption_worker.js", import.meta.url), { type: "module" });
}
