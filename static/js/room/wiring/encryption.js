// @ts-check
/** An encrypted class: its keys between address bar, dialog and worker, and whom of the others they do not open. */
import { byId } from "../views/dom.js";
import { EncryptionView } from "../views/encryption.js";

const TRY_AGAIN = 15_000; // ms: who had another key may have got ours meanwhile; each try costs the sender a key frame

const MUTE = "Until then you see and hear nobody, and nobody sees or hears you.";
/** @type {Record<string, Record<'host' | 'other', {title: string, text: string}>>} */
const NEWS = {
  none: {
    host: { title: "This class needs a key", text: `Make one, or enter the one that is in use. ${MUTE}` },
    other: { title: "You need the key of this class", text: `Open the link that the teacher gave you, or enter the key. ${MUTE}` },
  },
  other: {
    host: { title: "The others have another key than you", text: "Give them the link again, or enter the key that they use." },
    other: { title: "Your key does not open this class", text: "What the others send is encrypted with another key. Ask for the link again." },
  },
};

/**
 * @typedef {import('../types.js').ProducerInfo} ProducerInfo
 *
 * @param {object} parts
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../media/engine.js').MediaEngine} parts.engine
 * @param {import('../media/encryption.js').Encryption} parts.encryption
 * @param {import('../room_keys.js').RoomKeys} parts.keys
 * @param {import('../views/notices.js').NoticesView} parts.notices
 * @param {boolean} parts.host may make a key
 * @param {() => boolean} parts.inClass
 * @param {() => void} parts.look look anew at who is to be received
 * @param {() => void} parts.draw
 */
export function wireEncryption({ room, engine, encryption, keys, notices, host, inClass, look, draw }) {
  /** @type {Map<string, boolean>} by producer id, once it is known: whether none of our keys opens it */
  const locked = new Map();
  /** @type {Set<string>} locked pictures that are not received: a decoder that gets nothing asks for key frames, again and again */
  const resting = new Set();
  let told = "";
  let wrong = "";

  /** @param {Promise<void>} taken @returns {Promise<string>} what is wrong; empty when the key was taken */
  const judged = (taken) => taken.then(() => "", (error) => error.message);

  const view = new EncryptionView({
    enter: (text) => judged(keys.enter(text)),
    make: () => judged(keys.make()),
    async copy() {
      const link = keys.linkTo(location.href);
      return navigator.clipboard.writeText(link).then(() => "", () => link);
    },
    closed: () => {
      told = "";
      draw();
    },
  });

  keys.on("change", () => {
    locked.clear();
    resting.clear();
    encryption.use(keys.all);
    changed();
  });
  encryption.on("locked", ({ producerId, locked: isLocked }) => {
    locked.set(producerId, isLocked);
    if (isLocked) resting.add(producerId);
    else resting.delete(producerId);
    changed();
  });
  engine.receiver.on("gone", ({ producer }) => {
    locked.delete(producer.producer_id);
    resting.delete(producer.producer_id);
  });
  setInterval(() => {
    if (!resting.size) return;
    resting.clear();
    encryption.lookAgain();
    look();
  }, TRY_AGAIN);
  addEventListener("hashchange", () => void begin(location.hash));
  byId("lobby-encryption").hidden = false;
  byId("encryption-chip").hidden = false;

  function changed() {
    look();
    draw();
  }

  /** The key leaves the address at once: it is photographed, and kept in the browser's history. @param {string} fragment */
  async function begin(fragment) {
    history.replaceState(null, "", location.pathname);
    await keys.begin(fragment).then(() => (wrong = ""), (error) => (wrong = error.message));
    draw();
  }

  /** @returns {Set<string>} people of whom something came, and nothing that our keys open */
  function strangers() {
    const found = new Set(room.producers.filter(({ producer_id }) => locked.get(producer_id)).map((each) => each.participant_id));
    for (const { producer_id, participant_id } of room.producers) if (locked.get(producer_id) === false) found.delete(participant_id);
    return found;
  }

  /** What one must know to take part, said once. @param {boolean} fits */
  function tell(fits) {
    const news = !inClass() ? "" : !keys.name ? "none" : fits ? "" : "other";
    if (news === told) return;
    told = news;
    if (!news) return notices.hide("encryption");
    notices.show({
      key: "encryption", level: "problem", ...NEWS[news][host ? "host" : "other"],
      actions: [{ label: host ? "Key" : "Enter the key", run: () => view.open() }],
    });
  }

  return {
    begin,
    close: () => view.close(),

    /** Whose streams cannot be read. */
    get strangers() {
      return strangers();
    },

    /** Not to be received at this moment. @param {ProducerInfo} producer */
    rests: (producer) => !keys.name || resting.has(producer.producer_id),

    render() {
      const fits = strangers().size === 0 || [...locked.values()].includes(false);
      view.render({ key: keys.name, fits, host, wrong });
      tell(fits);
    },
  };
}
