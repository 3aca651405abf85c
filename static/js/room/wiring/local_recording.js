// @ts-check
/** A recording on a host's own device: begun and ended from the menu, and told to the class. */
import { LocalRecording } from "../media/local_recording.js";
import { byId, setText } from "../views/dom.js";
import { StagePicture, download } from "../views/stage_picture.js";

/**
 * @param {object} parts
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../media/engine.js').MediaEngine} parts.engine
 * @param {import('../media/devices.js').Devices} parts.devices
 * @param {import('../controls.js').Controls} parts.controls
 * @param {AudioContext} parts.audio
 * @param {Pick<import('../views/notices.js').NoticesView, 'show' | 'hide'>} parts.notices
 * @param {string} parts.title of the class
 * @param {() => void} parts.draw
 * @param {LocalRecording} [parts.local]
 * @param {Pick<StagePicture, 'start' | 'stop'>} [parts.picture]
 */
export function wireLocalRecording({
  room, engine, devices, controls, audio, notices, title, draw, local = new LocalRecording(audio), picture = new StagePicture(byId("tiles")),
}) {
  let told = "";

  local.on("change", () => {
    if (!local.isRunning) picture.stop();
    void controls.recordsHere(local.isRunning);
    draw();
  });
  local.on("whole", ({ film, name }) => download(film, name));
  local.on("failed", ({ reason }) => notices.show({
    key: "local-recording", level: "problem", title: "The recording on this device has ended", text: reason || "The browser could not go on with it.",
  }));
  room.on("you", () => {
    if (!local.isRunning || room.can.has("record_here")) return;
    local.stop();
    notices.show({
      key: "local-recording", level: "warning", title: "The recording on this device has ended", text: "You may not record this class any more. What you recorded until now is kept.",
    });
  });
  addEventListener("beforeunload", (event) => local.isRunning && event.preventDefault()); // the browser asks

  function sounds() {
    const others = engine.receiver.received.filter(({ producer }) => producer.kind === "audio")
      .map(({ consumer, direct }) => direct?.track ?? consumer.track);
    const own = controls.sends("microphone") ? devices.microphone : null;
    return own ? [...others, own] : others;
  }

  async function start() {
    const name = local.fileName(nameOf(title, new Date()));
    const pick = /** @type {any} */ (globalThis).showSaveFilePicker;
    let sink = null;
    if (pick) {
      const file = await pick({ suggestedName: name }).catch(() => null);
      if (!file) return; // thought better of it
      sink = await file.createWritable();
    }
    local.start({ picture: picture.start(), sounds, name, sink });
    notices.show({
      key: "local-recording", title: "Recording on this device",
      text: sink ? "Everybody in class sees it." : "Everybody in class sees it. The file is saved when you stop: do not close this page before.",
    });
  }

  /** Who records on a device of his own, for the others. */
  function names() {
    return room.participants.filter((one) => one.records_here && one.participant_id !== room.you.participant_id).map((one) => one.name).join(", ");
  }

  return {
    toggle: () => (local.isRunning ? local.stop() : void start()),

    /** Who was away too long has come as somebody new, of whom nobody knows yet that he records. */
    joined: () => local.isRunning && void controls.recordsHere(true),

    /** The class is over for this page. */
    stop: () => local.stop(),

    render() {
      const item = byId("more-local");
      item.hidden = !(room.can.has("record_here") && local.type) && !local.isRunning;
      setText(/** @type {HTMLElement} */ (item.querySelector("span")), local.isRunning ? "Stop recording on this device" : "Record on this device");
      const who = names();
      byId("local-state").hidden = !who && !local.isRunning;
      setText(byId("local-words"), local.isRunning ? "You record" : `${who} records`);
      byId("local-state").title = local.isRunning ? "You record this class on this device" : `${who} records this class on a device of their own`;
      if (who && who !== told) {
        notices.show({ key: "recorded-by", level: "warning", title: `${who} records this class`, text: "On a device of their own: the recording is not kept by Lectern." });
      }
      told = who;
    },
  };
}

/** A name that any file system takes, with this device's time. @param {string} title @param {Date} date */
export function nameOf(title, date) {
  const [month, day, hour, minute] = [date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes()].map((each) => String(each).padStart(2, "0"));
  return `${title.replace(/[^\p{L}\p{M}\p{N}_ .,()+-]/gu, "_").slice(0, 60).replace(/^[ .-]+|[ .]+$/g, "") || "class"} ${date.getFullYear()}-${month}-${day} ${hour}.${minute}`;
}
