// @ts-check
/** Moments of a film: as people write them, as addresses carry them, and which of a row of things one falls into. */

/**
 * @param {number} seconds
 * @returns {string} 1:02:03 or 2:03
 */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/**
 * @param {string | null} text 754, 754s, 12m34s, 1h2m3s or 12:34, as `?t=` may say it
 * @returns {number | null} seconds
 */
export function moment(text) {
  if (!text) return null;
  const named = /^(?:(\d{1,3})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s?)?$/.exec(text);
  if (named) return Number(named[1] ?? 0) * 3600 + Number(named[2] ?? 0) * 60 + Number(named[3] ?? 0);
  if (!/^\d{1,3}(:\d{1,2}){1,2}$/.test(text)) return null;
  return text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}

/**
 * @template {{begin: number}} T
 * @param {T[]} row in the order of `begin` (seconds)
 * @param {number} seconds
 * @returns {number} how many of them have begun by then
 */
export function begunBy(row, seconds) {
  let [low, high] = [0, row.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (row[middle].begin <= seconds) low = middle + 1;
    else high = middle;
  }
  return low;
}
