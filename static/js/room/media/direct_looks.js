// @ts-check
/** How much of a picture is sent directly: what the other page shows of it, as the worker would choose among layers. */
import { cameraEncodings, SCREEN_ENCODINGS } from "./device_state.js";

/**
 * @typedef {import('../types.js').Source} Source
 * @typedef {import('./receive.js').Look} Look
 */

const ENLARGED = 1.25; // times that a picture may be enlarged, as the worker has it

/** What the other page says of one picture. @param {any} said @returns {Look | null} */
export function lookIn(said) {
  const { width, height } = said ?? {};
  return Number.isFinite(width) && Number.isFinite(height) ? { width, height } : said ? {} : null;
}

/**
 * The layer that the worker would choose for that size is what is sent: there is nobody else to send another for.
 * @param {Source} source
 * @param {MediaStreamTrack} track
 * @param {Look | null | undefined} look null: nobody looks; undefined: not told yet, and so not sent yet
 * @returns {import('./direct_link.js').Limits}
 */
export function limitsFor(source, track, look) {
  const { width = 640, height = 360 } = track.getSettings();
  /** @type {readonly {scaleResolutionDownBy?: number, maxBitrate: number}[]} */
  const encodings = source === "screen" ? SCREEN_ENCODINGS : cameraEncodings(width, height);
  const best = encodings[encodings.length - 1];
  const { width: wide = width, height: high = height } = look ?? {};
  const enough = encodings.find(({ scaleResolutionDownBy: down = 1 }) => Math.min((wide * down) / width, (high * down) / height) <= ENLARGED);
  const { scaleResolutionDownBy = 1, maxBitrate } = enough ?? best;
  return { scaleResolutionDownBy, maxBitrate, active: Boolean(look) };
}
