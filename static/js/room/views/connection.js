// @ts-check
/** The panel behind the bars: what a connection carries, in numbers that go on changing while one looks, and can be copied. */
import { qualityWords, setBars } from "./bars.js";
import { byId, el, setText, typed } from "./dom.js";

/** @typedef {import('../connection_words.js').Described & {title: string, quality: string, text: string}} Shown `text`: all of it, to copy */

export class ConnectionView {
  #dialog = typed("dialog-connection", HTMLDialogElement);
  #text = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #fading;

  /** @param {{closed: () => void}} handlers */
  constructor({ closed }) {
    this.#dialog.addEventListener("close", closed);
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
    byId("connection-copy").addEventListener("click", () => void this.#copy());
  }

  open() {
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  /** @param {Shown} shown */
  render(shown) {
    const words = qualityWords(shown.quality);
    this.#text = shown.text;
    setText(byId("connection-title"), shown.title);
    setBars(byId("connection-bars"), shown.quality, "Quality");
    setText(byId("connection-quality"), words[0].toUpperCase() + words.slice(1));
    setText(byId("connection-note"), shown.note);
    byId("connection-note").hidden = !shown.note;
    byId("connection-facts").replaceChildren(...listed(shown.facts));
    byId("connection-streams").replaceChildren(...shown.streams.map(({ name, facts }) => el("section", {},
      el("h3", { text: name }), el("dl", { class: "facts" }, ...listed(facts)))));
  }

  async #copy() {
    const { clipboard } = navigator; // on pages with https alone
    const said = await clipboard?.writeText(this.#text).then(() => "Copied", () => "The browser does not let it be copied");
    setText(byId("connection-copied"), said ?? "This browser copies only on a page with https");
    clearTimeout(this.#fading);
    this.#fading = setTimeout(() => setText(byId("connection-copied"), ""), 3000);
  }
}

/** @param {import('../connection_words.js').Facts} facts */
function listed(facts) {
  return facts.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value })));
}
