// @ts-check
/**
 * This computer's microphone, camera and screen: opens and closes them, remembers which ones were chosen, notices
 * when one is unplugged. It holds the tracks; what is sent of them is decided elsewhere.
 */
import { Emitter } from "../emitter.js";
import { cameraConstraints, explainDeviceError, microphoneConstraints, troubleWith } from "./device_state.js";

const REMEMBERED = "lectern:devices";

/**
 * @typedef {import('./device_state.js').DeviceKind} DeviceKind
 * @typedef {{microphone?: string, camera?: string, speaker?: string}} Chosen device ids
 * @typedef {{
 *   change: undefined,
 *   list: undefined,
 *   lost: {kind: DeviceKind},
 *   trouble: {kind: DeviceKind, trouble: import('./device_state.js').Trouble},
 * }} DeviceEvents
 */

/** @extends {Emitter<DeviceEvents>} */
export class Devices extends Emitter {
  #media;
  #storage;
  #phone;
  /** @type {Chosen} */
  #chosen;
  /** @type {Record<'microphone' | 'camera', MediaStreamTrack | null>} */
  #tracks = { microphone: null, camera: null };
  /** @type {MediaStream | null} */
  #screen = null;
  /** Counts openings and closings: what the browser gives for an older wish is stopped as soon as it comes. */
  #wishes = { microphone: 0, camera: 0, screen: 0 };

  /**
   * @param {object} options
   * @param {MediaDevices | undefined} options.media navigator.mediaDevices; absent on insecure pages
   * @param {Pick<Storage, 'getItem' | 'setItem'>} options.storage
   * @param {boolean} [options.phone]
   */
  constructor({ media, storage, phone = false }) {
    super();
    this.#media = media;
    this.#storage = storage;
    this.#phone = phone;
    this.#chosen = remembered(storage);
    media?.addEventListener?.("devicechange", () => this.emit("list", undefined));
  }

  get microphone() {
    return this.#tracks.microphone;
  }

  get camera() {
    return this.#tracks.camera;
  }

  get screen() {
    return this.#screen;
  }

  get chosen() {
    return this.#chosen;
  }

  get canShareScreen() {
    return Boolean(this.#media?.getDisplayMedia);
  }

  /** @returns {Promise<{microphone: MediaDeviceInfo[], camera: MediaDeviceInfo[], speaker: MediaDeviceInfo[]}>} */
  async list() {
    const all = (await this.#media?.enumerateDevices?.().catch(() => [])) ?? [];
    const of = (/** @type {string} */ kind) => all.filter((device) => device.kind === kind && device.deviceId);
    return { microphone: of("audioinput"), camera: of("videoinput"), speaker: of("audiooutput") };
  }

  /**
   * Remember a choice. An open microphone or camera is opened anew with it.
   * @param {keyof Chosen} kind
   * @param {string} deviceId
   */
  async choose(kind, deviceId) {
    this.#chosen = { ...this.#chosen, [kind]: deviceId };
    this.#storage.setItem(REMEMBERED, JSON.stringify(this.#chosen));
    if (kind !== "speaker" && this.#tracks[kind]) await this.open(kind);
  }

  /**
   * @param {'microphone' | 'camera'} kind
   * @returns {Promise<MediaStreamTrack | null>} null when it cannot be had ("trouble" told why) or is not wanted any more
   */
  async open(kind) {
    const wish = ++this.#wishes[kind];
    const track = await this.#ask(kind);
    if (wish !== this.#wishes[kind]) {
      track?.stop();
      return null;
    }
    if (track) {
      this.#tracks[kind]?.stop();
      this.#tracks[kind] = track;
      track.addEventListener("ended", () => track === this.#tracks[kind] && this.#lost(kind));
    }
    this.emit("change", undefined);
    return track;
  }

  /** @param {'microphone' | 'camera'} kind */
  close(kind) {
    this.#wishes[kind]++;
    this.#tracks[kind]?.stop();
    this.#tracks[kind] = null;
    this.emit("change", undefined);
  }

  /** @returns {Promise<MediaStream | null>} null also when the person changed their mind in the browser's dialog */
  async openScreen() {
    if (!this.#media?.getDisplayMedia) {
      this.emit("trouble", { kind: "screen", trouble: troubleWith(this.#media ? "missing" : "insecure", "screen") });
      return null;
    }
    const wish = ++this.#wishes.screen;
    /** @type {MediaStream} */
    let stream;
    try {
      const video = { frameRate: { ideal: 15, max: 30 }, width: { max: 1920 }, height: { max: 1080 } };
      stream = await this.#media.getDisplayMedia({ video, audio: true });
    } catch (error) {
      const trouble = explainDeviceError(error, "screen");
      if (trouble.problem !== "refused") this.emit("trouble", { kind: "screen", trouble });
      return null;
    }
    if (wish !== this.#wishes.screen) {
      for (const late of stream.getTracks()) late.stop();
      return null;
    }
    this.#screen = stream;
    const [track] = stream.getVideoTracks();
    track.contentHint = "detail"; // sharp letters before smooth movement
    track.addEventListener("ended", () => this.#screen === stream && this.#lost("screen"));
    this.emit("change", undefined);
    return stream;
  }

  closeScreen() {
    this.#wishes.screen++;
    for (const track of this.#screen?.getTracks() ?? []) track.stop();
    this.#screen = null;
    this.emit("change", undefined);
  }

  closeAll() {
    this.close("microphone");
    this.close("camera");
    this.closeScreen();
  }

  /** @param {'microphone' | 'camera'} kind @returns {Promise<MediaStreamTrack | null>} */
  async #ask(kind) {
    const constraints = kind === "microphone"
      ? { audio: microphoneConstraints(this.#chosen.microphone) }
      : { video: cameraConstraints(this.#chosen.camera, this.#phone) };
    if (!this.#media?.getUserMedia) {
      this.emit("trouble", { kind, trouble: troubleWith("insecure", kind) });
      return null;
    }
    for (;;) {
      try {
        const stream = await this.#media.getUserMedia(constraints);
        this.emit("list", undefined); // names of devices are readable only from now on
        return stream.getTracks()[0] ?? null;
      } catch (error) {
        const trouble = explainDeviceError(error, kind);
        if (trouble.problem !== "in_use" || !this.#tracks[kind]) {
          this.emit("trouble", { kind, trouble });
          return null;
        }
        // Phones have one camera pipeline: the old picture must go before another camera opens.
        this.#tracks[kind]?.stop();
        this.#tracks[kind] = null;
      }
    }
  }

  /** Unplugged, or "Stop sharing" in the browser's own bar. @param {DeviceKind} kind */
  #lost(kind) {
    if (kind === "screen") this.closeScreen();
    else this.#tracks[kind] = null;
    this.emit("lost", { kind });
    this.emit("change", undefined);
  }
}

/** @param {Pick<Storage, 'getItem'>} storage @returns {Chosen} */
function remembered(storage) {
  try {
    const value = JSON.parse(storage.getItem(REMEMBERED) ?? "{}");
    return typeof value === "object" && value ? value : {};
  } catch {
    return {};
  }
}
