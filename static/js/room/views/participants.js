// @ts-check
/** Who is in class, hands first; for teachers with what they may do about each. */
import { makeBars, setBars } from "./bars.js";
import { el, hueOf, icon, initials } from "./dom.js";

/**
 * @typedef {object} Row
 * @property {string} participant_id
 * @property {string} name
 * @property {string} role
 * @property {boolean} self
 * @property {boolean} connected
 * @property {boolean} microphone
 * @property {boolean} camera
 * @property {boolean} screen
 * @property {number} hand
 * @property {string} quality of the connection; empty: not ours to see
 * @property {boolean} canMute
 * @property {boolean} canRemove
 * @property {boolean} canLower
 * @property {string[]} roles that may be given to this person; empty: none
 *
 * @typedef {object} RowHandlers
 * @property {(id: string, kind: 'audio' | 'video' | 'screen') => void} mute
 * @property {(id: string, name: string) => void} remove
 * @property {(id: string, role: string) => void} role
 * @property {(id: string) => void} lowerHand
 * @property {(id: string) => void} connection
 */

const ROLE_NAMES = /** @type {Record<string, string>} */ ({
  host: "Teacher", "co-host": "Co-host", presenter: "Presenter", attendee: "Student", guest: "Guest",
});

export class ParticipantsView {
  #list;
  #handlers;
  /** @type {Map<string, {root: HTMLElement, shown: string}>} */
  #rows = new Map();

  /** @param {HTMLElement} list @param {RowHandlers} handlers */
  constructor(list, handlers) {
    this.#list = list;
    this.#handlers = handlers;
  }

  /** @param {Row[]} rows */
  render(rows) {
    const order = [...rows].sort((a, b) => (a.hand || Infinity) - (b.hand || Infinity)
      || Number(isTeacher(b)) - Number(isTeacher(a)) || a.name.localeCompare(b.name) || 0);
    const ids = new Set(order.map((row) => row.participant_id));
    for (const [id, { root }] of this.#rows) {
      if (!ids.has(id)) {
        root.remove();
        this.#rows.delete(id);
      }
    }
    order.forEach((row, place) => {
      const shown = JSON.stringify(row);
      let entry = this.#rows.get(row.participant_id);
      if (entry?.shown !== shown) {
        const focused = entry && entry.root.contains(document.activeElement) ? document.activeElement?.getAttribute("data-act") : null;
        const root = this.#make(row);
        if (entry) entry.root.replaceWith(root);
        entry = { root, shown };
        this.#rows.set(row.participant_id, entry);
        if (focused) /** @type {HTMLElement | null} */ (root.querySelector(`[data-act="${focused}"]`))?.focus();
      }
      if (this.#list.children[place] !== entry.root) this.#list.insertBefore(entry.root, this.#list.children[place] ?? null);
    });
  }

  /** @param {Row} row */
  #make(row) {
    const act = (/** @type {string} */ name, /** @type {string} */ sign, /** @type {string} */ label, /** @type {() => void} */ run, testid = "") =>
      el("button", { type: "button", class: "icon-button", "data-act": name, "aria-label": `${label} ${row.name}`, title: label, onclick: run,
        ...(testid ? { "data-testid": testid } : {}) }, icon(sign));
    const id = row.participant_id;
    const root = el("li", {
      class: `person${row.connected ? "" : " person-away"}`, "data-testid": "participant", "data-participant-id": id,
      "data-name": row.name, "data-role": row.role,
    },
    el("span", { class: "avatar", "aria-hidden": "true", style: `--hue: ${hueOf(id)}`, text: initials(row.name) }),
    el("div", { class: "person-words" },
      el("span", { class: "person-name", text: row.self ? `${row.name} (you)` : row.name }),
      row.roles.length && row.connected
        ? this.#roleMenu(row)
        : el("span", { class: "person-role", text: row.connected ? (ROLE_NAMES[row.role] ?? row.role) : "Reconnecting…" })));
    if (row.hand) {
      root.append(row.canLower
        ? el("button", { type: "button", class: "person-hand", "data-act": "lower", "aria-label": `Lower hand ${row.hand}, ${row.name}`, title: "Lower hand",
          onclick: () => this.#handlers.lowerHand(id) }, icon("hand-index-thumb-fill"), String(row.hand))
        : el("span", { class: "person-hand", role: "img", "aria-label": `Hand raised, number ${row.hand}` }, icon("hand-index-thumb-fill"), String(row.hand)));
    }
    const state = el("span", { class: "person-media" });
    if (row.quality && row.connected) {
      const bars = makeBars(() => this.#handlers.connection(id));
      setBars(bars, row.quality, row.self ? "Your connection" : `Connection of ${row.name}`);
      state.append(bars);
    }
    if (row.screen) state.append(row.canMute && !row.self ? act("screen", "display", "Stop the screen of", () => this.#handlers.mute(id, "screen")) : said("display", "Shares the screen"));
    if (row.camera && row.canMute && !row.self) state.append(act("camera", "camera-video-fill", "Stop the camera of", () => this.#handlers.mute(id, "video")));
    else state.append(said(row.camera ? "camera-video-fill" : "camera-video-off", row.camera ? "Camera on" : "Camera off"));
    if (row.canMute && !row.self) {
      const button = act("mute", row.microphone ? "mic-fill" : "mic-mute", row.microphone ? "Mute" : "Muted:", () => this.#handlers.mute(id, "audio"), "mute-participant");
      button.toggleAttribute("disabled", !row.microphone);
      state.append(button);
    } else {
      state.append(said(row.microphone ? "mic-fill" : "mic-mute", row.microphone ? "Microphone on" : "Muted"));
    }
    root.append(state);
    if (row.canRemove) {
      root.append(act("remove", "person-x", "Remove", () => this.#handlers.remove(id, row.name), "remove-participant"));
    }
    return root;
  }

  /** The role is changed where it stands. @param {Row} row */
  #roleMenu(row) {
    const select = /** @type {HTMLSelectElement} */ (el("select", {
      class: "person-role person-role-menu", "data-act": "role", "aria-label": `Role of ${row.name}`, "data-testid": "participant-role",
      onchange: () => this.#handlers.role(row.participant_id, select.value),
    }, ...row.roles.map((role) => el("option", { value: role, text: ROLE_NAMES[role] ?? role, selected: role === row.role }))));
    return select;
  }
}

/** @param {Row} row */
function isTeacher(row) {
  return row.role === "host" || row.role === "co-host";
}

/** @param {string} sign @param {string} words */
function said(sign, words) {
  const picture = icon(sign);
  return el("span", { class: "said", role: "img", "aria-label": words, title: words }, picture);
}
