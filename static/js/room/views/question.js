// @ts-check
/** A question that cannot be passed over: whoever is asked goes on or leaves. */
import { byId, setText, typed } from "./dom.js";

export class QuestionView {
  #dialog;
  #text;
  /** @type {(answer: string) => void} */
  #answered = () => {};

  /** @param {string} name of the dialog `dialog-<name>`, whose text is `<name>-text` */
  constructor(name) {
    const dialog = (this.#dialog = typed(`dialog-${name}`, HTMLDialogElement));
    this.#text = byId(`${name}-text`);
    // Escape is no answer; pressed twice, Chromium closes a dialog without asking.
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("keydown", (event) => event.key === "Escape" && event.preventDefault());
    // The browser tells late that it was closed: by then it may be open for another question.
    dialog.addEventListener("close", () => !dialog.open && this.#answered(dialog.returnValue));
  }

  /** @param {string} text @returns {Promise<'continue' | 'leave' | ''>} empty: it was closed, or asked anew, without an answer */
  ask(text) {
    this.close();
    setText(this.#text, text);
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    return new Promise((resolve) => {
      this.#answered = (answer) => resolve(answer === "continue" || answer === "leave" ? answer : "");
    });
  }

  close() {
    this.#answered("");
    if (this.#dialog.open) this.#dialog.close("");
  }
}
