// @ts-check
/** What the class sees of its recording: the chip in the bar, the question to everybody, and what a host may do. */
import { byId, clock, setText, typed } from "./dom.js";
import { QuestionView } from "./question.js";

const ABOUT = {
  all: "Your name, voice, camera and screen will be in it. Nothing of yours is recorded before you continue.",
  teachers: "Only teachers are in it: your voice, camera and screen are not recorded unless a teacher makes you one of them.",
};

/**
 * @typedef {object} RecordingModel
 * @property {{text: string, kind: string} | null} words null: there is no recording
 * @property {string} status
 * @property {number | null} seconds recorded; null while none runs
 * @property {boolean} may record, by role and in this class
 * @property {{agreed: number, people: number} | null} consents for whom they concern
 *
 * @typedef {{who: 'all' | 'teachers', layout: string, qualities: string[], formats: string[]}} RecordingOptions
 */

export class RecordingView {
  #question = new QuestionView("consent");
  #settings = typed("dialog-recording", HTMLDialogElement);
  #who = typed("recording-who", HTMLSelectElement);
  #layout = typed("recording-layout", HTMLSelectElement);
  #quality = typed("recording-quality", HTMLSelectElement);
  #formats = typed("recording-formats", HTMLSelectElement);

  /** @param {Record<string, string>} wanted by the lesson */
  constructor(wanted) {
    if (wanted.who) this.#who.value = wanted.who;
    if (wanted.layout) this.#layout.value = wanted.layout;
    this.#settings.addEventListener("click", (event) => event.target === this.#settings && this.#settings.close());
  }

  /** @returns {RecordingOptions} */
  get options() {
    return {
      who: /** @type {'all' | 'teachers'} */ (this.#who.value), layout: this.#layout.value, qualities: [this.#quality.value],
      formats: this.#formats.value.split(" "),
    };
  }

  settings() {
    this.#settings.showModal();
  }

  /** @param {'all' | 'teachers'} who is recorded */
  ask(who) {
    return this.#question.ask(ABOUT[who]);
  }

  closeQuestion() {
    this.#question.close();
  }

  /** @param {RecordingModel} model */
  render({ words, status, seconds, may, consents }) {
    const chip = byId("recording-state");
    chip.hidden = !words;
    setText(byId("recording-words"), words?.text ?? "");
    chip.dataset.kind = words?.kind ?? "";
    chip.dataset.status = status;
    const agreed = consents ? `${consents.agreed} of ${consents.people} have agreed to be recorded` : "";
    chip.title = seconds === null ? "" : agreed || "This class is being recorded";
    this.tick(seconds);
    setText(byId("recording-consents"), agreed);
    byId("recording-consents").hidden = !agreed;
    const paused = status === "paused";
    byId("more-pause").hidden = byId("more-mark").hidden = !may || seconds === null;
    byId("more-recording").hidden = !may || seconds !== null;
    setText(/** @type {HTMLElement} */ (byId("more-pause").querySelector("span")), paused ? "Go on recording" : "Pause the recording");
    const sign = byId("more-pause").querySelector("i");
    if (sign) sign.className = `bi bi-${paused ? "play-circle" : "pause-circle"}`;
  }

  /** @param {number | null} seconds */
  tick(seconds) {
    setText(byId("recording-time"), seconds === null ? "" : clock(seconds));
  }
}
