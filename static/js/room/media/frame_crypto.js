// @ts-check
/**
 * Encrypts and decrypts encoded frames, after SFrame (RFC 9605): AES-128-GCM, a key of its own for each stream and start
 * of it, a counter as nonce. The header stands behind the frame as a trailer, since the first bytes have to stay clear:
 *
 *     clear bytes | encrypted bytes | tag (16) | salt (8) | counter (4) | key id (2)
 *
 * The clear bytes and the trailer are authenticated. docs/decisions/0019 tells why it is so.
 */

/**
 * @typedef {import('../types.js').Kind} Kind
 * @typedef {{id: number, material: CryptoKey}} RoomKey `id`: 16 bits that tell one key of the class from another
 * @typedef {{kind: Kind, label: string}} StreamOptions `label`: what nobody else's stream in the same class has
 * @typedef {'short' | 'key' | 'replay' | 'forged'} Failure `key`: we do not have the one it was encrypted with
 * @typedef {{key: CryptoKey, nonce: Uint8Array<ArrayBuffer>}} StreamKey
 */

const TAG = 16; // bytes
const SALT = 8; // bytes: of two starts of a stream with one room key, no two are alike
const COUNTER = 4; // bytes: two years of a camera in three layers
const KEY_ID = 2; // bytes
const TRAILER = SALT + COUNTER + KEY_ID;
export const OVERHEAD = TAG + TRAILER;

const KEY = 16; // bytes: AES-128
const NONCE = 12; // bytes (RFC 5116, 5.1)
const LAST_COUNTER = 2 ** 32 - 1;
const WINDOW = 512; // frames: what comes later than this many others is taken for a replay

const text = (/** @type {string} */ words) => new TextEncoder().encode(words);

/**
 * How much of a frame stays clear, by its own first byte. VP8: its tag, and on key frames start code and size, as forwarders
 * and depacketizers look there (RFC 6386, 9.1; RFC 7741, 4.3). Opus: the TOC byte (RFC 6716, 3.1).
 * @param {Kind} kind
 * @param {Uint8Array} frame
 */
export function clearBytes(kind, frame) {
  if (kind === "audio") return 1;
  return (frame[0] & 1) === 0 ? 10 : 3;
}

/** @param {CryptoKey} material @param {BufferSource} salt @param {string} info @param {number} length bytes */
async function derive(material, salt, info, length) {
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info: text(info) }, material, length * 8));
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {string} code the room's: one key in two rooms makes other keys there @returns {Promise<RoomKey>} */
export async function importKey(bytes, code) {
  const whole = await crypto.subtle.importKey("raw", bytes, "HKDF", false, ["deriveBits"]);
  const ofRoom = await derive(whole, text(code), "lectern room key", 32);
  const material = await crypto.subtle.importKey("raw", ofRoom, "HKDF", false, ["deriveBits"]);
  const [high, low] = await derive(material, new Uint8Array(0), "lectern key id", KEY_ID);
  return { id: high << 8 | low, material };
}

/** @param {CryptoKey} material @param {BufferSource} salt @param {string} label @returns {Promise<StreamKey>} */
async function streamKey(material, salt, label) {
  const bits = await derive(material, salt, `lectern frames ${label}`, KEY + NONCE);
  const key = await crypto.subtle.importKey("raw", bits.slice(0, KEY), "AES-GCM", false, ["encrypt", "decrypt"]);
  return { key, nonce: bits.slice(KEY) };
}

/** @param {StreamKey} keys @param {number} counter @param {BufferSource} additionalData */
function parameters({ nonce }, counter, additionalData) {
  const iv = nonce.slice();
  const last = new DataView(iv.buffer, NONCE - 4);
  last.setUint32(0, last.getUint32(0) ^ counter);
  return { name: "AES-GCM", iv, additionalData, tagLength: TAG * 8 };
}

/** @param {...Uint8Array} parts @returns {Uint8Array<ArrayBuffer>} */
function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** What one sender sends of one source. */
export class Encryptor {
  #kind;
  #label;
  /** @type {RoomKey | null} */
  #room = null;
  /** @type {{salt: Uint8Array<ArrayBuffer>, keys: Promise<StreamKey>, keyId: number, counter: number} | null} */
  #current = null;

  /** @param {StreamOptions} options */
  constructor({ kind, label }) {
    this.#kind = kind;
    this.#label = label;
  }

