// @ts-check
/** The class's recording: asked of everybody, started, paused, marked and stopped by hosts, seen by all. */
import { leftWords, recordingEnd, recordingWords } from "../models.js";
import { clock } from "../views/dom.js";
import { RecordingView } from "../views/recording.js";

const TICK = 500; // ms

/**
 * @param {object} parts
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../controls.js').Controls} parts.controls
 * @param {Pick<import('../views/notices.js').NoticesView, 'show' | 'hide'>} parts.notices
 * @param {Record<string, string>} parts.wanted by the lesson
 * @param {boolean} parts.impossible in this class
 * @param {() => void} parts.leave
 * @param {() => void} parts.draw
 */
export function wireRecording({ room, controls, notices, wanted, impossible, leave, draw }) {
  const view = new RecordingView(wanted);
  /** Those who wait for this person's answer. @type {(() => void)[]} */
  let waiting = [];
  let asking = false;

  room.on("recording", () => {
    if (!room.isRecorded) settled(); // nobody needs an answer any more
    draw();
  });
  room.on("event", ({ event, data }) => {
    if (event === "recording:consent_asked") void ask();
    else if (event === "recording:disk") {
      notices.show({
        key: "recording-disk", level: "warning", stays: true, title: `Recording: less than ${leftWords(data.free)} left on the server`,
        text: "Before its disk is full the recording ends by itself. What was recorded until then is kept.",
      });
    } else if (event === "recording:stopped" && data.reason) {
      notices.show({ key: "recording", level: "problem", title: "The recording has ended", text: recordingEnd(data.reason) });
    }
  });
  setInterval(() => room.recordedSeconds !== null && view.tick(room.recordedSeconds), TICK);

  async function ask() {
    if (asking) return;
    asking = true;
    const answer = await view.ask(room.recording?.who ?? "all");
    asking = false;
    if (answer === "") return;
    await controls.consent(answer === "continue");
    if (answer === "continue") settled();
    else leave();
  }

  function settled() {
    view.closeQuestion();
    for (const go of waiting) go();
    waiting = [];
  }

  return {
    /** The answer of a join: what is asked of this person. @param {import('../types.js').JoinAnswer} answer */
    joined(answer) {
      if (answer.consent_asked) void ask();
      else settled();
    },

    /** Resolves when nothing is asked, or it was agreed to: before that nothing is sent. @param {import('../types.js').JoinAnswer} answer @returns {Promise<void>} */
    agreed: (answer) => (answer.consent_asked ? new Promise((resolve) => waiting.push(() => resolve(undefined))) : Promise.resolve()),

    toggle: () => controls.toggleRecording(view.options),
    pause: () => controls.pauseRecording(),
    settings: () => view.settings(),

    async mark() {
      const marked = await controls.markRecording();
      if (marked) notices.show({ key: "marked", title: `Marked at ${clock(marked.elapsed)}`, text: "A chapter of the recording begins here." });
    },

    close: () => view.closeQuestion(),

    render() {
      const may = room.can.has("record") && !impossible;
      const people = room.participants;
      view.render({
        words: recordingWords(room.recording), status: room.recording?.status ?? "", seconds: room.recordedSeconds, may,
        consents: may && room.isRecorded ? { agreed: people.filter((one) => one.consent).length, people: people.length } : null,
      });
    },
  };
}
