// @ts-check
/** The chat panel: history for latecomers, grouped by author, with a badge for what was not read yet. */
import { el, hueOf, initials, roleName } from "./dom.js";

const GROUP_WITHIN = 120_000; // ms: one name above what one person says in a row

/** @typedef {{participant_id: string, name: string, role: string, self: boolean, message: string, sent_at: string, message_id: string}} ShownMessage */

export class ChatView {
  #list;
  #input;
  #send;
  #status;
  #announce;
  #handlers;
  /** @type {{participant_id: string, at: number, list: HTMLElement} | null} */
  #group = null;

  /**
   * @param {object} elements
   * @param {HTMLElement} elements.list
   * @param {HTMLTextAreaElement} elements.input
   * @param {HTMLFormElement} elements.form
   * @param {HTMLButtonElement} elements.send
   * @param {HTMLElement} elements.status
   * @param {HTMLElement} elements.announce a live region that is there even when the panel is closed
   * @param {{send: (text: string) => void, earlier: () => void}} handlers
   */
  constructor({ list, input, form, send, status, announce }, handlers) {
    this.#list = list;
    this.#input = input;
    this.#send = send;
    this.#status = status;
    this.#announce = announce;
    this.#handlers = handlers;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#submit();
      }
    });
    input.addEventListener("input", () => this.#grow());
  }

  /**
   * @param {ShownMessage[]} messages all of them, silently
   * @param {{more: boolean, stay?: boolean}} options `more`: older ones can be asked for; `stay` where one reads
   */
  replace(messages, { more, stay = false }) {
    const fromEnd = this.#list.scrollHeight - this.#list.scrollTop;
    this.#list.replaceChildren();
    this.#group = null;
    if (more) {
      this.#list.append(el("li", { class: "chat-earlier" }, el("button", {
        type: "button", class: "btn btn-sm btn-secondary", text: "Earlier messages", onclick: () => this.#handlers.earlier(),
      })));
    }
    if (!messages.length) {
      this.#list.append(el("li", { class: "chat-empty", text: "No messages yet. What is written here stays with the class." }));
    }
    for (const message of messages) this.#append(message);
    this.#list.scrollTop = this.#list.scrollHeight - (stay ? fromEnd : 0);
  }

  /** @param {ShownMessage} message */
  add(message) {
    // Who reads older messages is not torn away from them.
    const atEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 80;
    this.#append(message);
    if (atEnd || message.self) this.#list.scrollTop = this.#list.scrollHeight;
    if (!message.self) this.#announce.textContent = `${message.name}: ${message.message.slice(0, 200)}`;
  }

  /** @param {number} count messages on their way */
  setWaiting(count) {
    this.#status.textContent = count ? (count === 1 ? "Sending…" : `Sending ${count} messages…`) : "";
  }

  /** Give back what was refused, unless something else was begun. @param {string} text */
  giveBack(text) {
    if (!this.#input.value) this.#input.value = text;
    this.#grow();
  }

  /** @param {boolean} allowed */
  setAllowed(allowed) {
    this.#input.disabled = !allowed;
    this.#send.disabled = !allowed;
    this.#input.placeholder = allowed ? "Write to everyone" : "You may read this chat, not write in it";
  }

  focus() {
    this.#input.focus();
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  #submit() {
    const text = this.#input.value.trim();
    if (!text) return;
    this.#handlers.send(text);
    this.#input.value = "";
    this.#grow();
  }

  #grow() {
    this.#input.style.height = "auto";
    this.#input.style.height = `${Math.min(this.#input.scrollHeight + 2, 140)}px`;
  }

  /** @param {ShownMessage} message */
  #append(message) {
    this.#list.querySelector(".chat-empty")?.remove();
    const at = Date.parse(message.sent_at) || 0;
    const bubble = el("p", { class: "chat-text", "data-testid": "chat-message", "data-message-id": message.message_id,
      "data-participant-id": message.participant_id, text: message.message });
    if (this.#group && this.#group.participant_id === message.participant_id && at - this.#group.at < GROUP_WITHIN) {
      this.#group.list.append(bubble);
      this.#group.at = at;
      return;
    }
    const teacher = message.role === "host" || message.role === "co-host";
    const list = el("div", { class: "chat-said" }, el("div", { class: "chat-head" },
      el("span", { class: "chat-author", text: message.self ? "You" : message.name }),
      ...(teacher ? [el("span", { class: "role-mark", text: roleName(message.role) })] : []),
      el("time", { datetime: message.sent_at, text: at ? new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : "" }),
    ), bubble);
    this.#list.append(el("li", { class: `chat-group${teacher ? " chat-teacher" : ""}${message.self ? " chat-self" : ""}` },
      el("span", { class: "avatar", "aria-hidden": "true", style: `--hue: ${hueOf(message.participant_id)}`, text: initials(message.name) }), list));
    this.#group = { participant_id: message.participant_id, at, list };
  }
}
