// @ts-check
/** The chat between room and panel: what is new, what was not read yet, what is still on its way. */
import { shownMessage } from "../models.js";
import { ChatView } from "../views/chat.js";
import { byId, typed } from "../views/dom.js";

const PAGE = 50; // messages, as many as a join's answer brings

/**
 * @param {object} parts
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../session.js').Session} parts.session
 * @param {import('../socket.js').RoomConnection} parts.connection
 * @param {import('../controls.js').Controls} parts.controls
 * @param {() => boolean} parts.isOpen is the panel?
 * @param {() => void} parts.draw
 */
export function wireChat({ room, session, connection, controls, isOpen, draw }) {
  const { outbox } = controls;
  let unread = 0;

  const view = new ChatView({
    list: byId("chat-list"), input: typed("chat-input", HTMLTextAreaElement), form: typed("chat-form", HTMLFormElement),
    send: typed("chat-send", HTMLButtonElement), status: byId("chat-status"), announce: byId("announce"),
  }, { send: (text) => outbox.send(text), earlier: () => void earlier() });

  room.on("chat", ({ added, live }) => {
    if (!live) showAll({ more: room.chat.length >= PAGE });
    for (const message of live ? added : []) {
      view.add(shownMessage(room, message));
      if (!isOpen() && message.participant_id !== room.you.participant_id) unread++;
    }
    draw();
  });
  controls.on("chatRefused", ({ message }) => view.giveBack(message));
  outbox.on("change", showWaiting);
  session.on("state", showWaiting);

  /** While all is well a message is there before anybody could read that it is on its way. */
  function showWaiting() {
    view.setWaiting(session.inClass ? 0 : outbox.waiting.length);
  }

  /** @param {{more: boolean, stay?: boolean}} options */
  function showAll(options) {
    view.replace(room.chat.map((message) => shownMessage(room, message)), options);
  }

  async function earlier() {
    const page = await connection.request("chat:history", { before: room.chat[0]?.message_id, limit: PAGE }).catch(() => null);
    if (!page) return;
    room.prepend(page.messages);
    showAll({ more: page.more, stay: true });
  }

  return {
    get unread() {
      return unread;
    },

    /** The panel is looked at. */
    opened() {
      unread = 0;
      view.focus();
    },

    render: () => view.setAllowed(room.can.has("chat")),
  };
}
