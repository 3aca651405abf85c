// @ts-check
/** Notices that nothing arrives any more of what did: a sign of another network under us, seconds before the browser tells. */

const STALLED = 1000; // ms: longer than most pauses of a line that is only poor, and a mistake costs one small request

export class StallWatch {
  #newest = 0;
  /** @type {number | null} when something came last, ms; null: nothing did since we said so */
  #cameAt = null;

  /**
   * @param {number} newest when the latest packet of all that is received was played, by whatever clock; 0: none was
   * @param {number} now ms
   * @returns {boolean} true once each time that it stops
   */
  update(newest, now) {
    if (newest > this.#newest) {
      this.#newest = newest;
      this.#cameAt = now;
    }
    if (this.#cameAt === null || now - this.#cameAt < STALLED) return false;
    this.#cameAt = null;
    return true;
  }
}

/** @param {RTCRtpReceiver | undefined | null} receiver @returns {number} when its latest packet was played, 0 for never */
export function lastPlayed(receiver) {
  return receiver?.getSynchronizationSources?.()[0]?.timestamp ?? 0;
}
