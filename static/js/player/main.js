// @ts-check
/**
 * <recording-player>: takes the place of the browser's own controls. Its parts stand in templates/recordings/player.html,
 * what there is to play in the JSON beside them. It comes by htmx when a recording gets ready, and may go the same way.
 */
import { Chapters, Chat } from "./beside.js";
import { deedOf } from "./keys.js";
import { Memory } from "./memory.js";
import { SeekBar } from "./seekbar.js";
import { Source } from "./source.js";
import { clock, moment } from "./time.js";
import { pictures } from "./vtt.js";
import { tellWhatIsWatched } from "./watched.js";

/**
 * @typedef {{id: string, films: import("./source.js").Film[], hls: string, thumbnails: string, chapters: string, chat: string,
 *   watched: string}} Media addresses; empty where there is no such file
 */

const KEEP_EVERY = 5; // seconds of film between two notes of the position
const RESTS_AFTER = 3000; // ms without a hand on anything: in full screen the controls fade

class RecordingPlayer extends HTMLElement {
  /** @type {(() => void)[]} */
  #closing = [];

  connectedCallback() {
    const media = /** @type {Media} */ (JSON.parse(this.querySelector("script[type='application/json']")?.textContent ?? "{}"));
    const gone = new AbortController();
    this.#closing.push(() => gone.abort());
    void this.#begin(media, gone.signal);
  }

  disconnectedCallback() {
    for (const close of this.#closing.splice(0)) close();
  }

  /**
   * @template {HTMLElement} T
   * @param {string} name
   * @returns {T}
   */
  #part(name) {
    return /** @type {T} */ (this.querySelector(`[data-part="${name}"]`));
  }

  /**
   * @param {Media} media
   * @param {AbortSignal} signal
   */
  async #begin(media, signal) {
    const video = /** @type {HTMLVideoElement} */ (this.querySelector("video"));
    const memory = new Memory(localStorage, media.id);
    const source = new Source(video, media.films);
    this.#closing.push(() => source.close());
    this.#closing.push(tellWhatIsWatched(video, media.watched, this.dataset.token ?? ""));
    video.controls = false;
    this.#part("bar").hidden = false;

    const seek = (/** @type {number} */ seconds) => {
      video.currentTime = Math.min(Math.max(0, seconds), video.duration || Infinity);
      bar.jumped(video.currentTime);
    };
    const bar = new SeekBar(
      { input: this.#part("seek"), marks: this.#part("marks"), preview: this.#part("preview") },
      (seconds) => (video.currentTime = seconds),
    );
    /** @type {{show: (seconds: number) => void}[]} what goes along with the film: chapters, chat, one day slides */
    const beside = [];
    let kept = -1;
    const show = () => {
      const { currentTime, duration } = video;
      bar.show(currentTime, duration);
      this.#part("clock").textContent = `${clock(currentTime)} / ${clock(duration)}`;
      for (const each of beside) each.show(currentTime);
      if (Math.abs(currentTime - kept) >= KEEP_EVERY) memory.keep((kept = currentTime), duration);
    };
    for (const event of ["timeupdate", "seeked", "durationchange", "loadedmetadata"]) video.addEventListener(event, show, { signal });

    this.#buttons(video, source, memory, seek, signal);
    const asked = moment(new URLSearchParams(location.search).get("t"));
    const from = asked ?? memory.position;
    if (asked === null && from) this.#offerTheBeginning(from, seek);
    void source.start(media.hls, from);

    const [chapters, chat, small] = await Promise.all([
      json(media.chapters, signal), json(media.chat, signal), media.thumbnails ? text(media.thumbnails, signal) : null,
    ]);
    if (signal.aborted) return;
    if (small) bar.pictures = pictures(small, new URL(media.thumbnails, location.href).href);
    if (chapters) {
      bar.chapters = chapters.chapters;
      beside.push(new Chapters(this.#part("chapters"), chapters.chapters, seek));
    }
    if (chat) {
      const messages = chat.messages.filter((/** @type {any} */ one) => one.type === "text" && one.message);
      beside.push(new Chat(this.#part("chat"), messages.map((/** @type {any} */ one) => (
        { begin: one.seconds, name: one.name, role: one.role, text: one.message })), seek));
    }
    this.classList.toggle("player-has-side", Boolean(this.querySelector(".player-side > :not([hidden])")));
    show();
  }

