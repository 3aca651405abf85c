// @ts-check
/**
 * How long to wait before trying again: quickly at first, because most breaks are short, then slower, and always
 * by chance, so that a thousand browsers that lost the same server do not come back in the same moment.
 */

const FIRST = 300; // ms: the first retry comes within 100 to 300 ms
const GROWTH = 1.3; // half a dozen tries fall within the three seconds in which a server restarts
const LIMIT = 5000; // ms

/**
 * @param {number} attempt 0 for the first retry
 * @param {() => number} [random] from 0 up to 1
 * @returns {number} ms
 */
export function retryDelay(attempt, random = Math.random) {
  const ceiling = Math.min(LIMIT, FIRST * GROWTH ** attempt);
  return ceiling / 3 + random() * ((ceiling * 2) / 3);
}
