// @ts-check
/** Read the WebVTT of a seek bar's pictures: each cue names a rectangle of a sheet, `thumbnails-1.jpg#xywh=160,0,160,90`. */

/** @typedef {{begin: number, end: number, url: string, x: number, y: number, width: number, height: number}} Picture */

const CUE = /^(?:(\d+):)?(\d{2}):(\d{2}\.\d{3})\s+-->\s+(?:(\d+):)?(\d{2}):(\d{2}\.\d{3})/;

/**
 * @param {string} text
 * @param {string} base the address of the file itself: sheets are named relative to it
 * @returns {Picture[]} in the order of time; what is no such cue is left out
 */
export function pictures(text, base) {
  const found = [];
  for (const block of text.replaceAll("\r\n", "\n").split(/\n{2,}/)) {
    const lines = block.split("\n");
    const at = lines.findIndex((line) => CUE.test(line));
    const times = CUE.exec(lines[at] ?? "");
    const sheet = /^([^#\s]+)#xywh=(\d+),(\d+),(\d+),(\d+)$/.exec(lines[at + 1]?.trim() ?? "");
    if (!times || !sheet) continue;
    const seconds = (/** @type {number} */ from) => Number(times[from] ?? 0) * 3600 + Number(times[from + 1]) * 60 + Number(times[from + 2]);
    const [x, y, width, height] = sheet.slice(2).map(Number);
    found.push({ begin: seconds(1), end: seconds(4), url: new URL(sheet[1], base).href, x, y, width, height });
  }
  return found.sort((one, other) => one.begin - other.begin);
}
