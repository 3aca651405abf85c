// Encrypted frames: known answers of another implementation, what must fail, and that no nonce comes twice.
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Decryptor, Encryptor, OVERHEAD, clearBytes, importKey } from "../../static/js/room/media/frame_crypto.js";
import { RoomKeys, stretched } from "../../static/js/room/room_keys.js";

const bytes = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
const hex = (data) => Buffer.from(data).toString("hex");
const KEY = bytes("000102030405060708090a0b0c0d0e0f");
const VOICE = { kind: "audio", label: "tina microphone" };
const CAMERA = { kind: "video", label: "tina camera" };
const KEY_FRAME = bytes("5042009d012a4001b400612070696374757265");
const DELTA_FRAME = bytes("31420077686174206368616e676564");

// Made with Python's hmac, hashlib and cryptography.
const KNOWN = [
  [VOICE, bytes("786120766f696365"), "7863890073b91bf76fa935588a1fe701932ecd17eaec350ba0a1a2a3a4a5a6a7000000072f53"],
  [CAMERA, KEY_FRAME, "5042009d012a4001b400465e266fc31c5c720505b987c29ad05d88d564b58833294301a0a1a2a3a4a5a6a7010203042f53"],
  [CAMERA, DELTA_FRAME, "314200dce672cb6473c5a02905e7771126a39e1ac5151e36a72c3b1e44fc3ca0a1a2a3a4a5a6a7000000082f53"],
];

async function pair(options, { key = KEY, code = "demo", their = key } = {}) {
  const encryptor = new Encryptor(options);
  encryptor.use(await importKey(key, code));
  const decryptor = new Decryptor(options);
  decryptor.use([await importKey(their, code)]);
  return { encryptor, decryptor };
}

test("frames that another implementation encrypted are opened", async () => {
  for (const [options, frame, encrypted] of KNOWN) {
    const { decryptor } = await pair(options);
    assert.equal(hex((await decryptor.decrypt(bytes(encrypted))).frame), hex(frame));
  }
});

test("a frame is encrypted as the other implementation does it, byte for byte", async () => {
  mock.method(crypto, "getRandomValues", (array) => (array.set(bytes("a0a1a2a3a4a5a6a7")), array));
  const { encryptor } = await pair(CAMERA);
  mock.restoreAll();
  for (let count = 0; count < 8; count++) await encryptor.encrypt(KEY_FRAME);
  assert.equal(hex(await encryptor.encrypt(DELTA_FRAME)), KNOWN[2][2]);
});

test("a passphrase becomes the key that another implementation makes of it", async () => {
  assert.equal(hex(await stretched("correct horse battery", "demo")), "a8ecc41f7bdeabc65e39d09f9a9924d03d312b5f7b2c3d734f7c511115089f5d");
});

test("what a forwarder has to read stays clear, and nothing else", async () => {
  assert.deepEqual([clearBytes("video", KEY_FRAME), clearBytes("video", DELTA_FRAME), clearBytes("audio", KEY_FRAME)], [10, 3, 1]);
  const { encryptor } = await pair(CAMERA);
  const data = await encryptor.encrypt(KEY_FRAME);
  assert.equal(data.length, KEY_FRAME.length + OVERHEAD);
  assert.equal(hex(data.subarray(0, 10)), hex(KEY_FRAME.subarray(0, 10)));
  assert.ok(!hex(data).includes(hex(KEY_FRAME.subarray(10))));
});

test("even a frame of one byte goes through; what is shorter than its clear bytes does not", async () => {
  const { encryptor, decryptor } = await pair(VOICE);
  assert.equal(hex((await decryptor.decrypt(await encryptor.encrypt(bytes("78")))).frame), "78");
  assert.equal(await encryptor.encrypt(new Uint8Array(0)), null);
  const camera = await pair(CAMERA);
  assert.equal(await camera.encryptor.encrypt(KEY_FRAME.subarray(0, 9)), null);
});

test("without a key nothing leaves", async () => {
  const encryptor = new Encryptor(CAMERA);
  assert.equal(await encryptor.encrypt(KEY_FRAME), null);
  encryptor.use(await importKey(KEY, "demo"));
  encryptor.use(null);
  assert.equal(await encryptor.encrypt(KEY_FRAME), null);
});

