// @ts-check
/** The tray of controls. What does not fit moves into More, from the right; Leave and what one needs most stay. */
import { byId } from "./dom.js";

/**
 * @typedef {object} ToolbarModel
 * @property {boolean} microphone
 * @property {boolean} camera
 * @property {boolean} screen
 * @property {number} hand
 * @property {'chat' | 'people' | null} panel
 * @property {number} unread
 * @property {number} people
 * @property {string} layout
 * @property {boolean} recording
 * @property {boolean} camerasOff
 * @property {string} notRecorded why nobody can record this class; empty where one can
 * @property {Record<'microphone' | 'camera' | 'share' | 'hand' | 'record' | 'spotlight', boolean>} may
 *
 * @typedef {'mic' | 'camera' | 'share' | 'chat' | 'hand' | 'people' | 'layout' | 'record' | 'live' | 'leave' | 'settings' | 'camerasOff' | 'fullscreen' | 'help' | 'pauseRecording' | 'markRecording' | 'recordingSettings' | 'localRecording' | 'layoutForAll'} Tool
 */

/** Moved into More in this order when the tray is too narrow. */
const LEAVES_FIRST = ["tool-record", "tool-layout", "tool-people", "tool-share"];
const LAYOUT_ICONS = /** @type {Record<string, [string, string]>} */ ({
  grid: ["grid-fill", "Grid"], speaker: ["person-square", "Speaker"], presentation: ["easel", "Screen"],
});

export class ToolbarView {
  #tray = byId("tray");
  #more = byId("more");
  #moreButton = byId("tool-more");
  #moreTools = byId("more-tools");
  #order;

