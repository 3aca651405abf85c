// @ts-check
/** Chat or participants beside the class, one at a time; the focus goes back to where it came from. */
import { byId } from "./dom.js";

/** @typedef {'chat' | 'people'} Panel */

export class PanelsView {
  /** @type {Panel | null} */
  #open = null;
  /** @type {HTMLElement | null} */
  #opener = null;
  #changed;

  /** @param {(open: Panel | null) => void} changed */
  constructor(changed) {
    this.#changed = changed;
    for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => this.show(null));
  }

  get open() {
    return this.#open;
  }

  /** @param {Panel} which */
  toggle(which) {
    this.show(this.#open === which ? null : which);
  }

  /** @param {Panel | null} which */
  show(which) {
    const hadFocus = this.#open !== null && byId(`panel-${this.#open}`).contains(document.activeElement);
    if (which && !hadFocus) this.#opener = document.activeElement instanceof HTMLElement ? document.activeElement : null;
    this.#open = which;
    byId("panel-chat").hidden = which !== "chat";
    byId("panel-people").hidden = which !== "people";
    if (!which && hadFocus) (this.#opener?.isConnected && this.#opener.offsetParent ? this.#opener : byId("tool-more")).focus();
    this.#changed(which);
  }
}
