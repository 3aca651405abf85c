// @ts-check
/** A row of its own above the class while it reconnects: nothing for three seconds, then words, and it covers nothing. */

const PATIENCE = 3000; // ms: most breaks are over before anybody needs to read about them

export class BannerView {
  #root;
  #text;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} text
   * @param {HTMLElement} button
   * @param {() => void} rejoin
   */
  constructor(root, text, button, rejoin) {
    this.#root = root;
    this.#text = text;
    button.addEventListener("click", rejoin);
  }

  /** @param {string} words */
  soon(words) {
    this.#text.textContent = words;
    if (this.#timer === undefined && this.#root.hidden) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#root.hidden = false;
      }, PATIENCE);
    }
  }

  hide() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#root.hidden = true;
  }
}
