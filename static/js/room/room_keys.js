// @ts-check
/**
 * The keys of an encrypted class, as far as this browser knows them. They come by the fragment of a link, which browsers
 * send to no server, or are typed; they are kept as long as the tab, for a reload.
 */
import { Emitter } from "./emitter.js";
import { importKey } from "./media/frame_crypto.js";

/**
 * @typedef {import('./media/frame_crypto.js').RoomKey} RoomKey
 * @typedef {{bytes: Uint8Array<ArrayBuffer>, key: RoomKey}} Held
 */

const KEY = 16; // bytes, of a key that was made here
const PASSPHRASE_KEY = 32; // bytes
const ROUNDS = 600_000; // of PBKDF2-HMAC-SHA256: OWASP's advice of 2023; half a second of a phone
const SHORTEST = 12; // characters: whoever has the server has the time to try shorter ones
const KEPT = 4; // keys: those who have not got the newest one yet are still seen and heard

/** @extends {Emitter<{change: undefined}>} */
export class RoomKeys extends Emitter {
  #code;
  #storage;
  /** @type {Held[]} the newest last */
  #held = [];

  /** @param {{code: string, storage: Pick<Storage, 'getItem' | 'setItem'>}} options `code` of the room; `storage` of this tab */
  constructor({ code, storage }) {
    super();
    this.#code = code;
    this.#storage = storage;
  }

  /** @returns {RoomKey[]} the newest last: one sends with that one, and reads with all */
  get all() {
    return this.#held.map(({ key }) => key);
  }

  /** Four digits by which people can tell whether they have the same; empty without a key. */
  get name() {
    const key = this.all.at(-1);
    return key ? key.id.toString(16).padStart(4, "0") : "";
  }

  /** @param {string} address of the room's page @returns {string} empty without a key */
  linkTo(address) {
    const held = this.#held.at(-1);
    return held ? `${new URL(address).origin}${new URL(address).pathname}#key=${written(held.bytes)}` : "";
  }

  /** What the page was opened with, else what it had before a reload. @param {string} fragment of its address */
  async begin(fragment) {
    const kept = this.#storage.getItem(this.#place) ?? "";
    const given = /[#&]key=([^&]*)/.exec(fragment)?.[1] ?? kept;
    const bytes = given ? read(given) : null;
    if (bytes) await this.#hold(bytes);
    else if (given) throw new Error("The link’s key is not whole. Open the link again, all of it.");
  }

  /** A link, a key or a passphrase. Rejects with words for people. @param {string} typed */
  async enter(typed) {
    const text = typed.trim();
    const key = /(?:^|[#&])key=([^&\s]*)/.exec(text)?.[1];
    if (key !== undefined) {
      const bytes = read(key);
      if (!bytes) throw new Error("The link’s key is not whole. Copy it again, to its end.");
      await this.#hold(bytes);
    } else if (/^https?:\/\//.test(text)) {
      throw new Error("This link has no key in it.");
    } else if ([...text].length < SHORTEST) {
      throw new Error(`A passphrase has at least ${SHORTEST} characters: whoever runs the server could try shorter ones.`);
    } else await this.#hold(await stretched(text, this.#code));
  }

  /** Rejects with words for people. */
  async make() {
    await this.#hold(crypto.getRandomValues(new Uint8Array(KEY)));
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  async #hold(bytes) {
    demandCrypto();
    const key = await importKey(bytes, this.#code);
    this.#held = [...this.#held.filter((held) => held.key.id !== key.id), { bytes, key }].slice(-KEPT);
    this.#storage.setItem(this.#place, written(bytes));
    this.emit("change", undefined);
  }

  get #place() {
    return `lectern-key-${this.#code}`;
  }
}

/** Browsers give it to secure pages only, and throw without words for people. */
function demandCrypto() {
  if (!globalThis.crypto?.subtle) throw new Error("This browser encrypts only on a page with https.");
}

/** @param {string} passphrase @param {string} code the room's: the same words are another key elsewhere */
export async function stretched(passphrase, code) {
  demandCrypto();
  const encode = (/** @type {string} */ words) => new TextEncoder().encode(words);
  const words = await crypto.subtle.importKey("raw", encode(passphrase.normalize("NFKC")), "PBKDF2", false, ["deriveBits"]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt: encode(`lectern passphrase ${code}`), iterations: ROUNDS };
  return new Uint8Array(await crypto.subtle.deriveBits(how, words, PASSPHRASE_KEY * 8));
}

/** @param {Uint8Array} bytes @returns {string} base64url without padding (RFC 4648, 5) */
function written(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @param {string} key @returns {Uint8Array<ArrayBuffer> | null} null for what is no key of ours */
function read(key) {
  if (!/^[\w-]+$/.test(key)) return null;
  try {
    const bytes = Uint8Array.from(atob(key.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
    return bytes.length === KEY || bytes.length === PASSPHRASE_KEY ? bytes : null;
  } catch {
    return null;
  }
}
