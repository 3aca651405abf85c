// @ts-check
/** Questions and lists above the class. The browser's own <dialog> keeps the focus inside and gives it back. */
import { SHORTCUTS } from "../keys.js";
import { byId, el, typed } from "./dom.js";

export class DialogsView {
  #confirm = typed("dialog-confirm", HTMLDialogElement);
  #leave = typed("dialog-leave", HTMLDialogElement);
  #settings = typed("dialog-settings", HTMLDialogElement);
  #keys = typed("dialog-keys", HTMLDialogElement);

  /** @param {{choose: (kind: 'microphone' | 'camera' | 'speaker', id: string) => void, keys: (on: boolean) => void, codec: (name: string) => void}} handlers @param {string} codec */
  constructor(handlers, codec) {
    for (const select of document.querySelectorAll("select[data-devices]")) {
      select.addEventListener("change", () => {
        const kind = /** @type {'microphone' | 'camera' | 'speaker'} */ (select.getAttribute("data-devices"));
        handlers.choose(kind, /** @type {HTMLSelectElement} */ (select).value);
      });
    }
    const keys = typed("set-keys", HTMLInputElement);
    keys.addEventListener("change", () => handlers.keys(keys.checked));
    const codecs = typed("set-codec", HTMLSelectElement);
    codecs.value = codec;
    if (codecs.selectedIndex < 0) codecs.selectedIndex = 0;
    codecs.addEventListener("change", () => handlers.codec(codecs.value));
    byId("keys-list").append(...SHORTCUTS.map(([key, does]) => el("div", {}, el("dt", {}, el("kbd", { text: key })), el("dd", { text: does }))));
    // A click beside a dialog closes it, as Escape does.
    for (const dialog of [this.#confirm, this.#leave, this.#settings, this.#keys]) {
      dialog.addEventListener("click", (event) => event.target === dialog && dialog.close("cancel"));
    }
  }

  get isOpen() {
    return document.querySelector("dialog[open]") !== null;
  }

  closeAll() {
    for (const dialog of /** @type {NodeListOf<HTMLDialogElement>} */ (document.querySelectorAll("dialog[open]"))) dialog.close("cancel");
  }

  /** @param {{title: string, text: string, go: string}} question @returns {Promise<boolean>} */
  async confirm({ title, text, go }) {
    byId("confirm-title").textContent = title;
    byId("confirm-text").textContent = text;
    byId("confirm-go").textContent = go;
    return (await answered(this.#confirm)) === "go";
  }

  /** @returns {Promise<string>} 'leave', 'end' or 'cancel' */
  leave() {
    return answered(this.#leave);
  }

  settings() {
    this.#settings.showModal();
  }

  help() {
    this.#keys.showModal();
  }

  /**
   * Fill every menu of devices on the page.
   * @param {Record<'microphone' | 'camera' | 'speaker', MediaDeviceInfo[]>} devices
   * @param {{microphone?: string, camera?: string, speaker?: string}} chosen
   */
  setDevices(devices, chosen) {
    for (const select of /** @type {NodeListOf<HTMLSelectElement>} */ (document.querySelectorAll("select[data-devices]"))) {
      const kind = /** @type {'microphone' | 'camera' | 'speaker'} */ (select.dataset.devices);
      const options = devices[kind].map((device, place) => el("option", { value: device.deviceId, text: device.label || `${kind} ${place + 1}` }));
      if (!options.length) options.push(el("option", { value: "", text: kind === "speaker" ? "As the system" : `No ${kind} found` }));
      select.replaceChildren(...options);
      select.disabled = !devices[kind].length;
      const current = chosen[kind];
      if (current && devices[kind].some((device) => device.deviceId === current)) select.value = current;
    }
  }
}

/** @param {HTMLDialogElement} dialog @returns {Promise<string>} */
function answered(dialog) {
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}
