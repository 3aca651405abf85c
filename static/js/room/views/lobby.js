// @ts-check
/** The room before the class: one's name, how one looks and sounds, which devices, and one primary button. */
import { byId, el, icon, typed } from "./dom.js";

/**
 * @typedef {object} LobbyHandlers
 * @property {(name: string, options: {audioOnly: boolean}) => void} join
 * @property {() => void} toggleMicrophone
 * @property {() => void} toggleCamera
 * @property {() => void} testSound
 */

export class LobbyView {
  #root = byId("lobby");
  #video = typed("lobby-video", HTMLVideoElement);
  #note = byId("lobby-video-note");
  #level = byId("lobby-level");
  #name = typed("lobby-name", HTMLInputElement);
  #status = byId("lobby-status");
  #trouble = byId("lobby-trouble");
  #join = typed("lobby-join", HTMLButtonElement);
  #audioOnly = typed("lobby-audio-only", HTMLButtonElement);

  /** @param {{name: string, lessonUrl: string | null}} options @param {LobbyHandlers} handlers */
  constructor({ name, lessonUrl }, handlers) {
    this.#name.value = name;
    if (lessonUrl) {
      const back = typed("lobby-back", HTMLAnchorElement);
      back.href = lessonUrl;
      back.hidden = false;
    }
    byId("lobby-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#go(handlers, false);
    });
    this.#audioOnly.addEventListener("click", () => this.#go(handlers, true));
    byId("lobby-mic").addEventListener("click", handlers.toggleMicrophone);
    byId("lobby-camera").addEventListener("click", handlers.toggleCamera);
    byId("lobby-test-sound").addEventListener("click", handlers.testSound);
  }

  /** @param {boolean} shown */
  show(shown) {
    this.#root.hidden = !shown;
    if (!shown) this.#video.srcObject = null;
  }

  focus() {
    (this.#name.value ? this.#join : this.#name).focus();
  }

  /** @param {{microphone: MediaStreamTrack | null, camera: MediaStreamTrack | null, starting: boolean}} devices */
  render({ microphone, camera, starting }) {
    const current = /** @type {MediaStream | null} */ (this.#video.srcObject)?.getVideoTracks()[0] ?? null;
    if (current !== camera) this.#video.srcObject = camera ? new MediaStream([camera]) : null;
    this.#video.hidden = !camera;
    this.#note.hidden = Boolean(camera);
    this.#note.textContent = starting ? "Asking for your camera and microphone…" : "Your camera is off";
    toggle(byId("lobby-mic"), Boolean(microphone), "Microphone", "mic-fill", "mic-mute-fill");
    toggle(byId("lobby-camera"), Boolean(camera), "Camera", "camera-video-fill", "camera-video-off-fill");
  }

  /** @param {number | null} level 0 to 1 */
  setLevel(level) {
    // Loudness is heard by the logarithm: speech fills the upper half of the bar.
    const share = level ? Math.max(0, Math.min(1, 1 + Math.log10(level + 1e-4) / 2.6)) : 0;
    /** @type {HTMLElement} */ (this.#level.firstElementChild).style.transform = `scaleX(${share.toFixed(3)})`;
    this.#level.setAttribute("aria-valuenow", String(Math.round(share * 100)));
  }

  /** @param {string} kind @param {{problem: string, title: string, advice: string} | null} trouble */
  setTrouble(kind, trouble) {
    this.#trouble.querySelector(`[data-kind="${kind}"]`)?.remove();
    if (!trouble) return;
    this.#trouble.append(el("div", { class: "notice notice-warning", "data-kind": kind, "data-testid": "notice", "data-problem": trouble.problem },
      icon("exclamation-circle"), el("div", { class: "notice-body" }, el("strong", { text: trouble.title }), el("p", { text: trouble.advice }))));
  }

  /** @param {boolean} joining @param {string} [words] */
  setJoining(joining, words = "") {
    this.#join.disabled = joining;
    this.#audioOnly.disabled = joining;
    this.#join.textContent = joining ? "Joining…" : "Join class";
    this.#status.textContent = words;
    this.#status.classList.toggle("lobby-refused", !joining && Boolean(words));
  }

  /** @param {LobbyHandlers} handlers @param {boolean} audioOnly */
  #go(handlers, audioOnly) {
    const name = this.#name.value.trim();
    const error = byId("lobby-name-error");
    error.hidden = Boolean(name);
    this.#name.setAttribute("aria-invalid", String(!name));
    if (!name) {
      this.#name.setAttribute("aria-describedby", error.id);
      this.#name.focus();
      return;
    }
    handlers.join(name, { audioOnly });
  }
}

/** @param {HTMLElement} button @param {boolean} on @param {string} name @param {string} yes @param {string} no */
function toggle(button, on, name, yes, no) {
  button.setAttribute("aria-pressed", String(on));
  button.setAttribute("aria-label", `${name} ${on ? "on" : "off"}`);
  button.title = `Turn the ${name.toLowerCase()} ${on ? "off" : "on"}`;
  const picture = button.querySelector("i");
  if (picture) picture.className = `bi bi-${on ? yes : no}`;
}
