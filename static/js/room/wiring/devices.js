// @ts-check
/** Microphones, cameras and speakers between browser and page: the menus, and what is wrong with one, said where one looks. */
import { playTestSound } from "../test_sound.js";

/**
 * @typedef {'microphone' | 'camera'} Kind
 * @typedef {import('../media/device_state.js').Trouble} Trouble
 *
 * @param {object} parts
 * @param {import('../media/devices.js').Devices} parts.devices
 * @param {import('../media/levels.js').LevelMeter} parts.meter
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../controls.js').Controls} parts.controls
 * @param {import('../watch.js').Watch} parts.watch
 * @param {import('../views/lobby.js').LobbyView} parts.lobby
 * @param {import('../views/dialogs.js').DialogsView} parts.dialogs
 * @param {import('../views/notices.js').NoticesView} parts.notices
 * @param {() => boolean} parts.inLobby
 * @param {() => void} parts.draw
 */
export function wireDevices({ devices, meter, room, controls, watch, lobby, dialogs, notices, inLobby, draw }) {
  /** What is wrong at this moment. @type {Map<string, Trouble>} */
  const troubles = new Map();

  devices.on("change", () => {
    meter.listenTo(devices.microphone);
    for (const kind of /** @type {Kind[]} */ (["microphone", "camera"])) if (devices[kind]) setTrouble(kind, null);
    draw();
  });
  devices.on("list", () => void list());
  devices.on("trouble", ({ kind, trouble }) => setTrouble(kind, trouble));
  watch.on("mutedButSpeaking", () => {
    if (!room.can.has("microphone")) return;
    notices.show({
      key: "muted", title: "Trying to speak? You are muted.",
      actions: [{ label: "Unmute", run: () => void controls.setMicrophone(true) }],
    });
  });
  watch.on("silent", () => notices.show({
    key: "silence", level: "warning", title: "No input from your microphone",
    text: "Look for a switch on your headset, or choose another microphone in Settings.",
  }));

  /**
   * In the lobby beside the preview, in class as a notice: one that stays and says what to do when it is news.
   * @param {string} kind
   * @param {Trouble | null} trouble
   * @param {boolean} [news]
   */
  function setTrouble(kind, trouble, news = true) {
    if (trouble) troubles.set(kind, trouble);
    else troubles.delete(kind);
    lobby.setTrouble(kind, inLobby() ? trouble : null);
    if (inLobby() || !trouble) notices.hide(`trouble-${kind}`);
    else notices.show({ key: `trouble-${kind}`, level: news ? "problem" : "warning", title: trouble.title, text: news ? trouble.advice : "" });
  }

  /** Fill the menus. */
  async function list() {
    const { microphone, camera } = devices;
    dialogs.setDevices(await devices.list(), {
      microphone: microphone?.getSettings().deviceId ?? devices.chosen.microphone,
      camera: camera?.getSettings().deviceId ?? devices.chosen.camera,
      speaker: devices.chosen.speaker,
    });
  }

  return {
    list,

    /** What is known to be wrong goes along from the lobby into the class and back. */
    moveTroubles() {
      for (const [kind, trouble] of troubles) setTrouble(kind, trouble, false);
    },

    /** @param {Kind} kind */
    toggle(kind) {
      if (devices[kind]) devices.close(kind);
      else void devices.open(kind);
    },

    /** What the lobby had open, as soon as the browser gave it. Where one may only watch, the light goes out again. @param {Kind} kind */
    bringIn(kind) {
      if (room.can.has(kind)) void controls.startMedia(kind);
      else devices.close(kind);
    },

    testSound: () => void playTestSound(devices.chosen.speaker),
  };
}
