// @ts-check
/** The browser's time zone in a cookie, which accounts/time_zone.py reads. */

const YEAR = 365 * 24 * 3600; // seconds

/**
 * @param {{cookie: string}} document
 * @param {string | undefined} name of the zone, such as Europe/Berlin
 */
export function rememberTimeZone(document, name) {
  if (!name) return;
  document.cookie = `time_zone=${encodeURIComponent(name)}; path=/; max-age=${YEAR}; samesite=lax`;
}
