// @ts-check
/** The seek bar: a range input, with chapters marked on it and a small picture above the moment that is pointed at. */
import { begunBy, clock } from "./time.js";

/** @typedef {import("./vtt.js").Picture} Picture */
/** @typedef {{begin: number, end: number, title: string}} Chapter */

export class SeekBar {
  /** @type {Picture[]} */
  pictures = [];
  /** @type {Chapter[]} */
  #chapters = [];
  #duration = 0;
  #held = false;
  #input;
  #marks;
  #preview;

  /**
   * @param {{input: HTMLInputElement, marks: HTMLElement, preview: HTMLElement}} parts
   * @param {(seconds: number) => void} onseek
   */
  constructor({ input, marks, preview }, onseek) {
    this.#input = input;
    this.#marks = marks;
    this.#preview = preview;
    input.addEventListener("input", () => {
      onseek(Number(input.value));
      this.#point(Number(input.value));
    });
    input.addEventListener("pointerdown", () => (this.#held = true));
    input.addEventListener("pointermove", (event) => this.#point(this.#under(event.clientX)));
    for (const end of ["pointerup", "pointercancel", "change"]) input.addEventListener(end, () => (this.#held = false));
    for (const leave of ["pointerleave", "blur"]) input.addEventListener(leave, () => (preview.hidden = true));
  }

  /** @param {Chapter[]} chapters */
  set chapters(chapters) {
    this.#chapters = chapters;
    this.#mark();
  }

  /**
   * @param {number} seconds
   * @param {number} duration
   */
  show(seconds, duration) {
    if (duration !== this.#duration && Number.isFinite(duration)) {
      this.#duration = duration;
      this.#input.max = duration.toFixed(1);
      this.#mark();
    }
    if (!this.#held) this.#input.value = seconds.toFixed(1);
    const chapter = this.#chapterAt(seconds);
    this.#input.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(this.#duration)}${chapter ? `, ${chapter}` : ""}`);
    this.#input.style.setProperty("--played", `${(100 * seconds) / (this.#duration || 1)}%`);
  }

  /** @param {number} seconds a key jumped there: the picture shows where that is */
  jumped(seconds) {
    if (document.activeElement === this.#input) this.#point(seconds);
  }

  #mark() {
    this.#marks.replaceChildren(...this.#chapters.slice(1).filter(({ begin }) => begin < this.#duration).map(({ begin }) => {
      const mark = document.createElement("span");
      mark.style.left = `${(100 * begin) / this.#duration}%`;
      return mark;
    }));
  }

  /** @param {number} seconds */
  #chapterAt(seconds) {
    return this.#chapters[begunBy(this.#chapters, seconds) - 1]?.title ?? "";
  }

  /** @param {number} x of the pointer in the window */
  #under(x) {
    const { left, width } = this.#input.getBoundingClientRect();
    return Math.min(1, Math.max(0, (x - left) / (width || 1))) * this.#duration;
  }

  /** @param {number} seconds */
  #point(seconds) {
    if (!this.#duration) return;
    const picture = this.pictures[begunBy(this.pictures, seconds) - 1];
    const [image, title, time] = /** @type {HTMLElement[]} */ ([...this.#preview.children]);
    image.hidden = !picture;
    if (picture) {
      const { url, x, y, width, height } = picture;
      Object.assign(image.style, {
        width: `${width}px`, height: `${height}px`, backgroundImage: `url("${url}")`, backgroundPosition: `-${x}px -${y}px`,
      });
    }
    title.textContent = this.#chapterAt(seconds);
    time.textContent = clock(seconds);
    this.#preview.hidden = false;
    const [room, own] = [this.#input.offsetWidth, this.#preview.offsetWidth];
    const middle = (seconds / this.#duration) * room;
    this.#preview.style.left = `${Math.max(0, Math.min(room - own, middle - own / 2))}px`; // within the bar's own width
  }
}
