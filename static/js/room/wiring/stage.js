// @ts-check
/** What is seen and heard of the class: received pictures and voices on their tiles, the layout, and what need not come. */
import { LAYOUTS } from "../layout.js";
import { tileModels } from "../models.js";
import { byId } from "../views/dom.js";
import { SoundView } from "../views/sound.js";
import { TilesView } from "../views/tiles.js";

const SLEEPS_AFTER = 10_000; // ms: a glance at another tab costs no pictures
const PRIORITY = { screen: 4, speaker: 3, pinned: 2, other: 1 };

/**
 * @param {object} parts
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../session.js').Session} parts.session
 * @param {import('../media/engine.js').MediaEngine} parts.engine
 * @param {import('../media/devices.js').Devices} parts.devices
 * @param {import('../controls.js').Controls} parts.controls
 * @param {import('../watch.js').Watch} parts.watch
 * @param {import('../views/notices.js').NoticesView} parts.notices
 * @param {ReturnType<typeof import('./connections.js').wireConnections>} parts.connections
 * @param {{strangers: Set<string>, rests(producer: import('../types.js').ProducerInfo): boolean} | null} parts.lock of an encrypted class
 * @param {boolean} parts.phone
 * @param {() => void} parts.draw
 */
export function wireStage({ room, session, engine, devices, controls, watch, notices, connections, lock, phone, draw }) {
  const { receiver } = engine;
  /** @type {Map<string, MediaStreamTrack>} by producer id */
  const tracks = new Map();
  /** @type {Set<string>} producer ids */
  const starved = new Set();
  /** @type {Map<string, import('../views/tiles.js').Seen>} by tile id */
  let seen = new Map();
  /** @type {import('../layout.js').Layout} */
  let layout = "grid";
  let layoutChosen = false;
  /** @type {string | null} */
  let speaker = null;
  let camerasOff = false;
  let thin = false;
  let asleep = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let falling;

  const sound = new SoundView(byId("sounds"), (blocked) => {
    if (!blocked) notices.hide("sound");
    else {
      notices.show({
        key: "sound", level: "problem", title: "The browser keeps the class silent", text: "It plays sound only after a click.",
        actions: [{ label: "Click to hear", run: () => void sound.unblock() }],
      });
    }
  });
  const tiles = new TilesView(byId("tiles"), byId("pager"), {
    seen: (now) => {
      seen = now;
      lookAround();
    },
    connection: connections.open,
  });

  receiver.on("track", ({ producer, track }) => {
    tracks.set(producer.producer_id, track);
    if (producer.kind === "audio") sound.add(producer.producer_id, track);
    draw();
  });
  receiver.on("gone", ({ producer }) => {
    tracks.delete(producer.producer_id);
    starved.delete(producer.producer_id);
    sound.remove(producer.producer_id);
    draw();
  });
  receiver.on("layers", ({ producer, starved: isStarved }) => {
    if (isStarved) starved.add(producer.producer_id);
    else starved.delete(producer.producer_id);
    draw();
  });
  room.on("producers", () => {
    if (session.inClass) wantOthers();
    draw();
  });
  watch.on("speaking", (speaking) => tiles.setSpeaking(speaking));
  watch.on("speaker", (id) => {
    speaker = id;
    lookAround();
    draw();
  });
  watch.on("thinLine", (now) => {
    thin = now;
    if (thin) offerAudioOnly("Your connection is poor", true);
    else notices.hide("thin-line");
  });
  room.on("event", ({ event, data }) => {
    if (event !== "quality:warning") return;
    if (data.issue === "cpu") {
      notices.show({ key: "busy", title: "The class is large for its server", text: "Pictures may stutter for a while." });
    } else if (!thin) { // or it is offered already, until our own line is better
      offerAudioOnly(data.issue === "bandwidth" ? "Your connection is too slow for all pictures" : "Your connection is poor");
    }
  });
  byId("cameras-off").addEventListener("click", () => setCamerasOff(false));
  document.addEventListener("visibilitychange", () => {
    clearTimeout(falling);
    if (document.hidden) falling = setTimeout(() => sleep(true), phone ? 0 : SLEEPS_AFTER);
    else sleep(false);
  });

  lookAround(); // nothing is seen before there are tiles

  /** @param {boolean} now */
  function sleep(now) {
    asleep = now;
    lookAround();
  }

  /** Receive the pictures that are looked at; sound always. */
  function lookAround() {
    receiver.lookAt((producer) => {
      const { participant_id, source } = producer;
      const tile = seen.get(`${participant_id}/${source}`);
      if (!tile || asleep || lock?.rests(producer) || (camerasOff && source === "camera")) return null;
      const priority = source === "screen" ? "screen" : participant_id === speaker ? "speaker" : tile.pinned ? "pinned" : "other";
      return { width: tile.width, height: tile.height, priority: PRIORITY[priority] };
    });
  }

  function wantOthers() {
    receiver.want(room.producers.filter((producer) => producer.participant_id !== room.you.participant_id));
  }

  /** @param {import('../layout.js').Layout} chosen by this person, or by a host for all */
  function setLayout(chosen) {
    layout = chosen;
    layoutChosen = true;
    byId("announce").textContent = `Layout: ${layout}`;
  }

  room.on("event", ({ event, data }) => {
    if (event !== "layout:changed" || !LAYOUTS.includes(data.layout)) return;
    setLayout(data.layout);
    draw();
  });

  /** A shared screen is shown large until somebody chooses otherwise. */
  function currentLayout() {
    const screen = controls.sharing || room.producers.some((producer) => producer.source === "screen" && !producer.paused);
    return !layoutChosen && screen ? "presentation" : layout;
  }

  /** @param {string} title @param {boolean} [stays] until the connection is better */
  function offerAudioOnly(title, stays = false) {
    if (camerasOff) return;
    notices.show({
      key: "thin-line", level: "warning", title, text: "Without cameras, voices and screens come through better.", stays,
      actions: [{ label: "Audio and screen only", run: () => setCamerasOff(true) }],
    });
  }

  /** @param {boolean} off */
  function setCamerasOff(off) {
    camerasOff = off;
    byId("cameras-off").hidden = !off;
    if (off) notices.hide("thin-line");
    byId("announce").textContent = off ? "Audio and screen only" : "Cameras are shown";
    lookAround();
    draw();
  }

  return {
    sound,
    look: lookAround,
    wantOthers,
    setCamerasOff,

    get camerasOff() {
      return camerasOff;
    },

    get layout() {
      return currentLayout();
    },

    nextLayout() {
      setLayout(LAYOUTS[(LAYOUTS.indexOf(currentLayout()) + 1) % LAYOUTS.length]);
      draw();
    },

    render() {
      const own = { camera: devices.camera, screen: devices.screen?.getVideoTracks()[0] ?? null, microphone: controls.sends("microphone") };
      const models = tileModels(room, own, { tracks, starved, locked: lock?.strangers ?? new Set(), camerasOff, qualityOf: connections.qualityOf });
      tiles.render(models, { layout: currentLayout(), speaker, lastSpoke: (id) => watch.lastSpoke(id) });
    },
  };
}