test("another key, or the same in another room, opens nothing", async () => {
  const { encryptor, decryptor } = await pair(CAMERA, { their: bytes("ff0102030405060708090a0b0c0d0e0f") });
  assert.deepEqual(await decryptor.decrypt(await encryptor.encrypt(KEY_FRAME)), { failure: "key" });
  decryptor.use([await importKey(KEY, "another-room")]);
  assert.deepEqual(await decryptor.decrypt(await encryptor.encrypt(KEY_FRAME)), { failure: "key" });
  // The id is 16 bits: another key may have the same by chance.
  const right = await importKey(KEY, "demo");
  const wrong = await importKey(bytes("ff0102030405060708090a0b0c0d0e0f"), "demo");
  decryptor.use([{ id: right.id, material: wrong.material }]);
  assert.deepEqual(await decryptor.decrypt(await encryptor.encrypt(KEY_FRAME)), { failure: "forged" });
});

test("one person's frames are not another's, and a camera's are no screen's", async () => {
  const { encryptor } = await pair(CAMERA);
  const data = await encryptor.encrypt(KEY_FRAME);
  for (const label of ["sam camera", "tina screen"]) {
    const { decryptor } = await pair({ ...CAMERA, label });
    assert.deepEqual(await decryptor.decrypt(data), { failure: "forged" });
  }
});

test("no byte can be changed: not of the clear ones, the encrypted ones, the tag, the salt or the counter", async () => {
  const { encryptor, decryptor } = await pair(CAMERA);
  const data = await encryptor.encrypt(KEY_FRAME);
  for (let at = 1; at < data.length; at++) { // byte 0 says how many are clear: below
    const changed = data.slice();
    changed[at] ^= 0x40;
    const { failure } = await decryptor.decrypt(changed);
    assert.equal(failure, at >= data.length - 2 ? "key" : "forged", `byte ${at}`);
  }
  for (const bit of [1, 0x10]) {
    const changed = data.slice();
    changed[0] ^= bit;
    assert.deepEqual(await decryptor.decrypt(changed), { failure: "forged" });
  }
  assert.ok((await decryptor.decrypt(data)).frame);
});

test("what is too short to be a frame is none", async () => {
  const { encryptor, decryptor } = await pair(CAMERA);
  const data = await encryptor.encrypt(KEY_FRAME);
  for (let length = 0; length < 10 + OVERHEAD; length++) {
    const { failure } = await decryptor.decrypt(data.slice(0, length));
    assert.ok(["short", "key", "forged"].includes(failure), `${length}: ${failure}`);
  }
});

test("a frame counts once; a late one still counts, one that is far too late does not", async () => {
  const { encryptor, decryptor } = await pair(CAMERA);
  const frames = [];
  for (let count = 0; count < 600; count++) frames.push(await encryptor.encrypt(DELTA_FRAME));
  assert.ok((await decryptor.decrypt(frames[0])).frame);
  assert.deepEqual(await decryptor.decrypt(frames[0]), { failure: "replay" });
  assert.ok((await decryptor.decrypt(frames[599])).frame);
  assert.ok((await decryptor.decrypt(frames[300])).frame);
  assert.deepEqual(await decryptor.decrypt(frames[300]), { failure: "replay" });
  assert.deepEqual(await decryptor.decrypt(frames[40]), { failure: "replay" });
});

test("a forged frame of a high counter does not shut out the true ones", async () => {
  const { encryptor, decryptor } = await pair(CAMERA);
  const forged = await encryptor.encrypt(DELTA_FRAME);
  new DataView(forged.buffer).setUint32(forged.length - 6, 0xfffffff0);
  assert.deepEqual(await decryptor.decrypt(forged), { failure: "forged" });
  assert.ok((await decryptor.decrypt(await encryptor.encrypt(DELTA_FRAME))).frame);
});

test("no key and nonce come twice: not after a restart, and not when frames are encrypted at once", async () => {
  const used = new Set();
  const encrypt = crypto.subtle.encrypt.bind(crypto.subtle);
  const keyBits = new Map();
  const importOne = crypto.subtle.importKey.bind(crypto.subtle);
  mock.method(crypto.subtle, "importKey", async (format, data, algorithm, ...rest) => {
    const key = await importOne(format, data, algorithm, ...rest);
    if (algorithm === "AES-GCM") keyBits.set(key, hex(data));
    return key;
  });
  mock.method(crypto.subtle, "encrypt", (how, key, data) => {
    used.add(`${keyBits.get(key)} ${hex(how.iv)}`);
    return encrypt(how, key, data);
  });
  let sent = 0;
  for (let start = 0; start < 5; start++) {
    const encryptor = new Encryptor(CAMERA); // the same person's same camera, again
    const key = await importKey(KEY, "demo");
    encryptor.use(key);
    await Promise.all(Array.from({ length: 20 }, () => encryptor.encrypt(KEY_FRAME)));
    encryptor.use(key); // told again
    await Promise.all(Array.from({ length: 20 }, () => encryptor.encrypt(KEY_FRAME)));
    sent += 40;
  }
  mock.restoreAll();
  assert.equal(used.size, sent);
  assert.equal(new Set([...used].map((each) => each.split(" ")[0])).size, 10, "each start has its own key");
});

