// @ts-check
/** The lock: what it means, which key one has, and the ways to get, give and change one. In the lobby and in class. */
import { byId, setText, typed } from "./dom.js";

/**
 * @typedef {object} EncryptionModel
 * @property {string} key four digits to compare; empty without a key
 * @property {boolean} fits false: others send what this key does not open
 * @property {boolean} host may make a key for the class
 * @property {string} wrong with the key that the page was opened with
 *
 * @typedef {object} EncryptionHandlers
 * @property {(text: string) => Promise<string>} enter what is wrong with it; empty when it was taken
 * @property {() => Promise<string>} make what is wrong; empty when there is a new key
 * @property {() => Promise<string>} copy the link, where the browser does not let it be copied
 * @property {() => void} closed
 */

export class EncryptionView {
  #dialog = typed("dialog-encryption", HTMLDialogElement);
  #input = typed("key-input", HTMLInputElement);
  #link = typed("key-link", HTMLInputElement);
  #error = byId("key-error");

  /** @param {EncryptionHandlers} handlers */
  constructor({ enter, make, copy, closed }) {
    for (const id of ["encryption-chip", "lobby-key"]) byId(id).addEventListener("click", () => this.open());
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      this.#input.value = this.#link.value = "";
      this.#link.hidden = true;
      this.#say("");
      closed();
    });
    byId("key-close").addEventListener("click", () => this.close());
    byId("key-new").addEventListener("click", async () => {
      const wrong = await make();
      setText(byId("key-copied"), wrong || "A new key. Give its link to all who shall see and hear you from now on.");
    });
    byId("key-copy").addEventListener("click", async () => {
      const link = await copy();
      setText(byId("key-copied"), link ? "Copy it here. It opens the class: give it to nobody else." : "Copied. It opens the class: give it to nobody else.");
      this.#link.hidden = !link;
      this.#link.value = link;
      if (link) this.#link.select();
    });
    byId("encryption-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      const wrong = await enter(this.#input.value);
      this.#say(wrong);
      if (wrong) this.#input.focus();
      else this.#dialog.close();
    });
  }

  open() {
    byId("key-copied").textContent = "";
    this.#dialog.showModal();
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  /** @param {EncryptionModel} model */
  render({ key, fits, host, wrong }) {
    const state = !key ? "none" : fits ? "fits" : "other";
    const chip = byId("encryption-chip");
    chip.dataset.state = state;
    const words = { none: "No key", fits: "Encrypted", other: "Another key" }[state];
    setText(byId("encryption-chip-text"), words);
    const sign = chip.querySelector("i");
    if (sign) sign.className = `bi bi-${state === "fits" ? "lock-fill" : "key"}`;
    const told = {
      none: wrong || (host ? "There is no key here yet. Make one and give its link to your class, or enter the one that is in use."
        : "You have no key yet. Open the link that the teacher gave you, or enter the key."),
      fits: `Your key is ${key}. Who has the same digits has the same key.`,
      other: `Your key is ${key}, and others use another one. Ask for the link again.`,
    }[state];
    setText(byId("key-state"), told);
    setText(byId("lobby-key-state"), told);
    setText(byId("lobby-key"), key ? "Key" : host ? "Make or enter a key" : "Enter the key");
    byId("key-copy").hidden = !key;
    byId("key-new").hidden = !host;
    setText(byId("key-new"), key ? "New key" : "Make a key");
  }

  /** @param {string} wrong */
  #say(wrong) {
    this.#error.hidden = !wrong;
    this.#error.textContent = wrong;
    this.#input.setAttribute("aria-invalid", String(Boolean(wrong)));
  }
}
