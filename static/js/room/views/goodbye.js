// @ts-check
/** After the class: why one is out, and where one can go. */
import { byId, typed } from "./dom.js";

/** @type {Record<string, {title: string, text: string, rejoin: boolean}>} */
const WORDS = {
  left: { title: "You left the class", text: "It goes on without you. You can come back as long as it lasts.", rejoin: true },
  ended: { title: "The class has ended", text: "Recordings appear on the lesson’s page when they are ready.", rejoin: false },
  removed: { title: "You were removed from the class", text: "A teacher ended your part in this class.", rejoin: false },
  replaced: { title: "You are in this class in another tab", text: "A person can be in a class once. This tab stepped back.", rejoin: true },
  unauthenticated: { title: "Your link or sign-in is no longer valid", text: "Sign in again, or ask the teacher for a new link.", rejoin: true },
};

export class GoodbyeView {
  #root = byId("goodbye");

  /** @param {{lessonUrl: string | null, rejoin: () => void}} options */
  constructor({ lessonUrl, rejoin }) {
    const link = typed("goodbye-lesson", HTMLAnchorElement);
    if (lessonUrl) {
      link.href = lessonUrl;
      link.textContent = "To the lesson’s page";
    }
    byId("goodbye-rejoin").addEventListener("click", rejoin);
  }

  /** @param {boolean} shown */
  show(shown) {
    this.#root.hidden = !shown;
  }

  /** @param {string} state @param {string} reason */
  render(state, reason) {
    const { title, text, rejoin } = WORDS[state] ?? WORDS.left;
    byId("goodbye-title").textContent = title;
    byId("goodbye-text").textContent = state === "removed" && reason && reason !== "removed" ? `${text} The reason given: ${reason}` : text;
    byId("goodbye-rejoin").hidden = !rejoin;
    this.#root.dataset.reason = state;
    this.#root.focus();
  }
}