  /** @param {(tool: Tool) => void} run */
  constructor(run) {
    this.#order = [...this.#tray.children];
    for (const name of /** @type {Tool[]} */ (["mic", "camera", "share", "chat", "hand", "people", "layout", "record", "leave"])) {
      byId(`tool-${name}`).addEventListener("click", () => {
        const inMore = this.#moreTools.contains(byId(`tool-${name}`));
        if (inMore) this.#openMore(false, true);
        run(name);
      });
    }
    for (const item of this.#more.querySelectorAll("[data-do]")) {
      item.addEventListener("click", () => {
        this.#openMore(false, true);
        run(/** @type {Tool} */ (item.getAttribute("data-do")));
      });
    }
    this.#moreButton.addEventListener("click", () => this.#openMore(this.#more.hidden));
    this.#more.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        this.#openMore(false, true);
      }
    });
    document.addEventListener("pointerdown", (event) => {
      if (!this.#more.hidden && event.target instanceof Node && !this.#more.contains(event.target)
        && !this.#moreButton.contains(event.target)) this.#openMore(false);
    });
    new ResizeObserver(() => this.#fit()).observe(/** @type {HTMLElement} */ (this.#tray.parentElement));
  }

  /** @param {ToolbarModel} model */
  render(model) {
    press("tool-mic", model.microphone, model.microphone ? "Mic on" : "Mic off", model.microphone ? "Mute (M)" : "Unmute (M)",
      model.microphone ? "mic-fill" : "mic-mute-fill");
    press("tool-camera", model.camera, model.camera ? "Camera on" : "Camera off", model.camera ? "Stop the camera (V)" : "Start the camera (V)",
      model.camera ? "camera-video-fill" : "camera-video-off-fill");
    press("tool-share", model.screen, model.screen ? "You share your screen" : "Share your screen", model.screen ? "Stop sharing (D)" : "Share your screen (D)",
      model.screen ? "x-square-fill" : "box-arrow-up");
    press("tool-hand", model.hand > 0, model.hand ? `Your hand is up, number ${model.hand}` : "Raise your hand", model.hand ? "Lower your hand (R)" : "Raise your hand (R)",
      model.hand ? "hand-index-thumb-fill" : "hand-index-thumb");
    press("tool-chat", model.panel === "chat", model.unread ? `Chat, ${model.unread} unread` : "Chat", "Chat (C)");
    press("tool-people", model.panel === "people", `People, ${model.people}`, "People (P)");
    press("tool-record", model.recording, model.recording ? "Record: running; stop it" : "Record the class", model.recording ? "Stop recording" : "Record the class",
      model.recording ? "stop-circle-fill" : "record-circle");
    const [sign, words] = LAYOUT_ICONS[model.layout] ?? LAYOUT_ICONS.grid;
    label("tool-layout", `Layout: ${words}`, "Next layout (W)", sign);
    badge("chat-badge", model.panel === "chat" ? 0 : model.unread);
    badge("people-badge", model.people);
    const record = byId("tool-record");
    if (record.hidden === model.may.record) {
      record.hidden = !model.may.record;
      this.#fit();
    }
    disable("tool-mic", !model.may.microphone && !model.microphone, "Your microphone is locked by the host");
    disable("tool-camera", !model.may.camera && !model.camera, "Your camera is locked by the host");
    disable("tool-share", !model.may.share && !model.screen, "You may not share your screen in this class");
    disable("tool-record", Boolean(model.notRecorded), model.notRecorded);
    disable("tool-hand", !model.may.hand, "Guests cannot raise a hand");
    byId("more-layout").hidden = !model.may.spotlight;
    byId("more-cameras").setAttribute("aria-pressed", String(model.camerasOff));
  }

  /** Why a tool cannot be used now; empty where it can. @param {string} tool */
  refusal(tool) {
    const button = document.getElementById(`tool-${tool}`);
    return button?.getAttribute("aria-disabled") === "true" ? button.title : "";
  }

  /** @param {boolean} open @param {boolean} [returnFocus] */
  #openMore(open, returnFocus = false) {
    this.#more.hidden = !open;
    this.#moreButton.setAttribute("aria-expanded", String(open));
    if (open) /** @type {HTMLElement | null} */ (this.#more.querySelector("button:not([hidden], :disabled)"))?.focus();
    else if (returnFocus) this.#moreButton.focus();
  }

  /** Each tool is equally wide, so that what fits can be counted without moving anything to find out. */
  #fit() {
    const room = (this.#tray.parentElement?.clientWidth ?? 0) - 16;
    const width = byId("tool-leave").offsetWidth;
    if (room <= 0 || !width) return;
    const style = getComputedStyle(this.#tray);
    const gap = parseFloat(style.columnGap) || 0;
    const edges = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight) + 2;
    const count = this.#order.filter((element) => !(/** @type {HTMLElement} */ (element).hidden)).length;
    const fits = Math.floor((room - edges + gap) / (width + gap));
    const movable = LEAVES_FIRST.filter((id) => !byId(id).hidden);
    const away = new Set(movable.slice(0, Math.max(0, count - fits)));
    const focused = document.activeElement;
    for (const id of LEAVES_FIRST) {
      const tool = byId(id);
      const isAway = this.#moreTools.contains(tool);
      if (away.has(id) && !isAway) this.#moreTools.prepend(tool);
      if (!away.has(id) && isAway) {
        const after = this.#order.slice(this.#order.indexOf(tool) + 1).find((element) => element.parentElement === this.#tray);
        this.#tray.insertBefore(tool, after ?? null);
      }
    }
    // A control that moved away from under the focus leaves it at More, where it is now.
    if (focused instanceof HTMLElement && focused !== document.activeElement) {
      (this.#moreTools.contains(focused) && this.#more.hidden ? this.#moreButton : focused).focus();
    }
  }
}

/** @param {string} id @param {boolean} on @param {string} name @param {string} title @param {string} [sign] */
function press(id, on, name, title, sign) {
  byId(id).setAttribute("aria-pressed", String(on));
  label(id, name, title, sign);
}

/** @param {string} id @param {string} name @param {string} title @param {string} [sign] */
function label(id, name, title, sign) {
  const button = byId(id);
  button.setAttribute("aria-label", name);
  if (!button.hasAttribute("aria-disabled")) button.title = title;
  const picture = button.querySelector("i");
  if (picture && sign) picture.className = `bi bi-${sign}`;
}

/** Stays where the keyboard can find it, and says why. @param {string} id @param {boolean} off @param {string} why */
function disable(id, off, why) {
  const button = byId(id);
  if (off) {
    button.setAttribute("aria-disabled", "true");
    button.title = why;
  } else button.removeAttribute("aria-disabled");
}

/** @param {string} id @param {number} count */
function badge(id, count) {
  const element = byId(id);
  element.hidden = !count;
  element.textContent = count > 99 ? "99+" : String(count);
}