  /**
   * @param {HTMLVideoElement} video
   * @param {Source} source
   * @param {Memory} memory
   * @param {(seconds: number) => void} seek
   * @param {AbortSignal} signal
   */
  #buttons(video, source, memory, seek, signal) {
    const [speed, quality, volume, language] = [this.#part("speed"), this.#part("quality"), this.#part("volume"), this.#part("language")].map(
      (part) => /** @type {HTMLSelectElement & HTMLInputElement} */ (part));
    const stage = this.#part("stage");
    const captions = () => [...video.textTracks].filter(({ kind }) => kind === "captions");
    const factors = [...speed.options].map(({ value }) => Number(value));
    const faster = (/** @type {number} */ by) => {
      const at = factors.indexOf(video.playbackRate);
      video.playbackRate = factors[Math.min(factors.length - 1, Math.max(0, (at < 0 ? factors.indexOf(1) : at) + by))];
    };
    const caption = (/** @type {boolean} */ shown) => {
      for (const track of captions())
        track.mode = shown && track.language === language.value ? "showing" : "disabled";
      this.#press("captions", shown);
    };
    /** @type {Record<import("./keys.js").Deed, () => void>} */
    const deeds = {
      toggle: () => (video.paused ? void video.play().catch(() => {}) : video.pause()),
      back5: () => seek(video.currentTime - 5),
      on5: () => seek(video.currentTime + 5),
      back10: () => seek(video.currentTime - 10),
      on10: () => seek(video.currentTime + 10),
      slower: () => faster(-1),
      faster: () => faster(1),
      mute: () => (video.muted = !video.muted),
      captions: () => caption(!captions().some(({ mode }) => mode === "showing")),
      fullscreen: () => void (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen?.())?.catch(() => {}),
    };
    document.addEventListener("keydown", (event) => {
      const deed = deedOf(event);
      if (!deed) return;
      event.preventDefault();
      deeds[deed]();
    }, { signal });
    for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (this.querySelectorAll("[data-deed]")))
      button.addEventListener("click", () => deeds[/** @type {import("./keys.js").Deed} */ (button.dataset.deed)]());
    video.addEventListener("click", deeds.toggle, { signal });

    speed.addEventListener("change", () => (video.playbackRate = Number(speed.value)));
    video.addEventListener("ratechange", () => (speed.value = String((memory.speed = video.playbackRate))), { signal });
    video.playbackRate = memory.speed;
    volume.addEventListener("input", () => {
      video.volume = Number(volume.value) / 100;
      video.muted = false;
    });
    video.addEventListener("volumechange", () => {
      volume.value = String(video.muted ? 0 : Math.round(video.volume * 100));
      volume.style.setProperty("--played", `${volume.value}%`);
      this.#name("mute", video.muted ? "Sound on" : "Sound off", video.muted ? "bi-volume-mute-fill" : "bi-volume-up-fill");
    }, { signal });
    for (const event of ["play", "pause"])
      video.addEventListener(event, () => this.#name("play", video.paused ? "Play" : "Pause", video.paused ? "bi-play-fill" : "bi-pause-fill"), { signal });
    source.onchoices = () => {
      quality.replaceChildren(...source.choices.map(({ label, value }) => new Option(label, value)));
      quality.value = source.choice;
      /** @type {HTMLElement} */ (quality.parentElement).hidden = source.choices.length === 0;
    };
    quality.addEventListener("change", () => (source.choice = quality.value));
    this.#part("captions").hidden = language.length === 0;
    /** @type {HTMLElement} */ (language.parentElement).hidden = language.length < 2;
    language.addEventListener("change", () => caption(true));
    this.#part("link").addEventListener("click", () => void this.#copyLink(video.currentTime));

    let resting = 0;
    const stir = () => {
      stage.classList.remove("player-rests");
      clearTimeout(resting);
      resting = window.setTimeout(() => stage.classList.toggle("player-rests", !video.paused), RESTS_AFTER);
    };
    for (const event of ["pointermove", "keydown", "focusin"]) stage.addEventListener(event, stir, { signal });
    this.#closing.push(() => clearTimeout(resting));
  }

  /**
   * @param {string} part
   * @param {string} words
   * @param {string} icon
   */
  #name(part, words, icon) {
    const button = this.#part(part);
    button.setAttribute("aria-label", words);
    button.title = words;
    /** @type {Element} */ (button.firstElementChild).className = `bi ${icon}`;
  }

  /**
   * @param {string} part
   * @param {boolean} pressed
   */
  #press(part, pressed) {
    this.#part(part).setAttribute("aria-pressed", String(pressed));
  }

  /**
   * @param {number} from seconds
   * @param {(seconds: number) => void} seek
   */
  #offerTheBeginning(from, seek) {
    const [again, notice] = [document.createElement("button"), this.#part("notice")];
    again.type = "button";
    again.className = "btn btn-link btn-sm";
    again.textContent = "From the beginning";
    again.addEventListener("click", () => {
      seek(0);
      notice.replaceChildren();
    });
    notice.replaceChildren(`You were at ${clock(from)}. `, again);
  }

  /** @param {number} seconds */
  async #copyLink(seconds) {
    const link = new URL(location.pathname, location.href);
    link.searchParams.set("t", String(Math.floor(seconds)));
    const copied = await navigator.clipboard?.writeText(link.href).then(() => true, () => false);
    this.#part("notice").textContent = copied ? `Link to ${clock(seconds)} copied.` : link.href;
  }
}

/**
 * @param {string} address
 * @param {AbortSignal} signal
 * @returns {Promise<string | null>} null: without it the film still plays
 */
async function text(address, signal) {
  const answer = await fetch(address, { signal }).catch(() => null);
  return answer?.ok ? answer.text() : null;
}

/**
 * @param {string} address
 * @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
async function json(address, signal) {
  return address ? JSON.parse((await text(address, signal)) ?? "null") : null;
}

customElements.define("recording-player", RecordingPlayer);
