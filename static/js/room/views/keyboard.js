// @ts-check
/** Keys of the class: heard on the whole page, dead while somebody types or a dialog is open. */
import { actionFor } from "../keys.js";

/**
 * @param {object} options
 * @param {() => boolean} options.active
 * @param {(action: Exclude<import('../keys.js').Action, 'talk'>) => void} options.run
 * @param {(down: boolean) => unknown} options.talk Space held and let go
 * @param {() => unknown} options.escape
 */
export function listenToKeys({ active, run, talk, escape }) {
  addEventListener("keydown", (event) => {
    if (!active()) return;
    if (event.key === "Escape") escape();
    const target = event.target instanceof Element ? event.target : null;
    const action = actionFor(event, {
      typing: Boolean(target?.closest("input, textarea, select, [contenteditable]")),
      onButton: Boolean(target?.closest("button, a, summary")),
    });
    if (!action) return;
    event.preventDefault();
    if (action === "talk") talk(true);
    else run(action);
  });
  addEventListener("keyup", (event) => event.key === " " && talk(false));
  // A window that lost the focus never hears that the key was let go.
  addEventListener("blur", () => talk(false));
}
