// @ts-check
/** Who speaks: measured loudness in, a calm yes or no out. */

const SPEAKS = 0.03; // of full scale (about -30 dBFS): above breath and keyboard after noise suppression
const HOLD = 700; // ms: pauses between words do not make a border flicker

/** Turns loudness by person into the set of those who speak. Pure: the clock is an argument. */
export class SpeakingTracker {
  /** @type {Map<string, number>} until when each counts as speaking, ms */
  #until = new Map();
  /** @type {Map<string, number>} when each spoke last, ms */
  #last = new Map();

  /**
   * @param {Map<string, number>} levels 0 to 1 by participant id
   * @param {number} now ms
   * @returns {Set<string>} who speaks
   */
  update(levels, now) {
    for (const [id, level] of levels) {
      if (level >= SPEAKS) {
        this.#until.set(id, now + HOLD);
        this.#last.set(id, now);
      }
    }
    for (const [id, until] of this.#until) if (until <= now) this.#until.delete(id);
    return new Set(this.#until.keys());
  }

  /** @param {string} id @returns {number} ms, 0 for never */
  lastSpoke(id) {
    return this.#last.get(id) ?? 0;
  }
}

/**
 * Hears that a microphone gives nothing at all, which a switch on the headset does.
 * Every working microphone has noise; only a dead one is exactly still.
 */
export class SilenceWatch {
  static LIMIT = 6000; // ms
  #since = 0;
  #told = false;

  /**
   * @param {number | null} level null when it is not open
   * @param {number} now ms
   * @returns {boolean} true once for each stretch of silence
   */
  update(level, now) {
    if (level === null || level > 0.0005) {
      this.#since = 0;
      this.#told = false;
      return false;
    }
    if (!this.#since) this.#since = now;
    if (this.#told || now - this.#since < SilenceWatch.LIMIT) return false;
    this.#told = true;
    return true;
  }
}

/** The loudness of one local track, read when asked. */
export class LevelMeter {
  #context;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  #analyser;
  #samples;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {MediaStreamTrack | null} */
  #clone = null;

  /** @param {AudioContext} context */
  constructor(context) {
    this.#context = context;
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 512;
    this.#samples = new Float32Array(this.#analyser.fftSize);
  }

  /**
   * Listens to a clone, which goes on when the track itself is muted: so it can say "You are muted" to a speaker.
   * @param {MediaStreamTrack | null} track
   */
  listenTo(track) {
    if (track === this.#track) return;
    this.#track = track;
    this.#source?.disconnect();
    this.#clone?.stop();
    this.#source = null;
    this.#clone = null;
    if (!track || track.readyState !== "live") return;
    this.#clone = track.clone();
    this.#clone.enabled = true;
    this.#source = this.#context.createMediaStreamSource(new MediaStream([this.#clone]));
    this.#source.connect(this.#analyser);
  }

  /** @returns {number | null} RMS, 0 to 1; null when nothing is listened to */
  read() {
    if (!this.#source || this.#context.state !== "running") return null;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    return Math.sqrt(sum / this.#samples.length);
  }
}

/** @param {RTCRtpReceiver | undefined} receiver @returns {number} 0 to 1, as the sender's browser measured it */
export function receivedLevel(receiver) {
  return receiver?.getSynchronizationSources?.()[0]?.audioLevel ?? 0;
}
