// @ts-check
/**
 * The links in a playlist open for five minutes, and a player reads a film's playlist once. Who pauses for an hour
 * needs new ones: before a link is too old, the playlist is fetched anew, and what has the same file name takes its place.
 */

const FRESH = 240_000; // ms: a minute before the links end

export class Links {
  /** @type {Map<string, {at: number, urls: Promise<Map<string, string>>}>} by the playlist's address */
  #known = new Map();
  #fetchText;
  #now;

  /**
   * @param {(address: string) => Promise<string>} fetchText rejects where the playlist is refused
   * @param {() => number} now ms
   */
  constructor(fetchText, now = () => performance.now()) {
    this.#fetchText = fetchText;
    this.#now = now;
  }

  /**
   * A playlist was just read, with fresh links in it.
   * @param {string} playlist its address
   */
  read(playlist) {
    this.#known.set(playlist, { at: this.#now(), urls: Promise.resolve(new Map()) });
  }

  /**
   * @param {string} playlist the address that named `url`
   * @param {string} url
   * @returns {Promise<string>} a link to the same file that still opens; the same one where there is no other
   */
  async of(playlist, url) {
    let known = this.#known.get(playlist);
    if (!known || this.#now() - known.at >= FRESH) {
      const before = known;
      const now = { at: this.#now(), urls: this.#fetchText(playlist).then((text) => named(text, playlist)) };
      this.#known.set(playlist, now);
      now.urls.catch(() => before && this.#known.set(playlist, before)); // asked for again next time
      known = now;
    }
    try {
      return (await known.urls).get(fileName(url)) ?? url;
    } catch {
      return url; // the player meets the refusal itself, and tries over
    }
  }
}

/** @param {string} url */
const fileName = (url) => new URL(url).pathname.split("/").at(-1) ?? "";

/**
 * @param {string} text a playlist
 * @param {string} base its address
 * @returns {Map<string, string>} the links in it by the name of their file
 */
function named(text, base) {
  const uris = text.split("\n").flatMap((line) =>
    line.startsWith("#") ? [...line.matchAll(/URI="([^"]+)"/g)].map((found) => found[1]) : line.trim() || []);
  return new Map(uris.map((uri) => new URL(uri, base).href).map((url) => [fileName(url), url]));
}
