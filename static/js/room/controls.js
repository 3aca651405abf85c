// @ts-check
/**
 * What a person can do in class, each as one method: switch the microphone, share the screen, write, raise a hand,
 * mute somebody. Knows the room, the media and the connection; knows nothing of the page.
 */
import { Emitter } from "./emitter.js";
import { Outbox } from "./outbox.js";

/** Reasons by which a stream of ours closed without anybody's wish: it is sent anew, not given up. */
const LOST = new Set(["lost", "lease", "transport", "error", "worker", "replaced"]);

/**
 * @typedef {import('./types.js').Source} Source
 * @typedef {{key?: string, level?: 'info' | 'warning' | 'problem', title: string, text?: string, actions?: {label: string, run: () => void}[], stays?: boolean}} Notice
 * @typedef {{change: undefined, notice: Notice, undone: {key: string}, chatRefused: {message: string}, askedToUnmute: undefined}} ControlEvents
 */

/** @extends {Emitter<ControlEvents>} */
export class Controls extends Emitter {
  #connection;
  #room;
  #engine;
  #devices;
  #talking = false;
  /** @type {Set<import('./media/device_state.js').DeviceKind>} asked of the browser, not there yet */
  #opening = new Set();
  #recordingBusy = false;

  /**
   * @param {object} parts
   * @param {import('./socket.js').RoomConnection} parts.connection
   * @param {import('./room_state.js').RoomState} parts.room
   * @param {import('./media/engine.js').MediaEngine} parts.engine
   * @param {import('./media/devices.js').Devices} parts.devices
   */
  constructor({ connection, room, engine, devices }) {
    super();
    this.#connection = connection;
    this.#room = room;
    this.#engine = engine;
    this.#devices = devices;
    this.outbox = new Outbox((event, data, options) => connection.request(event, data, options));
    this.outbox.on("refused", ({ message, reason }) => {
      this.emit("chatRefused", { message });
      this.emit("notice", { key: "chat", level: "warning", title: "Your message was not sent", text: reason });
    });
    engine.sender.on("change", () => this.emit("change", undefined));
    engine.sender.on("refused", ({ source, message }) => this.#refused(source, message));
    devices.on("lost", ({ kind }) => void this.#deviceLost(kind));
  }

  /** @param {'microphone' | 'camera' | 'screen'} source */
  sends(source) {
    return this.#engine.sender.isSending(source);
  }

  get sharing() {
    return this.#engine.sender.has("screen");
  }

  // --- one's own media ------------------------------------------------------------------------------------------------

  /** What was open in the lobby goes into the class. @param {'microphone' | 'camera'} kind */
  async startMedia(kind) {
    const track = this.#devices[kind];
    if (!track) return;
    await this.#publish(kind, track);
    if (this.#engine.sender.has(kind)) this.#intend(kind === "microphone" ? "audio" : "video", true);
  }

  toggleMicrophone() {
    return this.setMicrophone(!this.sends("microphone") && !this.#opening.has("microphone"));
  }

  /** @param {boolean} on */
  async setMicrophone(on) {
    const { sender } = this.#engine;
    // Let go of the key, or pressed twice, before the browser gave the microphone: then it stays shut.
    if (!on && this.#opening.has("microphone")) this.#devices.close("microphone");
    if (on === this.sends("microphone")) return;
    if (!on) {
      void sender.pause("microphone");
    } else if (sender.has("microphone") && this.#devices.microphone) {
      await sender.resume("microphone").catch(() => {});
    } else {
      const track = await this.#open("microphone");
      if (!track) return;
      await this.#publish("microphone", track);
    }
    this.emit("undone", { key: "muted" });
    this.#intend("audio", this.sends("microphone"));
  }

  /** Space held: talk; let go: muted again. @param {boolean} down */
  pushToTalk(down) {
    if (down && this.sends("microphone")) return;
    if (!down && !this.#talking) return;
    this.#talking = down;
    void this.setMicrophone(down);
  }

  async toggleCamera() {
    const { sender } = this.#engine;
    if (sender.has("camera") || this.#opening.has("camera")) {
      // Closed, not paused: the light beside the lens must go out.
      void sender.unpublish("camera");
      this.#devices.close("camera");
      this.#intend("video", false);
      return;
    }
    const track = await this.#open("camera");
    if (!track) return;
    await this.#publish("camera", track);
    this.#intend("video", sender.has("camera"));
  }

  async toggleScreen() {
    if (this.sharing) {
      this.#stopScreen();
      return;
    }
    if (this.#opening.has("screen")) return;
    this.#opening.add("screen");
    // Asked beside the browser's dialog, not before it: a browser opens it only right after a click.
    const allowed = this.#ask("screen:start", {});
    const stream = await this.#devices.openScreen();
    this.#opening.delete("screen");
    if (!stream) return;
    const may = await allowed;
    if (this.#devices.screen !== stream) return; // ended meanwhile, by the browser's own button
    if (!may) {
      this.#devices.closeScreen();
      return;
    }
    await this.#publish("screen", stream.getVideoTracks()[0]);
    if (!this.sharing) {
      this.#devices.closeScreen();
      return;
    }
    const [sound] = stream.getAudioTracks();
    if (sound) void this.#publish("screen_audio", sound);
  }

  /** Another microphone or camera was chosen: it takes the old one's place. @param {'microphone' | 'camera'} kind */
  async deviceChosen(kind) {
    const { sender } = this.#engine;
    if (!sender.has(kind)) return;
    const track = this.#devices[kind];
    if (track) await this.#publish(kind, track, { paused: !sender.isSending(kind) });
    else await this.#giveUp(kind);
  }

  // --- in the room ------------------------------------------------------------------------------------------------------

  toggleHand() {
    const up = this.#room.handOf(this.#room.you.participant_id) > 0;
    return this.#ask(up ? "hand:lower" : "hand:raise", {});
  }

  /** @param {object} options of a new one */
  async toggleRecording(options) {
    if (this.#recordingBusy) return;
    this.#recordingBusy = true;
    await (this.#room.isRecorded ? this.#ask("recording:stop", {}) : this.#ask("recording:start", { options }));
    this.#recordingBusy = false;
  }

  pauseRecording() {
    return this.#ask(this.#room.recording?.status === "paused" ? "recording:resume" : "recording:pause", {});
  }

  /** @returns {Promise<{elapsed: number} | null>} */
  markRecording() {
    return this.#ask("recording:mark", {});
  }

  /**
   * An answer that does not arrive is asked for again, after the next join.
   * @param {string} recordingId @param {boolean} accepted @returns {Promise<boolean>} false: that recording is over
   */
  async consent(recordingId, accepted) {
    const refused = await this.#connection.request("recording:consent", { recording_id: recordingId, accepted }).then(() => "", (error) => error.code);
    return refused !== "wrong_state";
  }

  /** @param {string} layout that everybody is to see */
  showAll(layout) {
    return this.#ask("layout:change", { layout, for_all: true });
  }

  /** Others see that this person records on this device. @param {boolean} active */
  recordsHere(active) {
    return this.#connection.request("recording:local", { active }).catch(() => {});
  }

  /** @param {string} participantId or 'all' @param {'audio' | 'video' | 'screen'} kind */
  mute(participantId, kind) {
    return this.#ask("participant:mute", { participant_id: participantId, kind });
  }

  /** @param {string} participantId */
  remove(participantId) {
    return this.#ask("participant:remove", { participant_id: participantId });
  }

  /** @param {string} participantId @param {string} role */
  giveRole(participantId, role) {
    return this.#ask("participant:role:update", { participant_id: participantId, role });
  }

  /** @param {string} participantId or 'all' */
  lowerHand(participantId) {
    return this.#ask("hand:lower", { participant_id: participantId });
  }

  endClass() {
    return this.#ask("room:end", {});
  }

  // --- what the server says of us -----------------------------------------------------------------------------------------

  /** @param {string} event @param {any} data */
  onEvent(event, data) {
    const own = !data.participant_id || data.participant_id === this.#room.you.participant_id;
    if (event === "muted:by-host" && own) this.#mutedByHost(data);
    else if (event === "unmute:asked" && own) this.emit("askedToUnmute", undefined);
    else if (event === "producer:closed" && !LOST.has(data.reason)) this.#producerClosed(data.producer_id);
    else if (event === "participant:role:changed" && own) {
      this.emit("notice", { key: "role", title: "Your role changed", text: `You are now ${roleWords(data.new_role)}.` });
    }
  }

  /** @param {{kind: string, by?: {name?: string}}} data */
  #mutedByHost({ kind, by }) {
    const name = by?.name || "A teacher";
    if (kind === "audio") {
      this.#talking = false;
      this.#engine.sender.pausedByHost("microphone");
    } else if (kind === "video") {
      void this.#engine.sender.unpublish("camera");
      this.#devices.close("camera");
    } else {
      this.#stopScreen();
    }
    const title = kind === "audio" ? `${name} muted you` : kind === "video" ? `${name} stopped your camera` : `${name} stopped your screen`;
    const unmute = { label: "Unmute", run: () => void this.setMicrophone(true) };
    this.emit("notice", { key: "muted", title, ...(kind === "audio" ? { stays: true, actions: [unmute] } : {}) });
  }

  /** The server closed what we sent: a role that may not, or a rule. @param {string} producerId */
  #producerClosed(producerId) {
    const source = this.#engine.sender.sourceOf(producerId);
    if (!source) return;
    void this.#engine.sender.unpublish(source);
    if (source === "camera" || source === "microphone") this.#devices.close(source);
    if (source === "screen") this.#stopScreen();
  }

  // --- helpers ------------------------------------------------------------------------------------------------------------

  /** @param {'microphone' | 'camera'} kind */
  async #open(kind) {
    this.#opening.add(kind);
    const track = await this.#devices.open(kind);
    this.#opening.delete(kind);
    return track;
  }

  /** @param {'microphone' | 'camera'} kind */
  async #giveUp(kind) {
    await this.#engine.sender.unpublish(kind);
    this.#intend(kind === "microphone" ? "audio" : "video", false);
  }

  /** @param {Source} source @param {MediaStreamTrack} track @param {{paused?: boolean}} [how] */
  async #publish(source, track, how) {
    try {
      await this.#engine.sender.publish(source, track, how);
    } catch (error) {
      // A refusal was told by "refused"; what is left is a browser that cannot send this.
      if (!(/** @type {{code?: string}} */ (error).code)) {
        console.error(error);
        void this.#engine.sender.unpublish(source);
        this.emit("notice", { key: source, level: "warning", title: `This browser could not send your ${source}` });
      }
    }
  }

  /** @param {Source} source @param {string} message */
  #refused(source, message) {
    if (source === "camera") this.#devices.close("camera");
    if (source === "screen") this.#devices.closeScreen();
    this.emit("notice", { key: `refused-${source}`, level: "warning", title: message });
  }

  #stopScreen() {
    void this.#engine.sender.unpublish("screen_audio");
    void this.#engine.sender.unpublish("screen");
    this.#devices.closeScreen();
    this.#tell("screen:stop");
  }

  /** @param {import('./media/device_state.js').DeviceKind} kind */
  async #deviceLost(kind) {
    const { sender } = this.#engine;
    if (kind === "screen") {
      if (sender.has("screen")) this.#stopScreen();
      return;
    }
    if (!sender.has(kind)) return;
    const muted = !sender.isSending(kind);
    await this.#giveUp(kind);
    const another = muted ? null : await this.#open(kind);
    if (another) {
      await this.#publish(kind, another);
      this.#intend(kind === "microphone" ? "audio" : "video", true);
    }
    this.emit("notice", {
      key: `lost-${kind}`, level: "warning", title: `Your ${kind} was unplugged`,
      text: another ? `Another ${kind} is used now.` : "Plug it in and switch it on here again.",
    });
  }

  /** Others see the intent at once. @param {'audio' | 'video'} kind @param {boolean} enabled */
  #intend(kind, enabled) {
    this.#connection.request("media:toggle", { kind, enabled }).catch(() => {});
  }

  /** @param {string} event */
  #tell(event) {
    this.#connection.request(event, {}).catch(() => {});
  }

  /** @param {string} event @param {object} data @returns {Promise<any>} null when it was refused, which is told */
  async #ask(event, data) {
    try {
      return await this.#connection.request(event, data);
    } catch (error) {
      const { code, message } = /** @type {{code: string, message: string}} */ (error);
      const text = code === "disconnected" || code === "timeout" ? "Try again when the connection is back." : "";
      this.emit("notice", { key: event, level: "warning", title: message, text });
      return null;
    }
  }
}

/** @param {string} role */
function roleWords(role) {
  return /** @type {Record<string, string>} */ ({
    host: "a teacher", "co-host": "a co-host", presenter: "a presenter", attendee: "a student", guest: "a guest",
  })[role] ?? role;
}
