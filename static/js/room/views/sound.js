// @ts-check
/** Plays what is heard: a hidden audio element for each stream, apart from the tiles, so that no layout cuts a voice off. */

export class SoundView {
  #root;
  #blocked;
  /** @type {Map<string, HTMLAudioElement>} */
  #elements = new Map();
  #speaker = "";

  /**
   * @param {HTMLElement} root
   * @param {(blocked: boolean) => void} blocked the browser wants a click first, or no longer does
   */
  constructor(root, blocked) {
    this.#root = root;
    this.#blocked = blocked;
  }

  /** @param {string} id @param {MediaStreamTrack} track */
  add(id, track) {
    this.remove(id);
    const audio = document.createElement("audio");
    audio.autoplay = true;
    audio.srcObject = new MediaStream([track]);
    this.#elements.set(id, audio);
    this.#root.append(audio);
    this.#route(audio);
    void this.#play(audio);
  }

  /** @param {string} id */
  remove(id) {
    const audio = this.#elements.get(id);
    if (!audio) return;
    audio.srcObject = null;
    audio.remove();
    this.#elements.delete(id);
  }

  /** After a click, by which the browser allows sound. */
  async unblock() {
    await Promise.all([...this.#elements.values()].map((audio) => this.#play(audio)));
  }

  /** @param {string} deviceId */
  setSpeaker(deviceId) {
    this.#speaker = deviceId;
    for (const audio of this.#elements.values()) this.#route(audio);
  }

  /** @param {HTMLAudioElement} audio */
  async #play(audio) {
    try {
      await audio.play();
      this.#blocked(false);
    } catch (error) {
      // AbortError: taken out again before it began. Only a refusal is the person's business.
      if (/** @type {Error} */ (error).name === "NotAllowedError") this.#blocked(true);
    }
  }

  /** @param {HTMLAudioElement} audio */
  #route(audio) {
    if (this.#speaker && "setSinkId" in audio) audio.setSinkId(this.#speaker).catch(() => {});
  }
}
