// @ts-check
/** Three bars that say how good a connection is, in shape, colour and words; a click tells more. */
import { el } from "./dom.js";

const LEVELS = /** @type {Record<string, [number | string, string]>} */ ({
  good: [3, "good"], warning: [2, "fair"], danger: [1, "poor"], critical: [0, "very poor"],
});

/** @param {string} quality @returns {string} */
export function qualityWords(quality) {
  return LEVELS[quality]?.[1] ?? "not known";
}

/** @param {() => void} open @returns {HTMLButtonElement} */
export function makeBars(open) {
  return /** @type {HTMLButtonElement} */ (el("button", {
    type: "button", class: "bars", "data-testid": "connection", "data-act": "connection", onclick: open,
  }, el("b"), el("b"), el("b")));
}

/** @param {HTMLElement} bars @param {string} quality @param {string} whose such as "Your connection" */
export function setBars(bars, quality, whose) {
  const [level, words] = LEVELS[quality] ?? ["", "not known"];
  const label = `${whose}: ${words}`;
  if (bars.dataset.level === String(level) && bars.title === label) return;
  bars.dataset.level = String(level);
  bars.title = label;
  bars.setAttribute("aria-label", label);
}
