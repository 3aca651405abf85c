// @ts-check
/** The worker through which every frame of an encrypted class passes: one for the page, a transform for each stream. */
import { Decryptor, Encryptor } from "./frame_crypto.js";

/**
 * @typedef {import('./frame_crypto.js').RoomKey} RoomKey
 * @typedef {{id: string, encrypts: boolean, kind: import('../types.js').Kind, label: string}} Options
 */

const FAILS = 3; // in a row: one that was damaged proves nothing

/** @type {RoomKey[]} the newest last: we send with that one */
let keys = [];
/** @type {Set<Encryptor>} */
const encryptors = new Set();
/** @type {Set<Decryptor>} */
const decryptors = new Set();
/** @type {Map<string, {failed: number, locked: boolean}>} of what is received, by producer id: how many failed in a row */
const fates = new Map();

self.addEventListener("message", ({ data }) => {
  if (data.do === "keys") {
    keys = data.keys;
    for (const each of encryptors) each.use(keys.at(-1) ?? null);
    for (const each of decryptors) each.use(keys);
  }
  if (data.do === "keys" || data.do === "look again") for (const fate of fates.values()) Object.assign(fate, { failed: 0, locked: false });
  if (data.do === "stream") void pass(data.options, data.readable, data.writable);
});
self.addEventListener("rtctransform", (event) => {
  const { options, readable, writable } = /** @type {any} */ (event).transformer;
  void pass(options, readable, writable);
});

/** @param {Options} options @param {ReadableStream} readable @param {WritableStream} writable */
async function pass(options, readable, writable) {
  const step = options.encrypts ? encrypting(options) : decrypting(options);
  await readable.pipeThrough(new TransformStream({ transform: step.transform })).pipeTo(writable).catch(() => {});
  step.end();
}

/** @param {Options} options */
function encrypting(options) {
  const encryptor = new Encryptor(options);
  encryptor.use(keys.at(-1) ?? null);
  encryptors.add(encryptor);
  return {
    /** @param {any} frame @param {TransformStreamDefaultController} out */
    async transform(frame, out) {
      const data = await encryptor.encrypt(new Uint8Array(frame.data)).catch(() => null);
      if (!data) return; // never as it is
      frame.data = data.buffer;
      out.enqueue(frame);
    },
    end: () => encryptors.delete(encryptor),
  };
}

/** @param {Options} options */
function decrypting(options) {
  const decryptor = new Decryptor(options);
  decryptor.use(keys);
  decryptors.add(decryptor);
  const fate = { failed: 0, locked: false };
  fates.set(options.id, fate);
  let told = false; // that it can be read
  const tell = (/** @type {boolean} */ locked) => self.postMessage({ id: options.id, locked });
  return {
    /** @param {any} frame @param {TransformStreamDefaultController} out */
    async transform(frame, out) {
      const result = await decryptor.decrypt(new Uint8Array(frame.data));
      if ("frame" in result) {
        frame.data = result.frame.buffer;
        out.enqueue(frame);
        fate.failed = 0;
        if (!told || fate.locked) tell(false);
        told = true;
        fate.locked = false;
      } else if (result.failure !== "replay" && ++fate.failed === FAILS) {
        fate.locked = true;
        told = false;
        tell(true);
      }
    },
    end() {
      decryptors.delete(decryptor);
      if (fates.get(options.id) === fate) fates.delete(options.id);
    },
  };
}
