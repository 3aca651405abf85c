// @ts-check
/** The live stream between room and page: everybody sees that the class is shown outside, the host starts and ends it. */
import { LiveView } from "../views/live.js";
import { QuestionView } from "../views/question.js";

const WHO = { public: "everybody who has the link", course: "the people of this course" };

/**
 * @param {object} parts
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../session.js').Session} parts.session
 * @param {import('../views/notices.js').NoticesView} parts.notices
 * @param {string} parts.unavailable why nobody can stream this class; empty where one can
 * @param {(event: string, data: object) => Promise<any>} parts.request
 * @param {() => void} parts.draw
 * @param {(handlers: ConstructorParameters<typeof LiveView>[0]) => LiveView} [parts.makeView]
 * @param {QuestionView} [parts.question]
 */
export function wireLive({
  room, session, notices, unavailable, request, draw, makeView = (handlers) => new LiveView(handlers), question = new QuestionView("seen"),
}) {
  /** @type {import('../types.js').Stream | null} */
  let stream = null;
  /** As the last join's answer has it: events that were missed follow that are older. @type {import('../types.js').Stream | null} */
  let answered = null;
  let told = "", over = "";

  const view = makeView({ start, stop });

  /** @param {object} choice */
  async function start(choice) {
    try {
      await request("stream:start", choice);
      return "";
    } catch (error) {
      return /** @type {{message: string}} */ (error).message || "It did not start. Try again.";
    }
  }

  function stop() {
    request("stream:stop", {}).catch((error) => notices.show({ key: "live", level: "warning", title: error.message || "The stream could not be stopped" }));
  }

  /** Who did not start it can leave. @param {import('../types.js').Stream} now */
  function tell(now) {
    if (told === now.stream_id) return;
    told = now.stream_id;
    const text = `It is shown to ${WHO[now.access]}, with who speaks, screens, names and voices.`;
    const leave = { label: "Leave the class", run: () => void session.leave() };
    notices.show({ key: "live", title: "This class is live", text, ...(room.can.has("stream") ? {} : { stays: true, actions: [leave] }) });
  }

  session.on("joined", ({ answer, entered }) => {
    answered = answer.stream ?? null;
    if (!answer.resumed || answered?.stream_id === stream?.stream_id) stream = answered;
    if (stream && (!entered || room.can.has("stream"))) tell(stream); // who comes in is asked (`agreed`)
    draw();
  });
  room.on("event", ({ event, data }) => {
    if (event.startsWith("stream:") && data.stream_id === over) return; // told late: it was stopped meanwhile
    if (event === "stream:started") {
      stream = { ...data, ...(answered?.stream_id === data.stream_id ? answered : {}) };
      tell(data);
    } else if (event === "stream:status" && (!stream || stream.stream_id === data.stream_id)) stream = data;
    else if (event === "stream:stopped") {
      stream = null;
      over = data.stream_id;
      question.close();
      notices.show({ key: "live", ...(data.reason
        ? { level: "problem", title: "The live stream broke off", text: data.reason } : { title: "The live stream has ended" }) });
    } else return;
    draw();
  });

  return {
    /** Who comes into a class that is seen outside knows it, and may leave, before anything of his is sent. */
    async agreed() {
      if (!stream || told === stream.stream_id) return;
      told = stream.stream_id;
      const text = `It is shown to ${WHO[stream.access]}. Your name, voice, camera, screen and messages can be in it. Nothing of yours is sent before you continue.`;
      if ((await question.ask(text)) === "leave") void session.leave();
    },

    open() {
      if (unavailable) notices.show({ key: "not-allowed", title: unavailable });
      else if (stream) view.openNow(stream);
      else view.openStart();
    },

    render: () => view.render(stream, { may: room.can.has("stream"), unavailable }),
  };
}
