// @ts-check
/** Where somebody was in a film, and how fast they like it. Kept in the browser alone. */

const NEARLY_OVER = 0.97; // of the film: who left there has seen it

export class Memory {
  #storage;
  #key;

  /**
   * @param {Storage} storage
   * @param {string} id of the recording
   */
  constructor(storage, id) {
    this.#storage = storage;
    this.#key = `lectern-position-${id}`;
  }

  /** @returns {number} seconds; 0 for a film that is new, or was seen to its end */
  get position() {
    return Number(this.#read(this.#key)) || 0;
  }

  /**
   * @param {number} seconds
   * @param {number} duration
   */
  keep(seconds, duration) {
    if (!Number.isFinite(duration)) return;
    this.#write(this.#key, seconds > duration * NEARLY_OVER ? null : String(Math.floor(seconds)));
  }

  get speed() {
    return Number(this.#read("lectern-speed")) || 1;
  }

  set speed(factor) {
    this.#write("lectern-speed", String(factor));
  }

  /** @param {string} key */
  #read(key) {
    try {
      return this.#storage.getItem(key);
    } catch {
      return null; // storage is forbidden: nothing is remembered
    }
  }

  /**
   * @param {string} key
   * @param {string | null} value
   */
  #write(key, value) {
    try {
      if (value === null) this.#storage.removeItem(key);
      else this.#storage.setItem(key, value);
    } catch {
      // Forbidden, or full.
    }
  }
}
