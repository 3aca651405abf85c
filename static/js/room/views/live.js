// @ts-check
/** The chip that tells all that the class is seen outside, and the host's two dialogs: go live, and what is live. */
import { byId, typed } from "./dom.js";

/** @type {Record<string, string>} */
const PUSH_WORDS = {
  push_connecting: "Connecting to the other platform…",
  push_sending: "The other platform receives it.",
  push_retrying: "The other platform cannot be reached. It is tried again.",
  push_refused: "The address of the other platform may not be used.",
};

export class LiveView {
  #start = typed("dialog-live", HTMLDialogElement);
  #now = typed("dialog-live-now", HTMLDialogElement);
  #target = typed("live-target", HTMLSelectElement);

  /** @param {{start: (choice: object) => Promise<string>, stop: () => void}} handlers `start` gives why it was refused */
  constructor({ start, stop }) {
    const error = byId("live-error");
    const go = typed("live-go", HTMLButtonElement);
    this.#target.addEventListener("change", () => { byId("live-rtmp").hidden = this.#target.value !== "rtmp"; });
    byId("live-cancel").addEventListener("click", () => this.#start.close());
    byId("live-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      const why = await start(this.#choice());
      go.disabled = false;
      error.hidden = !why;
      error.textContent = why;
      if (why) return;
      typed("live-key", HTMLInputElement).value = "";
      this.#start.close();
    });
    this.#now.addEventListener("close", () => this.#now.returnValue === "stop" && stop());
    for (const dialog of [this.#start, this.#now]) {
      dialog.addEventListener("click", (event) => event.target === dialog && dialog.close("cancel"));
    }
  }

  #choice() {
    const qualities = typed("live-sizes", HTMLSelectElement).value.split(" ");
    const value = this.#target.value;
    if (value !== "rtmp") return { target: "hls", access: value, qualities };
    const server = typed("live-server", HTMLInputElement).value.trim().replace(/\/+$/, "");
    const key = typed("live-key", HTMLInputElement).value.trim();
    return { target: "rtmp", access: "course", qualities, url: key ? `${server}/${key}` : server };
  }

  openStart() {
    byId("live-error").hidden = true;
    this.#start.showModal();
  }

  /** @param {import('../types.js').Stream} stream */
  openNow(stream) {
    typed("live-link", HTMLInputElement).value = new URL(stream.url, location.href).href;
    this.#now.returnValue = "cancel";
    this.#now.showModal();
  }

  /** @param {import('../types.js').Stream | null} stream @param {{may: boolean, unavailable: string}} host */
  render(stream, { may, unavailable }) {
    const chip = /** @type {HTMLAnchorElement} */ (byId("live-state"));
    chip.hidden = !stream;
    if (stream) chip.href = stream.url;
    byId("live-words").textContent = !stream ? "" : stream.status === "starting" ? "Going live…" : "LIVE";
    chip.title = stream?.access === "public"
      ? "This class is shown live to everybody who has the link" : "This class is shown live to the course";
    const tool = byId("tool-live");
    tool.hidden = !may;
    byId("tool-live-words").textContent = stream ? "Live: link and stop…" : "Go live…";
    if (unavailable) {
      tool.setAttribute("aria-disabled", "true");
      tool.title = unavailable;
    }
    byId("live-now-words").textContent = stream ? PUSH_WORDS[stream.status] ?? chip.title : "The stream has ended.";
    if (!stream && this.#now.open) this.#now.close("cancel");
  }
}
