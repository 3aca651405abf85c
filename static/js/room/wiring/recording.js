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
 * @param {RecordingView} [parts.view]
 */
export function wireRecording({ room, controls, notices, wanted, impossible, leave, draw, view = new RecordingView(wanted) }) {
  /** Those who wait for this person's answer. @type {(() => void)[]} */
  let waiting = [];
  /** The recording that this person is to answer for, and the one whose question is on the screen; empty: none. */
  let asked = "", shown = "";

  room.on("recording", () => {
    if (asked && room.isRecorded) void ask();
    else if (!room.recording || room.recording.recording_id === asked) settled(); // nobody needs an answer any more
    draw();
  });
  room.on("event", ({ event, data }) => {
    if (event === "recording:consent_asked") {
      asked = data.recording_id;
      void ask();
    } else if (event === "recording:disk") {
      notices.show({
        key: "recording-disk", level: "warning", stays: true, title: `Recording: less than ${leftWords(data.free)} left on the server`,
        text: "Before its disk is full the recording ends by itself. What was recorded until then is kept.",
      });
    } else if (event === "recording:stopped" && data.reason) {
      notices.show({ key: "recording", level: "problem", title: "The recording has ended", text: recordingEnd(data.reason) });
    }
  });
  setInterval(() => room.recordedSeconds !== null && view.tick(room.recordedSeconds), TICK);

  /** What is asked may come before what it is about: the question waits until it can say who is recorded. */
  async function ask() {
    const id = room.isRecorded && room.recording?.recording_id === asked ? asked : "";
    if (id === shown) return;
    if (!id) return closeQuestion();
    shown = id;
    const answer = await view.ask(room.recording?.who ?? "all");
    if (shown === id) shown = "";
    if (answer === "") return;
    const counted = await controls.consent(id, answer === "continue");
    if (answer === "leave") leave();
    else if (counted && asked === id) settled();
  }

  function closeQuestion() {
    shown = "";
    view.closeQuestion();
  }

  function settled() {
    asked = "";
    closeQuestion();
    for (const go of waiting) go();
    waiting = [];
  }

  return {
    /** The answer of a join: what is asked of this person. @param {import('../types.js').JoinAnswer} answer */
    joined(answer) {
      asked = answer.consent_asked ?? "";
      if (!asked || (!answer.resumed && !room.isRecorded)) settled();
      else void ask();
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
