// @ts-check
/**
 * A recording on this device: the picture that the page gives and everybody's sound, mixed, through the browser's own
 * recorder. It goes to a file on the disk as it comes where the browser can do that, else into memory until the end.
 */
import { Emitter } from "../emitter.js";

const PIECE = 1000; // ms: what a browser that dies may lose
const LISTEN = 1000; // ms between two looks at whose sound there is
const TYPES = ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"]; // VP8 costs the least, and the class goes on beside it

/**
 * @typedef {{write: (piece: Blob) => Promise<void>, close: () => Promise<void>}} Sink
 * @typedef {{change: undefined, failed: {reason: string}, whole: {film: Blob, name: string}}} LocalRecordingEvents
 *   `whole`: it was kept in memory, and is to be saved now
 */

/** @extends {Emitter<LocalRecordingEvents>} */
export class LocalRecording extends Emitter {
  #audio;
  #makeRecorder;
  /** @type {MediaRecorder | null} */
  #recorder = null;
  /** @type {Map<string, MediaStreamAudioSourceNode>} by track's id */
  #heard = new Map();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #listening;

  /**
   * @param {AudioContext} audio
   * @param {{types?: (type: string) => boolean, makeRecorder?: (stream: MediaStream, options: MediaRecorderOptions) => MediaRecorder}} [browser]
   */
  constructor(audio, { types = (type) => globalThis.MediaRecorder?.isTypeSupported(type) ?? false, makeRecorder = (stream, options) => new MediaRecorder(stream, options) } = {}) {
    super();
    this.#audio = audio;
    this.#makeRecorder = makeRecorder;
    /** What this browser can write; empty: it cannot. */
    this.type = TYPES.find(types) ?? "";
  }

  get isRunning() {
    return this.#recorder !== null;
  }

  /** @param {string} name without its ending */
  fileName(name) {
    return `${name}.${this.type.startsWith("video/mp4") ? "mp4" : "webm"}`;
  }

  /**
   * @param {object} what
   * @param {MediaStreamTrack} what.picture
   * @param {() => MediaStreamTrack[]} what.sounds those that are heard at this moment
   * @param {string} what.name of the file
   * @param {Sink | null} what.sink null: into memory
   */
  start({ picture, sounds, name, sink }) {
    const mix = this.#audio.createMediaStreamDestination();
    this.#listen(sounds(), mix);
    this.#listening = setInterval(() => this.#listen(sounds(), mix), LISTEN);
    const recorder = this.#makeRecorder(new MediaStream([picture, ...mix.stream.getAudioTracks()]), { mimeType: this.type });
    /** @type {Blob[]} */
    const pieces = [];
    let written = Promise.resolve();
    recorder.ondataavailable = ({ data }) => {
      if (!data.size) return;
      if (!sink) pieces.push(data);
      else written = written.then(() => sink.write(data)).catch((error) => this.#fail(recorder, error));
    };
    recorder.onerror = (event) => this.#fail(recorder, /** @type {any} */ (event).error);
    recorder.onstop = async () => {
      this.#end(recorder);
      await written;
      if (sink) await sink.close().catch((error) => this.emit("failed", { reason: error.message }));
      else this.emit("whole", { film: new Blob(pieces, { type: this.type }), name });
    };
    this.#recorder = recorder;
    recorder.start(PIECE);
    this.emit("change", undefined);
  }

  /** What there is gets written, and the file is closed. Twice does no harm. */
  stop() {
    if (this.#recorder && this.#recorder.state !== "inactive") this.#recorder.stop();
  }

  /** @param {MediaRecorder} recorder @param {{message?: string} | undefined} error */
  #fail(recorder, error) {
    if (this.#recorder !== recorder) return;
    this.emit("failed", { reason: error?.message ?? "" });
    this.stop();
  }

  /** @param {MediaRecorder} recorder */
  #end(recorder) {
    if (this.#recorder !== recorder) return;
    clearInterval(this.#listening);
    for (const node of this.#heard.values()) node.disconnect();
    this.#heard.clear();
    this.#recorder = null;
    this.emit("change", undefined);
  }

  /** @param {MediaStreamTrack[]} tracks @param {AudioNode} mix */
  #listen(tracks, mix) {
    const there = new Map(tracks.filter((track) => track.readyState === "live").map((track) => [track.id, track]));
    for (const [id, node] of this.#heard) {
      if (there.has(id)) continue;
      node.disconnect();
      this.#heard.delete(id);
    }
    for (const [id, track] of there) {
      if (this.#heard.has(id)) continue;
      const node = this.#audio.createMediaStreamSource(new MediaStream([track]));
      node.connect(mix);
      this.#heard.set(id, node);
    }
  }
}
