// @ts-check
/** The live stream between room and page: everybody sees that the class is shown outside, the host starts and ends it. */
import { LiveView } from "../views/live.js";

const WHO = { public: "everybody who has the link", course: "the people of this course" };

/**
 * @param {object} parts
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../session.js').Session} parts.session
 * @param {import('../views/notices.js').NoticesView} parts.notices
 * @param {string} parts.unavailable why nobody can stream this class; empty where one can
 * @param {(event: string, data: object) => Promise<any>} parts.request
 * @param {() => void} parts.draw
 */
export function wireLive({ room, session, notices, unavailable, request, draw }) {
  /** @type {import('../types.js').Stream | null} */
  let stream = null;
  let told = "", over = "";

  const view = new LiveView({ start, stop });

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

  session.on("joined", ({ answer }) => {
    if (!answer.resumed) stream = answer.stream ?? null;
    if (stream) tell(stream);
    draw();
  });
  room.on("event", ({ event, data }) => {
    if (event.startsWith("stream:") && data.stream_id === over) return; // told late: it was stopped meanwhile
    if (event === "stream:started") {
      stream = { status: "starting", ...data };
      tell(data);
    } else if (event === "stream:status" && (!stream || stream.stream_id === data.stream_id)) stream = data;
    else if (event === "stream:stopped") {
      stream = null;
      over = data.stream_id;
      notices.show({ key: "live", ...(data.reason
        ? { level: "problem", title: "The live stream broke off", text: data.reason } : { title: "The live stream has ended" }) });
    } else return;
    draw();
  });

  return {
    open() {
      if (unavailable) notices.show({ key: "not-allowed", title: unavailable });
      else if (stream) view.openNow(stream);
      else view.openStart();
    },

    render: () => view.render(stream, { may: room.can.has("stream"), unavailable }),
  };
}
