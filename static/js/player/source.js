// @ts-check
/** What a film is played from: HLS by hls.js, or by the browser itself (Safari), or the MP4 where there is no other. */
import { Links } from "./links.js";

/** @typedef {{quality: string, url: string}} Film */
/** @typedef {{value: string, label: string}} Choice */

const AGAIN_AFTER = 10_000; // ms: a file that cannot be played at all is not asked for in a loop
const HLS = "application/vnd.apple.mpegurl";

export class Source {
  /** @type {import("/static/vendor/hls.js").default | null} */
  #hls = null;
  #video;
  #films;
  #film = 0;
  #last = -AGAIN_AFTER;
  #leave = new AbortController();
  onchoices = () => {};

  /**
   * @param {HTMLVideoElement} video
   * @param {Film[]} films the best for every browser first
   */
  constructor(video, films) {
    this.#video = video;
    this.#films = films;
    // A link to the object store lives for minutes, a class is watched for longer.
    video.addEventListener("error", () => this.#again(), { signal: this.#leave.signal });
  }

  /**
   * @param {string} hls address of the master playlist; empty where there is none
   * @param {number} at seconds
   */
  async start(hls, at) {
    if (hls && (await this.#startHls(hls, at))) return;
    const { from, paused } = this.#begun(at);
    const address = hls && this.#video.canPlayType(HLS) ? hls : (this.#films[0]?.url ?? "");
    this.#put(address, from, paused);
    this.onchoices();
  }

  /** Who was quicker than these scripts plays the MP4 already. @param {number} at */
  #begun(at) {
    const { currentTime, paused } = this.#video;
    return { from: currentTime || at, paused };
  }

  /** @returns {Choice[]} */
  get choices() {
    if (this.#hls) {
      const levels = this.#hls.levels.map(({ height }, index) => ({ value: String(index), label: `${height}p` }));
      return levels.length > 1 ? [{ value: "-1", label: "Auto" }, ...levels.reverse()] : [];
    }
    if (this.#films.length < 2) return [];
    return this.#films.map(({ quality }, index) => ({ value: String(index), label: quality }));
  }

  /** @returns {string} the value of what is chosen */
  get choice() {
    return String(this.#hls ? (this.#hls.autoLevelEnabled ? -1 : this.#hls.nextLevel) : this.#film);
  }

  set choice(value) {
    if (this.#hls) {
      this.#hls.nextLevel = Number(value);
      return;
    }
    this.#film = Number(value);
    this.#put(this.#films[this.#film].url, this.#video.currentTime, this.#video.paused);
  }

  close() {
    this.#leave.abort();
    this.#hls?.destroy();
    this.#hls = null;
  }

  /**
   * @param {string} address
   * @param {number} at
   * @returns {Promise<boolean>} whether hls.js can work here
   */
  async #startHls(address, at) {
    const { default: Hls } = await import("/static/vendor/hls.js").catch(() => ({ default: null }));
    if (!Hls?.isSupported() || this.#leave.signal.aborted) return false;
    const links = new Links(async (playlist) => {
      const answer = await fetch(playlist);
      if (!answer.ok) throw new Error(`${answer.status}`);
      return answer.text();
    });
    const { from, paused } = this.#begun(at);
    const hls = new Hls({ fLoader: freshLoader(Hls, links), startPosition: from, capLevelToPlayerSize: true });
    this.#hls = hls;
    hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) => links.read(details.url));
    hls.on(Hls.Events.AUDIO_TRACK_LOADED, (_, { details }) => links.read(details.url));
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.onchoices());
    let comes = false;
    hls.on(Hls.Events.FRAG_LOADED, () => (comes = true));
    hls.on(Hls.Events.ERROR, (_, { fatal, type, details }) => {
      if (!comes && details === Hls.ErrorDetails.FRAG_LOAD_ERROR) this.#leaveHls(from); // not even the first: no outage
      if (!fatal || !this.#hls) return;
      if (type === Hls.ErrorTypes.MEDIA_ERROR && this.#mayTryAgain()) hls.recoverMediaError();
      else this.#leaveHls(comes ? this.#video.currentTime : from);
    });
    hls.loadSource(`${address}?for=player`);
    hls.attachMedia(this.#video); // which pauses it
    if (!paused) void this.#video.play().catch(() => {});
    return true;
  }

  /**
   * It does not work (a store that other sites' pages may not read, say): the MP4 does.
   * @param {number} at seconds
   */
  #leaveHls(at) {
    if (!this.#hls) return;
    const { paused } = this.#video;
    this.#hls.destroy();
    this.#hls = null;
    if (this.#films.length) this.#put(this.#films[0].url, at, paused);
    this.onchoices();
  }

  #again() {
    if (this.#hls || !this.#mayTryAgain()) return;
    this.#put(this.#video.src, this.#video.currentTime, this.#video.paused);
  }

  #mayTryAgain() {
    const now = performance.now();
    if (now - this.#last < AGAIN_AFTER) return false;
    this.#last = now;
    return true;
  }

  /**
   * @param {string} url
   * @param {number} at
   * @param {boolean} paused
   */
  #put(url, at, paused) {
    const [video, { playbackRate }] = [this.#video, this.#video];
    video.addEventListener("loadedmetadata", () => {
      if (at) video.currentTime = at;
      video.playbackRate = playbackRate;
      if (!paused) void video.play().catch(() => {});
    }, { once: true, signal: this.#leave.signal });
    video.src = url;
  }
}

/**
 * @param {typeof import("/static/vendor/hls.js").default} Hls
 * @param {Links} links
 * @returns {any} a loader of segments that never comes with a link too old
 */
function freshLoader(Hls, links) {
  return class extends Hls.DefaultConfig.loader {
    #gone = false;

    /**
     * @param {any} context
     * @param {any} config
     * @param {any} callbacks
     */
    async load(context, config, callbacks) {
      context.url = await links.of(context.frag.baseurl, context.url);
      if (!this.#gone) super.load(context, config, callbacks);
    }

    abort() {
      this.#gone = true;
      super.abort();
    }

    destroy() {
      this.#gone = true;
      super.destroy();
    }
  };
}
