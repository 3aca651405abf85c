// @ts-check
/**
 * What this browser knows of the room: who is there, what they send, whose hands are up, what was said, whether it
 * is recorded. A join's snapshot replaces all of it, each event changes a little; nothing here touches the page.
 */
import { Emitter } from "./emitter.js";

/**
 * @typedef {import('./types.js').Participant} Participant
 * @typedef {import('./types.js').ProducerInfo} ProducerInfo
 * @typedef {import('./types.js').ChatMessage} ChatMessage
 * @typedef {import('./types.js').Recording} Recording
 * @typedef {{
 *   participants: undefined,
 *   producers: undefined,
 *   chat: {added: ChatMessage[], live: boolean},
 *   hands: {raised?: string},
 *   recording: undefined,
 *   you: undefined,
 *   speaker: {participant_id: string | null, levels: Record<string, number>},
 *   event: {event: string, data: any, seq?: number},
 * }} RoomEvents
 */

const CHAT_KEPT = 2000; // messages: what a page can show without growing for ever

/** @extends {Emitter<RoomEvents>} */
export class RoomState extends Emitter {
  /** @type {Map<string, Participant>} */
  #participants = new Map();
  /** @type {Map<string, ProducerInfo>} */
  #producers = new Map();
  /** @type {Map<string, {name: string, role: import('./types.js').Role}>} all that were ever seen: a chat outlives its authors' stay */
  #known = new Map();
  /** @type {string[]} participant ids, the first raised first */
  #hands = [];
  /** @type {ChatMessage[]} */
  #chat = [];
  #chatIds = new Set();
  /** @type {Recording | null} */
  #recording = null;
  /** @type {{participant_id: string, role: import('./types.js').Role, [key: string]: any}} */
  #you = { participant_id: "", role: "guest" };

