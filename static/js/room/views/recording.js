// @ts-check
/** The chip that tells all, latecomers too, that the class is recorded, and how far its film is. */

/**
 * @param {HTMLElement} chip
 * @param {{text: string, kind: string} | null} words null: there is no recording
 * @param {string} status
 */
export function renderRecording(chip, words, status) {
  chip.hidden = !words;
  chip.textContent = words?.text ?? "";
  chip.dataset.kind = words?.kind ?? "";
  chip.dataset.status = status;
  chip.title = words?.kind === "live" ? "This class is being recorded" : "";
}
