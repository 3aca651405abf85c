// @ts-check
/** From what the room is to what the views show: pure functions, one for each view that needs more than a glance. */

/**
 * @typedef {import('./room_state.js').RoomState} RoomState
 * @typedef {{camera: MediaStreamTrack | null, screen: MediaStreamTrack | null, microphone: boolean}} OwnMedia
 *
 * @typedef {object} Received what of the others' reaches us
 * @property {Map<string, MediaStreamTrack>} tracks by producer id
 * @property {Set<string>} starved ids of producers whose pictures our line does not carry at this moment
 * @property {Set<string>} locked ids of people none of whose streams our keys open
 * @property {boolean} camerasOff by our own wish
 * @property {(id: string) => string} qualityOf somebody's connection; empty when nothing is known
 */

/**
 * @param {RoomState} room
 * @param {OwnMedia} own
 * @param {Received} received
 * @returns {import('./views/tiles.js').TileModel[]}
 */
export function tileModels(room, own, { tracks, starved, locked, camerasOff, qualityOf }) {
  const self = room.you.participant_id;
  /** @type {import('./views/tiles.js').TileModel[]} */
  const models = [];
  for (const person of room.participants) {
    const id = person.participant_id;
    const isSelf = id === self;
    const theirs = (/** @type {'camera' | 'screen'} */ source) => {
      if (locked.has(id)) return { track: null, note: "Encrypted with a key that you do not have" };
      const producer = room.producerOf(id, source);
      if (!producer || producer.paused || (camerasOff && source === "camera")) return { track: null, note: "" };
      const slow = starved.has(producer.producer_id);
      return { track: tracks.get(producer.producer_id) ?? null, note: slow ? "Your connection is too slow for this picture" : "" };
    };
    const common = {
      participant_id: id, self: isSelf, name: person.name, role: person.role, hand: room.handOf(id),
      connected: person.connected, quality: qualityOf(id),
    };
    models.push({
      ...common, id: `${id}/camera`, source: "camera", ...(isSelf ? { track: own.camera, note: "" } : theirs("camera")),
      muted: isSelf ? !own.microphone : !room.sends(id, "microphone"),
    });
    const screen = isSelf ? { track: own.screen, note: "" } : theirs("screen");
    if (screen.track) models.push({ ...common, id: `${id}/screen`, source: "screen", ...screen, muted: false });
  }
  return models;
}

const RANKS = /** @type {Record<string, number>} */ ({ host: 5, "co-host": 4, presenter: 3, attendee: 2, guest: 1 });

/**
 * @param {RoomState} room
 * @param {Set<string>} can our permissions
 * @param {(id: string) => string} qualityOf somebody's connection
 * @returns {import('./views/participants.js').Row[]}
 */
export function participantRows(room, can, qualityOf) {
  const { participant_id: self, role } = room.you;
  const rank = RANKS[role] ?? 0;
  return room.participants.map((person) => {
    const id = person.participant_id;
    const below = (RANKS[person.role] ?? 0) < rank && id !== self;
    const roles = can.has("change_roles") && below
      ? ["co-host", "presenter", "attendee", "guest"].filter((each) => RANKS[each] < rank && (each !== "co-host" || can.has("make_co_host")))
      : [];
    return {
      participant_id: id, name: person.name, role: person.role, self: id === self, connected: person.connected,
      microphone: room.sends(id, "microphone"), camera: room.sends(id, "camera"), screen: room.sends(id, "screen"),
      hand: room.handOf(id), quality: can.has("quality") ? qualityOf(id) : "", canMute: can.has("mute") && below, canRemove: can.has("remove") && below,
      canLower: can.has("lower_hands") || id === self,
      roles: roles.length && !roles.includes(person.role) ? [person.role, ...roles] : roles,
    };
  });
}

/**
 * @param {RoomState} room
 * @param {import('./types.js').ChatMessage} message
 * @returns {import('./views/chat.js').ShownMessage}
 */
export function shownMessage(room, message) {
  const { participant_id, message_id, sent_at } = message;
  return {
    participant_id, message_id, sent_at, message: message.message,
    name: message.name ?? room.nameOf(participant_id), role: message.role ?? room.roleOf(participant_id) ?? "attendee",
    self: participant_id === room.you.participant_id,
  };
}

/** What stands in the REC chip. @param {import('./types.js').Recording | null} recording @returns {{text: string, kind: string} | null} */
export function recordingWords(recording) {
  if (!recording) return null;
  const percent = typeof recording.progress === "number" ? ` ${Math.round(recording.progress)} %` : "";
  switch (recording.status) {
    case "recording": return { text: "REC", kind: "live" };
    case "paused": return { text: "Recording paused", kind: "paused" };
    case "starting": return { text: "Recording starts…", kind: "work" };
    case "stopping":
    case "stopped":
    case "recorded": return { text: "Recording saved", kind: "work" };
    case "queued": return { text: "Recording queued", kind: "work" };
    case "composing": return { text: `Composing${percent}`, kind: "work" };
    case "uploading": return { text: "Uploading", kind: "work" };
    case "ready": return { text: "Recording ready", kind: "done" };
    case "failed": return { text: "Recording failed", kind: "failed" };
    default: return { text: `Recording ${recording.status}`, kind: "work" };
  }
}

/** Why a recording ended that nobody stopped. @type {Record<string, string>} */
const ENDINGS = {
  disk_full: "The server’s disk is nearly full.",
  disk_slow: "The server’s disk could not keep up.",
};

/** @param {string} reason @returns {string} */
export function recordingEnd(reason) {
  return `${ENDINGS[reason] ?? "The server could not go on with it."} What was recorded until now is kept, and the class goes on.`;
}

/** Room on a disk. @param {number} bytes @returns {string} */
export function leftWords(bytes) {
  const megabytes = Math.ceil(bytes / 1e8) * 100;
  return megabytes < 1000 ? `${megabytes} MB` : `${Math.ceil(megabytes / 1000)} GB`;
}