  get participants() {
    return [...this.#participants.values()];
  }

  get producers() {
    return [...this.#producers.values()];
  }

  get chat() {
    return this.#chat;
  }

  get recording() {
    return this.#recording;
  }

  /** Also while it is paused. */
  get isRecorded() {
    return this.#recording?.status === "recording" || this.#recording?.status === "paused";
  }

  /** Seconds in the recording that runs; null: none does. */
  get recordedSeconds() {
    const { status = "", elapsed = 0, since = 0 } = this.#recording ?? {};
    if (!this.isRecorded) return null;
    return elapsed + (status === "recording" ? (Date.now() - since) / 1000 : 0);
  }

  get you() {
    return this.#you;
  }

  /** What the server allows us. @returns {Set<string>} */
  get can() {
    return new Set(this.#you.can ?? []);
  }

  /** @param {string} id */
  participant(id) {
    return this.#participants.get(id);
  }

  /** @param {string} id */
  nameOf(id) {
    return this.#known.get(id)?.name ?? "Somebody";
  }

  /** @param {string} id */
  roleOf(id) {
    return this.#known.get(id)?.role;
  }

  /** @param {string} id @returns {number} 1 for the first in the queue, 0 for a hand that is down */
  handOf(id) {
    return this.#hands.indexOf(id) + 1;
  }

  /** @param {string} id @param {import('./types.js').Source} source */
  producerOf(id, source) {
    return this.producers.find((producer) => producer.participant_id === id && producer.source === source);
  }

  /** Does this person send sound (or pictures) at this moment? @param {string} id @param {import('./types.js').Source} source */
  sends(id, source) {
    const producer = this.producerOf(id, source);
    return producer !== undefined && !producer.paused;
  }

  /** @param {import('./types.js').JoinAnswer} answer */
  join(answer) {
    this.#you = { ...this.#you, ...answer.you };
    if (!answer.resumed) this.#replace(answer);
    this.emit("you", undefined);
  }

  /** @param {import('./types.js').JoinAnswer} answer */
  #replace(answer) {
    this.#participants.clear();
    this.#producers.clear();
    const list = answer.participants ?? [];
    for (const entry of list) this.#add(entry);
    this.#hands = list
      .filter((entry) => entry.hand)
      .sort((a, b) => handKey(a.hand) - handKey(b.hand))
      .map((entry) => entry.participant_id);
    this.#recording = answer.recording ? { status: "recording", ...answer.recording, since: Date.now() } : null;
    const messages = Array.isArray(answer.chat) ? answer.chat : (answer.chat?.messages ?? []);
    this.#chat = [];
    this.#chatIds.clear();
    this.#remember(messages);
    this.emit("participants", undefined);
    this.emit("producers", undefined);
    this.emit("hands", {});
    this.emit("recording", undefined);
    this.emit("chat", { added: this.#chat, live: false });
  }

  /**
   * @param {string} event
   * @param {Record<string, any>} data
   * @param {number} [seq] private and fleeting events have none
   */
  apply(event, data, seq) {
    const handler = HANDLERS[event];
    if (handler) handler.call(this, data);
    this.emit("event", { event, data, seq });
  }

  /**
   * All ids of the worker's last epoch are void.
   * @param {string} [but] a participant whose media do not come by the worker: his go on, until those under new ids come
   */
  forgetProducers(but = "") {
    for (const [id, producer] of this.#producers) {
      if (producer.participant_id === but) this.#producers.set(id, { ...producer, former: true });
      else this.#producers.delete(id);
    }
    this.emit("producers", undefined);
  }

  /** What has not come under a new id by now was switched off meanwhile. */
  forgetFormer() {
    for (const { former, producer_id: id } of this.producers) if (former) this.#producers.delete(id);
    this.emit("producers", undefined);
  }

  /** @param {any} entry a participant as the wire has it */
  #add(entry) {
    const { participant_id, name, role } = entry;
    const consent = entry.consent === true;
    this.#participants.set(participant_id, { participant_id, name, role, connected: entry.connected !== false, consent, records_here: entry.records_here === true });
    this.#known.set(participant_id, { name, role });
    for (const producer of entry.producers ?? []) this.#producers.set(producer.producer_id, { ...producer, participant_id });
  }

  /** @param {ChatMessage[]} messages @returns {ChatMessage[]} those that were new */
  #remember(messages) {
    const added = messages.filter((message) => !this.#chatIds.has(message.message_id));
    for (const message of added) this.#chatIds.add(message.message_id);
    this.#chat.push(...added);
    for (const gone of this.#chat.splice(0, Math.max(0, this.#chat.length - CHAT_KEPT))) {
      this.#chatIds.delete(gone.message_id);
    }
    return added;
  }

  /** Older messages, asked for by somebody who scrolls up. @param {ChatMessage[]} messages oldest first */
  prepend(messages) {
    const before = this.#chat;
    this.#chat = [];
    this.#remember(messages.filter((message) => !this.#chatIds.has(message.message_id)));
    this.#chat.push(...before);
  }

  // --- events: one small method each, found in HANDLERS below --------------------------------------------------------

  /** @param {any} data */
  joined(data) {
    for (const entry of listed(data)) {
      // Arrivals are gathered, streams are told at once: what is known of somebody's streams already stays.
      this.#add(entry);
      if (entry.hand && !this.#hands.includes(entry.participant_id)) this.#hands.push(entry.participant_id);
    }
    this.emit("participants", undefined);
    this.emit("producers", undefined);
  }

  /** @param {any} data */
  left(data) {
    for (const { participant_id } of listed(data)) {
      this.#participants.delete(participant_id);
      this.#hands = this.#hands.filter((id) => id !== participant_id);
      for (const producer of this.producers) {
        if (producer.participant_id === participant_id) this.#producers.delete(producer.producer_id);
      }
    }
    this.emit("participants", undefined);
    this.emit("producers", undefined);
    this.emit("hands", {});
  }

  /** @param {any} data */
  updated(data) {
    for (const change of listed(data)) {
      const participant = this.#participants.get(change.participant_id);
      if (!participant) continue;
      if (typeof change.connected === "boolean") participant.connected = change.connected;
      if (typeof change.name === "string") participant.name = change.name;
      if (typeof change.role === "string") participant.role = change.role;
      if (typeof change.consent === "boolean") participant.consent = change.consent;
      if (typeof change.records_here === "boolean") participant.records_here = change.records_here;
      this.#known.set(participant.participant_id, { name: participant.name, role: participant.role });
    }
    this.emit("participants", undefined);
  }

  /** @param {any} data */
  roleChanged(data) {
    const participant = this.#participants.get(data.participant_id);
    if (participant) {
      participant.role = data.new_role;
      this.#known.set(participant.participant_id, { name: participant.name, role: data.new_role });
    }
    if (data.participant_id === this.#you.participant_id) {
      this.#you = { ...this.#you, role: data.new_role, ...(data.can ? { can: data.can } : {}) };
      this.emit("you", undefined);
    }
    this.emit("participants", undefined);
  }

  /** @param {any} data */
  producerAdded(data) {
    const { producer_id, participant_id, kind, source, paused } = data;
    const before = this.producerOf(participant_id, source);
    if (before?.former) this.#producers.delete(before.producer_id);
    this.#producers.set(producer_id, { producer_id, participant_id, kind, source, paused: Boolean(paused) });
    this.emit("producers", undefined);
  }

  /** @param {any} data */
  producerPaused(data) {
    this.#setPaused(data.producer_id, true);
  }

  /** @param {any} data */
  producerResumed(data) {
    this.#setPaused(data.producer_id, false);
  }

  /** @param {string} id @param {boolean} paused */
  #setPaused(id, paused) {
    const producer = this.#producers.get(id);
    if (!producer) return;
    this.#producers.set(id, { ...producer, paused });
    this.emit("producers", undefined);
  }

  /** @param {any} data */
  producerClosed(data) {
    if (this.#producers.delete(data.producer_id)) this.emit("producers", undefined);
  }

  /** @param {any} data */
  handRaised(data) {
    const id = data.participant_id;
    this.#hands = this.#hands.filter((other) => other !== id);
    // The server's time decides the order, so its position does, not the order in which the news came.
    const at = typeof data.position === "number" && data.position > 0 ? data.position - 1 : this.#hands.length;
    this.#hands.splice(at, 0, id);
    this.emit("hands", { raised: id });
  }

  /** @param {any} data */
  handLowered(data) {
    this.#hands = data.participant_id === "all" ? [] : this.#hands.filter((id) => id !== data.participant_id);
    this.emit("hands", {});
  }

  /** @param {any} data */
  chatMessage(data) {
    const added = this.#remember([data]);
    if (added.length) this.emit("chat", { added, live: true });
  }

  /** @param {any} data */
  recordingStarted(data) {
    this.#recording = { ...data, status: "recording", since: Date.now() };
    this.emit("recording", undefined);
  }

  /** @param {any} data */
  recordingPaused(data) {
    this.#recording = { ...this.#recording, ...data, status: "paused", since: Date.now() };
    this.emit("recording", undefined);
  }

  /** @param {any} data */
  recordingResumed(data) {
    this.#recording = { ...this.#recording, ...data, status: "recording", since: Date.now() };
    this.emit("recording", undefined);
  }

  /** @param {any} data */
  recordingStopped(data) {
    this.#recording = { ...this.#recording, ...data, status: "stopped" };
    this.emit("recording", undefined);
  }

  /** @param {any} data */
  recordingStatus(data) {
    // Another recording may already run while the last one is composed: its state is what the class must see.
    if (this.isRecorded && data.recording_id !== this.#recording?.recording_id) return;
    this.#recording = { ...this.#recording, ...data };
    this.emit("recording", undefined);
  }

  /** @param {any} data */
  speakerActive(data) {
    this.emit("speaker", { participant_id: data.participant_id ?? null, levels: data.levels ?? {} });
  }
}

/** @type {Record<string, (this: RoomState, data: any) => void>} */
const HANDLERS = {
  "participant:joined": RoomState.prototype.joined,
  "participant:left": RoomState.prototype.left,
  "participant:updated": RoomState.prototype.updated,
  "participant:role:changed": RoomState.prototype.roleChanged,
  "new-producer": RoomState.prototype.producerAdded,
  "producer:paused": RoomState.prototype.producerPaused,
  "producer:resumed": RoomState.prototype.producerResumed,
  "producer:closed": RoomState.prototype.producerClosed,
  "hand:raised": RoomState.prototype.handRaised,
  "hand:lowered": RoomState.prototype.handLowered,
  "chat:message": RoomState.prototype.chatMessage,
  "recording:started": RoomState.prototype.recordingStarted,
  "recording:paused": RoomState.prototype.recordingPaused,
  "recording:resumed": RoomState.prototype.recordingResumed,
  "recording:stopped": RoomState.prototype.recordingStopped,
  "recording:status": RoomState.prototype.recordingStatus,
  "speaker:active": RoomState.prototype.speakerActive,
};

/** Presence comes gathered, as lists. @param {any} data @returns {any[]} */
function listed(data) {
  return Array.isArray(data) ? data : (data.participants ?? [data]);
}

/** A raised hand is told by its position or by its time. @param {any} hand @returns {number} */
function handKey(hand) {
  if (typeof hand === "number") return hand;
  if (typeof hand === "string") return Date.parse(hand);
  return handKey(hand.position ?? hand.raised_at ?? 0);
}
