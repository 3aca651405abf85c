// @ts-check
/** Short ways to make and find elements. Text goes in as text, never as HTML. */

/**
 * @param {string} tag
 * @param {Record<string, any>} [attributes] `text`, `class`, `on*` listeners, booleans, data-* and aria-* by name
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== undefined && value !== null) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** A picture that says nothing to a screen reader; its button does. @param {string} name of bootstrap-icons */
export function icon(name) {
  return el("i", { class: `bi bi-${name}`, "aria-hidden": "true" });
}

/**
 * The element of this page with that id; a missing one is a slip of ours.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page lacks #${id}.`);
  return element;
}

/** @template {HTMLElement} T @param {string} id @param {new () => T} type @returns {T} */
export function typed(id, type) {
  const element = byId(id);
  if (!(element instanceof type)) throw new Error(`#${id} is not a ${type.name}.`);
  return element;
}

/** Write only what changed: a screen reader and a selection live in this text. @param {HTMLElement} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Two letters for a picture that is not there. @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]].map((word) => [...word][0]) : [...(words[0] ?? "?")].slice(0, 2);
  return letters.join("").toUpperCase();
}

/** The same quiet colour for the same person everywhere. @param {string} id @returns {number} degrees */
export function hueOf(id) {
  let hash = 2166136261; // FNV-1a: ids that differ in one letter are far apart
  for (const letter of id) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 16777619) >>> 0;
  return (hash >>> 8) % 360;
}

/** @param {string} role @returns {string} empty where there is nothing to point out */
export function roleName(role) {
  return { host: "Teacher", "co-host": "Co-host", presenter: "Presenter", guest: "Guest" }[role] ?? "";
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return `${hours ? `${hours}:` : ""}${pad(Math.floor((whole % 3600) / 60))}:${pad(whole % 60)}`;
}
