// @ts-check
/** Names for controls of the Django admin that have none: in tables of forms, dates, and the selects one types in. */

/**
 * @param {string} id of a control
 * @returns {string} what its label says; empty where it has none
 */
function labelOf(id) {
  return document.querySelector(`label[for="${CSS.escape(id)}"]`)?.textContent ?? "";
}

/**
 * @param {Element} control
 * @returns {string} what stands above its column, or before its row
 */
function headOf(control) {
  const cell = control.closest("td");
  const head = cell?.closest("table")?.tHead?.rows[0]?.cells[cell.cellIndex];
  return head?.textContent ?? control.closest(".form-row")?.querySelector("label, legend")?.textContent ?? "";
}

function giveNames() {
  for (const control of document.querySelectorAll("#content :is(input, select, textarea):not([type=hidden], [aria-label])")) {
    if (labelOf(control.id) || control.closest("label")) continue;
    const part = control.closest(".datetime") ? control.previousSibling?.textContent ?? "" : ""; // "Date:", "Time:"
    const words = `${headOf(control)} ${part}`.replaceAll(":", "").trim();
    if (words) control.setAttribute("aria-label", words);
  }
  for (const shown of document.querySelectorAll(".select2-selection__rendered:not([aria-label])")) {
    const control = document.getElementById(shown.id.replace(/^select2-(.*)-container$/, "$1"));
    const words = control && (labelOf(control.id) || control.getAttribute("aria-label"));
    if (!words) continue;
    shown.setAttribute("aria-label", words.replace(":", "").trim());
    shown.closest(".select2-selection")?.setAttribute("aria-label", words.replace(":", "").trim());
  }
}

// Rows are added and selects are dressed later.
new MutationObserver(giveNames).observe(document.body, { childList: true, subtree: true });
giveNames();
export {};
