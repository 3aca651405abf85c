// @ts-check
/** Which key does what. Dead while somebody types; no key leaves the class. */

/** @typedef {'mic' | 'camera' | 'chat' | 'people' | 'hand' | 'share' | 'layout' | 'fullscreen' | 'help' | 'talk'} Action */

/** @type {Record<string, Action>} */
const PLAIN = {
  m: "mic", v: "camera", c: "chat", p: "people", r: "hand", d: "share", w: "layout", s: "fullscreen", "?": "help",
};
/** @type {Record<string, Action>} */
const WITH_CONTROL = { d: "mic", e: "camera" };

/** @type {[string, string][]} what the help lists */
export const SHORTCUTS = [
  ["M or Ctrl+D", "Microphone on or off"],
  ["V or Ctrl+E", "Camera on or off"],
  ["Space, held", "Talk while it is held"],
  ["C", "Chat"],
  ["P", "Participants"],
  ["R", "Raise or lower your hand"],
  ["D", "Share your screen"],
  ["W", "Next layout"],
  ["S", "Full screen"],
  ["?", "This list"],
];

/**
 * @param {{key: string, ctrlKey: boolean, metaKey: boolean, altKey: boolean, repeat: boolean}} event
 * @param {{typing: boolean, onButton: boolean}} where `typing`: in a field or menu; `onButton`: Space would press it
 * @returns {Action | null}
 */
export function actionFor(event, { typing, onButton }) {
  if (event.altKey || event.metaKey || event.repeat) return null;
  const key = event.key.toLowerCase();
  if (event.ctrlKey) return typing ? null : (WITH_CONTROL[key] ?? null);
  if (typing) return null;
  if (key === " ") return onButton ? null : "talk";
  return PLAIN[key] ?? null;
}
