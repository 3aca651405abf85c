// @ts-check
/** Which key does what in the player; dead while somebody types. */

/** @typedef {"toggle" | "back5" | "on5" | "back10" | "on10" | "slower" | "faster" | "captions" | "fullscreen" | "mute"} Deed */

/** @type {Record<string, Deed>} */
const KEYS = {
  " ": "toggle", k: "toggle", ArrowLeft: "back5", ArrowRight: "on5", j: "back10", l: "on10",
  "<": "slower", ">": "faster", c: "captions", f: "fullscreen", m: "mute",
};

/**
 * @param {KeyboardEvent} event
 * @returns {Deed | null}
 */
export function deedOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return null;
  const target = event.target instanceof Element ? event.target : null;
  if (target?.closest("input:not([type=range]), textarea, select, [contenteditable], .dropdown-menu")) return null;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // A button has its own meaning for space, and the volume for arrows.
  if (key === " " && target?.closest("button, a, summary")) return null;
  if (key.startsWith("Arrow") && target?.matches("[data-part=volume]")) return null;
  return KEYS[key] ?? null;
}
