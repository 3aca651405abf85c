// @ts-check
/** Short messages beside the class: what happened, and what to do about it. */
import { el, icon } from "./dom.js";

/**
 * @typedef {object} Notice
 * @property {string} [key] a newer notice of the same key takes the place of the older
 * @property {'info' | 'warning' | 'problem'} [level]
 * @property {string} title
 * @property {string} [text]
 * @property {{label: string, run: () => void}[]} [actions]
 * @property {boolean} [stays] until it is dismissed
 */

const SHOWN_FOR = 7000; // ms, for what needs no answer
const ICONS = { info: "info-circle", warning: "exclamation-circle", problem: "exclamation-triangle-fill" };

export class NoticesView {
  #root;
  /** @type {Map<string, HTMLElement>} */
  #shown = new Map();
  #next = 0;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
  }

  /** @param {Notice} notice @returns {string} its key */
  show({ key = `notice-${this.#next++}`, level = "info", title, text = "", actions = [], stays = level === "problem" }) {
    this.hide(key);
    const card = el("div", {
      class: `notice notice-${level}`, "data-testid": "notice", role: level === "info" ? "status" : "alert",
    }, icon(ICONS[level]), el("div", { class: "notice-body" }, el("strong", { text: title }), ...(text ? [el("p", { text })] : [])));
    if (actions.length) {
      card.querySelector(".notice-body")?.append(el("div", { class: "notice-actions" }, ...actions.map(({ label, run }) => el("button", {
        type: "button", class: "btn btn-sm btn-primary", text: label, onclick: () => {
          this.hide(key);
          run();
        },
      }))));
    }
    card.append(el("button", { type: "button", class: "icon-button", "aria-label": "Dismiss", onclick: () => this.hide(key) }, icon("x-lg")));
    this.#shown.set(key, card);
    this.#root.append(card);
    if (!stays) setTimeout(() => this.#shown.get(key) === card && this.#hideUnlessUsed(key, card), SHOWN_FOR);
    return key;
  }

  /** @param {string} key */
  hide(key) {
    this.#shown.get(key)?.remove();
    this.#shown.delete(key);
  }

  clear() {
    for (const key of [...this.#shown.keys()]) this.hide(key);
  }

  /** One that is pointed at or has the focus is being read. @param {string} key @param {HTMLElement} card */
  #hideUnlessUsed(key, card) {
    if (card.matches(":hover, :focus-within")) setTimeout(() => this.#shown.get(key) === card && this.#hideUnlessUsed(key, card), 2000);
    else this.hide(key);
  }
}
