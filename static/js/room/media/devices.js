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
  /** @type {MediaStreamTrack | null} */
  #microphone = null;
  /** @type {MediaStreamTrack | null} */
  #camera = null;
  /** @type {MediaStream | null} */
  #screen = null;

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
    return this.#microphone;
  }

  get camera() {
    return this.#camera;
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
    if (kind === "microphone" && this.#microphone) await this.openMicrophone();
    if (kind === "camera" && this.#camera) await this.openCamera();
  }

  /** @returns {Promise<MediaStreamTrack | null>} null when it cannot be had: "trouble" told why */
  async openMicrophone() {
    const constraints = { audio: microphoneConstraints(this.#chosen.microphone) };
    const track = await this.#open("microphone", constraints, () => this.#stop(this.#microphone));
    if (track) {
      this.#stop(this.#microphone);
      this.#microphone = track;
      this.#watch(track, "microphone");
    }
    this.emit("change", undefined);
    return track;
  }

  /** @returns {Promise<MediaStreamTrack | null>} */
  async openCamera() {
    const constraints = { video: cameraConstraints(this.#chosen.camera, this.#phone) };
    // Phones have one camera pipeline: the old picture must go before another camera opens.
    const track = await this.#open("camera", constraints, () => this.#stop(this.#camera));
    if (track) {
      this.#stop(this.#camera);
      this.#camera = track;
      this.#watch(track, "camera");
    }
    this.emit("change", undefined);
    return track;
  }

  closeMicrophone() {
    this.#stop(this.#microphone);
    this.#microphone = null;
    this.emit("change", undefined);
  }

  closeCamera() {
    this.#stop(this.#camera);
    this.#camera = null;
    this.emit("change", undefined);
  }

  /** @returns {Promise<MediaStream | null>} null also when the person changed their mind in the browser's dialog */
  async openScreen() {
    if (!this.#media?.getDisplayMedia) {
      this.emit("trouble", { kind: "screen", trouble: troubleWith(this.#media ? "missing" : "insecure", "screen") });
      return null;
    }
    try {
      const video = { frameRate: { ideal: 15, max: 30 }, width: { max: 1920 }, height: { max: 1080 } };
      this.#screen = await this.#media.getDisplayMedia({ video, audio: true });
    } catch (error) {
      const trouble = explainDeviceError(error, "screen");
      if (trouble.problem !== "refused") this.emit("trouble", { kind: "screen", trouble });
      return null;
    }
    const [track] = this.#screen.getVideoTracks();
    track.contentHint = "detail"; // sharp letters before smooth movement
    track.addEventListener("ended", () => this.#screen?.getVideoTracks()[0] === track && this.#lost("screen"));
    this.emit("change", undefined);
    return this.#screen;
  }

  closeScreen() {
    for (const track of this.#screen?.getTracks() ?? []) track.stop();
    this.#screen = null;
    this.emit("change", undefined);
  }

  closeAll() {
    this.closeMicrophone();
    this.closeCamera();
    this.closeScreen();
  }

  /**
   * @param {'microphone' | 'camera'} kind
   * @param {MediaStreamConstraints} constraints
   * @param {() => void} release frees the old device where the browser says that it is in the way
   * @returns {Promise<MediaStreamTrack | null>}
   */
  async #open(kind, constraints, release) {
    if (!this.#media?.getUserMedia) {
      this.emit("trouble", { kind, trouble: troubleWith("insecure", kind) });
      return null;
    }
    for (const secondTry of [false, true]) {
      try {
        const stream = await this.#media.getUserMedia(constraints);
        this.emit("list", undefined); // names of devices are readable only from now on
        return stream.getTracks()[0] ?? null;
      } catch (error) {
        const trouble = explainDeviceError(error, kind);
        if (trouble.problem === "in_use" && !secondTry && (kind === "camera" ? this.#camera : this.#microphone)) {
          release();
        } else {
          this.emit("trouble", { kind, trouble });
          return null;
        }
      }
    }
    return null;
  }

  /** @param {MediaStreamTrack} track @param {'microphone' | 'camera'} kind */
  #watch(track, kind) {
    track.addEventListener("ended", () => {
      if (track === (kind === "camera" ? this.#camera : this.#microphone)) this.#lost(kind);
    });
  }

  /** Unplugged, or "Stop sharing" in the browser's own bar. @param {DeviceKind} kind */
  #lost(kind) {
    if (kind === "microphone") this.#microphone = null;
    else if (kind === "camera") this.#camera = null;
    else this.closeScreen();
    this.emit("lost", { kind });
    this.emit("change", undefined);
  }

  /** @param {MediaStreamTrack | null} track */
  #stop(track) {
    track?.stop();
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