  /** @param {RoomKey | null} key */
  use(key) {
    this.#room = key;
    this.#begin();
  }

  /** Under a new salt, so under a new key: whatever was counted before, no nonce comes again. */
  #begin() {
    const key = this.#room;
    const salt = crypto.getRandomValues(new Uint8Array(SALT));
    this.#current = key && { salt, keys: streamKey(key.material, salt, this.#label), keyId: key.id, counter: 0 };
  }

  /** @param {Uint8Array} frame @returns {Promise<Uint8Array<ArrayBuffer> | null>} null: without a key nothing leaves */
  async encrypt(frame) {
    if (this.#current && this.#current.counter > LAST_COUNTER) this.#begin();
    const current = this.#current;
    const clear = clearBytes(this.#kind, frame);
    if (!current || frame.length < clear) return null;
    const counter = current.counter++;
    const trailer = new Uint8Array(TRAILER);
    trailer.set(current.salt);
    const view = new DataView(trailer.buffer);
    view.setUint32(SALT, counter);
    view.setUint16(SALT + COUNTER, current.keyId);
    const head = frame.subarray(0, clear);
    const keys = await current.keys;
    const body = await crypto.subtle.encrypt(parameters(keys, counter, joined(head, trailer)), keys.key, frame.slice(clear));
    return joined(head, new Uint8Array(body), trailer);
  }
}

/** What is received of one source of one sender. */
export class Decryptor {
  #kind;
  #label;
  /** @type {Map<number, RoomKey>} */
  #room = new Map();
  /** @type {Map<string, {keys: StreamKey, seen: Window}>} by key id and salt, the newest last; only those that opened a frame */
  #starts = new Map();
  /** @type {Set<string>} starts that others have replaced: the sender does not go back to them */
  #over = new Set();

  /** @param {StreamOptions} options */
  constructor({ kind, label }) {
    this.#kind = kind;
    this.#label = label;
  }

  /** @param {RoomKey[]} keys all that are known */
  use(keys) {
    this.#room = new Map(keys.map((key) => [key.id, key]));
  }

  /** @param {Uint8Array} frame @returns {Promise<{frame: Uint8Array<ArrayBuffer>} | {failure: Failure}>} */
  async decrypt(frame) {
    const clear = frame.length ? clearBytes(this.#kind, frame) : 0;
    const end = frame.length - TRAILER;
    if (!clear || end - TAG < clear) return { failure: "short" };
    const trailer = frame.slice(end);
    const view = new DataView(trailer.buffer);
    const counter = view.getUint32(SALT);
    const room = this.#room.get(view.getUint16(SALT + COUNTER));
    if (!room) return { failure: "key" };
    const name = `${room.id} ${trailer.subarray(0, SALT)}`;
    const known = this.#starts.get(name);
    if (this.#over.has(name) || known?.seen.has(counter)) return { failure: "replay" };
    const keys = known?.keys ?? await streamKey(room.material, trailer.slice(0, SALT), this.#label);
    const head = frame.subarray(0, clear);
    try {
      const body = await crypto.subtle.decrypt(parameters(keys, counter, joined(head, trailer)), keys.key, frame.slice(clear, end));
      this.#opened(name, keys).add(counter);
      return { frame: joined(head, new Uint8Array(body)) };
    } catch {
      return { failure: "forged" };
    }
  }

  /** @param {string} name @param {StreamKey} keys */
  #opened(name, keys) {
    let start = this.#starts.get(name);
    if (!start) {
      start = { keys, seen: new Window() };
      this.#starts.set(name, start);
      // The last one's late frames are still let in; those of the ones before it are old.
      for (const old of [...this.#starts.keys()].slice(0, -2)) {
        this.#starts.delete(old);
        this.#over.add(old);
      }
    }
    return start.seen;
  }
}

/** Which counters have been seen, as far as a late frame can come. */
class Window {
  #highest = -1;
  #slots = new Float64Array(WINDOW).fill(-1);

  /** @param {number} counter seen, or too old to know */
  has(counter) {
    return counter <= this.#highest - WINDOW || this.#slots[counter % WINDOW] === counter;
  }

  /** @param {number} counter */
  add(counter) {
    this.#highest = Math.max(this.#highest, counter);
    this.#slots[counter % WINDOW] = counter;
  }
}
