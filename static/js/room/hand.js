// @ts-check
/** A raised hand has done its work when its owner speaks: it goes down by itself, unless it is to stay up. */

const SPEAKS = 1500; // ms in a row (pauses between words count): more than "yes, please"
const GRACE = 5000; // ms to say "Keep raised"

/** Pure: the clock is an argument. */
export class HandWatch {
  /** @type {number | null} ms, since when its owner speaks */
  #since = null;
  /** @type {number | null} ms, when it was said that it goes down */
  #asked = null;
  #done = false; // kept up by wish, or its lowering is under way

  /**
   * @param {{up: boolean, speaking: boolean}} seen
   * @param {number} now ms
   * @returns {'ask' | 'lower' | null} say that it goes down; take it down
   */
  update({ up, speaking }, now) {
    if (!up) {
      this.#since = this.#asked = null;
      this.#done = false;
      return null;
    }
    if (this.#done) return null;
    if (this.#asked !== null) {
      if (now - this.#asked < GRACE) return null;
      this.#done = true;
      return "lower";
    }
    this.#since = speaking ? (this.#since ?? now) : null;
    if (this.#since === null || now - this.#since < SPEAKS) return null;
    this.#asked = now;
    return "ask";
  }

  /** Until it is lowered by hand. */
  keep() {
    this.#done = true;
  }
}