test("a key is changed without a break: frames of both are opened, and those of before the last change no more", async () => {
  const keys = await Promise.all([KEY, bytes("ff".repeat(16)), bytes("ee".repeat(16))].map((key) => importKey(key, "demo")));
  const encryptor = new Encryptor(CAMERA);
  const decryptor = new Decryptor(CAMERA);
  decryptor.use(keys);
  const frames = [];
  for (const key of keys) {
    encryptor.use(key);
    frames.push([await encryptor.encrypt(KEY_FRAME), await encryptor.encrypt(DELTA_FRAME)]);
  }
  assert.ok((await decryptor.decrypt(frames[0][0])).frame);
  assert.ok((await decryptor.decrypt(frames[1][0])).frame);
  assert.ok((await decryptor.decrypt(frames[0][1])).frame, "on its way while the key changed");
  assert.ok((await decryptor.decrypt(frames[2][0])).frame);
  assert.deepEqual(await decryptor.decrypt(frames[0][0]), { failure: "replay" });
});

// --- the page's keys ------------------------------------------------------------------------------------------------

const storage = () => {
  const kept = new Map();
  return { kept, getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
};
const HERE = "https://school.example/meetings/demo/?token=secret";

test("who opens the link has the key of who made it, and a reload keeps it", async () => {
  const host = new RoomKeys({ code: "demo", storage: storage() });
  await host.make();
  const link = host.linkTo(HERE);
  assert.match(link, /^https:\/\/school\.example\/meetings\/demo\/#key=[\w-]{22}$/);
  const tab = storage();
  const guest = new RoomKeys({ code: "demo", storage: tab });
  await guest.begin(new URL(link).hash);
  assert.equal(guest.name, host.name);
  assert.match(guest.name, /^[0-9a-f]{4}$/);
  const reloaded = new RoomKeys({ code: "demo", storage: tab });
  await reloaded.begin("");
  assert.equal(reloaded.linkTo(HERE), link);
});

test("a link can be pasted, a passphrase typed; both again give the same", async () => {
  const [one, other] = [0, 1].map(() => new RoomKeys({ code: "demo", storage: storage() }));
  await one.enter("  correct horse battery ");
  await other.enter(one.linkTo(HERE));
  assert.equal(other.name, one.name);
  assert.equal(one.all.length, 1);
  await one.enter("correct horse battery");
  assert.equal(one.all.length, 1);
});

test("what is no key is refused with words, and what was there stays", async () => {
  const keys = new RoomKeys({ code: "demo", storage: storage() });
  await keys.make();
  const { name } = keys;
  for (const [typed, words] of [
    ["short", /at least 12/], ["", /at least 12/], ["#key=abc", /not whole/], ["#key=", /not whole/], ["key=%%%", /not whole/],
    ["https://school.example/meetings/demo/", /no key in it/],
  ]) await assert.rejects(keys.enter(typed), words);
  await assert.rejects(new RoomKeys({ code: "demo", storage: storage() }).begin("#key=abc"), /not whole/);
  assert.equal(keys.name, name);
});

test("the newest four keys are held, the newest last", async () => {
  const keys = new RoomKeys({ code: "demo", storage: storage() });
  for (let count = 0; count < 6; count++) await keys.make();
  assert.equal(keys.all.length, 4);
  assert.equal(keys.all.at(-1).id.toString(16).padStart(4, "0"), keys.name);
});

test("a page without https is told in words that it cannot encrypt, whichever way the key comes", async (context) => {
  const keys = new RoomKeys({ code: "demo", storage: storage() });
  const insecure = { getRandomValues: (/** @type {Uint8Array} */ array) => array };
  const real = Object.getOwnPropertyDescriptor(globalThis, "crypto");
  context.after(() => Object.defineProperty(globalThis, "crypto", real));
  Object.defineProperty(globalThis, "crypto", { value: insecure, configurable: true });
  const ways = [() => keys.make(), () => keys.enter("correct horse battery staple"), () => keys.begin("#key=AAECAwQFBgcICQoLDA0ODw")];
  for (const way of ways) await assert.rejects(way, /only on a page with https/);
  assert.equal(keys.name, "");
});
