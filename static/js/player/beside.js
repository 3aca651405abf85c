// @ts-check
/** What stands beside the film and goes along with it: its chapters, and what was written in the chat. */
import { begunBy, clock } from "./time.js";

/** @typedef {import("./seekbar.js").Chapter} Chapter */
/** @typedef {{begin: number, name: string, role: string, text: string}} Message */

const NEAR_END = 40; // pixels: who has scrolled further up reads something, and is not carried off

/**
 * @param {number} seconds
 * @param {(seconds: number) => void} onseek
 */
function timeButton(seconds, onseek) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "player-time";
  button.textContent = clock(seconds);
  button.addEventListener("click", () => onseek(seconds));
  return button;
}

export class Chapters {
  #rows;
  #chapters;

  /**
   * @param {HTMLElement} section
   * @param {Chapter[]} chapters
   * @param {(seconds: number) => void} onseek
   */
  constructor(section, chapters, onseek) {
    this.#chapters = chapters;
    this.#rows = chapters.map(({ begin, title }) => {
      const [row, button, words] = [document.createElement("li"), timeButton(begin, onseek), document.createElement("span")];
      words.textContent = title;
      button.append(words);
      row.append(button);
      return row;
    });
    section.querySelector("ol")?.replaceChildren(...this.#rows);
    section.hidden = chapters.length === 0;
  }

  /** @param {number} seconds */
  show(seconds) {
    const now = begunBy(this.#chapters, seconds) - 1;
    this.#rows.forEach((row, index) => row.firstElementChild?.setAttribute("aria-current", String(index === now)));
  }
}

export class Chat {
  #messages;
  #rows;
  #list;
  #all = false;
  #shown = 0;

  /**
   * @param {HTMLElement} section
   * @param {Message[]} messages in the order of time
   * @param {(seconds: number) => void} onseek
   */
  constructor(section, messages, onseek) {
    this.#messages = messages;
    this.#list = /** @type {HTMLElement} */ (section.querySelector("ul"));
    this.#rows = messages.map(({ begin, name, role, text }) => {
      const [row, who, said] = [document.createElement("li"), document.createElement("b"), document.createElement("p")];
      who.textContent = name;
      said.textContent = text;
      row.dataset.role = role;
      row.hidden = true;
      row.append(timeButton(begin, onseek), who, said);
      return row;
    });
    this.#list.replaceChildren(...this.#rows);
    const button = /** @type {HTMLButtonElement} */ (section.querySelector("[data-part=all]"));
    button.addEventListener("click", () => {
      this.#all = !this.#all;
      button.setAttribute("aria-pressed", String(this.#all));
      this.#put(this.#all ? this.#rows.length : begunBy(this.#messages, this.#seconds));
    });
    section.hidden = messages.length === 0;
  }

  #seconds = 0;

  /** @param {number} seconds */
  show(seconds) {
    this.#seconds = seconds;
    if (this.#all) return;
    this.#put(begunBy(this.#messages, seconds));
  }

  /** @param {number} count how many, from the first */
  #put(count) {
    if (count === this.#shown) return;
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    const follows = scrollHeight - scrollTop - clientHeight < NEAR_END;
    for (let index = this.#shown; index < count; index++) this.#rows[index].hidden = false;
    for (let index = count; index < this.#shown; index++) this.#rows[index].hidden = true;
    this.#shown = count;
    if (follows && !this.#all) this.#list.scrollTop = this.#list.scrollHeight;
  }
}
