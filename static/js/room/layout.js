// @ts-check
/** Where each tile stands: pure geometry and order, so that it can be tested without a page. */

/**
 * @typedef {'grid' | 'speaker' | 'presentation'} Layout
 * @typedef {{x: number, y: number, width: number, height: number}} Rect
 * @typedef {{id: string, participant_id: string, source: 'camera' | 'screen', self: boolean, role: string}} Seat
 */

export const LAYOUTS = /** @type {Layout[]} */ (["grid", "speaker", "presentation"]);
const GAP = 10; // px
const WIDE = 16 / 9;

/** @param {boolean} phone @returns {number} tiles on one page */
export function pageSize(phone) {
  return phone ? 4 : 25;
}

/**
 * The largest equal tiles that fit.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 * @param {number[]} [shapes] width by height of a tile, the preferred one first
 * @returns {Rect[]} the last row centred
 */
export function gridRects(count, width, height, shapes = [WIDE]) {
  let best = { columns: 1, rows: 1, tileWidth: 0, tileHeight: 0 };
  for (const shape of shapes) {
    for (let columns = 1; columns <= count; columns++) {
      const rows = Math.ceil(count / columns);
      const fitWidth = (width - GAP * (columns - 1)) / columns;
      const fitHeight = (height - GAP * (rows - 1)) / rows;
      const tileWidth = Math.max(0, Math.min(fitWidth, fitHeight * shape));
      const tileHeight = tileWidth / shape;
      if (tileWidth * tileHeight > best.tileWidth * best.tileHeight * 1.02) best = { columns, rows, tileWidth, tileHeight };
    }
  }
  const { columns, rows, tileWidth, tileHeight } = best;
  const top = (height - rows * tileHeight - (rows - 1) * GAP) / 2;
  return Array.from({ length: count }, (_, place) => {
    const row = Math.floor(place / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = (width - inRow * tileWidth - (inRow - 1) * GAP) / 2;
    return rect(left + (place % columns) * (tileWidth + GAP), top + row * (tileHeight + GAP), tileWidth, tileHeight);
  });
}

/**
 * One large tile and a strip of small ones, at the side or, on a tall window, below.
 * @param {number} count of small tiles
 * @param {number} width
 * @param {number} height
 * @returns {{large: Rect, small: Rect[]}} `small` holds as many as fit
 */
export function stageRects(count, width, height) {
  if (count === 0) return { large: rect(0, 0, width, height), small: [] };
  if (width >= height * 1.1) {
    const stripWidth = Math.round(Math.min(240, Math.max(140, width * 0.18)));
    const tileHeight = Math.round(stripWidth / WIDE);
    const fits = Math.max(1, Math.min(count, Math.floor((height + GAP) / (tileHeight + GAP))));
    const top = (height - fits * tileHeight - (fits - 1) * GAP) / 2;
    return {
      large: rect(0, 0, width - stripWidth - GAP, height),
      small: Array.from({ length: fits }, (_, i) => rect(width - stripWidth, top + i * (tileHeight + GAP), stripWidth, tileHeight)),
    };
  }
  const tileHeight = Math.round(Math.min(110, height * 0.22));
  const tileWidth = Math.round(tileHeight * (4 / 3));
  const fits = Math.max(1, Math.min(count, Math.floor((width + GAP) / (tileWidth + GAP))));
  const left = (width - fits * tileWidth - (fits - 1) * GAP) / 2;
  return {
    large: rect(0, 0, width, height - tileHeight - GAP),
    small: Array.from({ length: fits }, (_, i) => rect(left + i * (tileWidth + GAP), height - tileHeight, tileWidth, tileHeight)),
  };
}

/**
 * Pinned first, then teachers, then the others as they came, oneself last; whoever spoke lately and would be on
 * another page comes to the first one.
 * @template {Seat} T
 * @param {T[]} seats in the order of joining
 * @param {{pinned: string | null, lastSpoke: (participantId: string) => number, size: number}} options
 * @returns {T[]}
 */
export function orderSeats(seats, { pinned, lastSpoke, size }) {
  const rank = (/** @type {T} */ seat) => {
    if (seat.id === pinned) return 0;
    if (seat.source === "screen") return 1;
    if (seat.self) return 4;
    return seat.role === "host" || seat.role === "co-host" ? 2 : 3;
  };
  const sorted = seats.map((seat, place) => ({ seat, place })).sort((a, b) => rank(a.seat) - rank(b.seat) || a.place - b.place);
  const order = sorted.map(({ seat }) => seat);
  if (order.length <= size) return order;
  // One's own picture is the last of the first page: one looks there for it.
  const own = order.findIndex((seat) => seat.self && seat.source === "camera");
  if (own >= size) order.splice(size - 1, 0, ...order.splice(own, 1));
  // Whoever spoke last takes the place of the one on the first page who has been still for the longest.
  const first = order.slice(0, size);
  const rest = order.slice(size);
  const speakers = rest.filter((seat) => lastSpoke(seat.participant_id) > 0)
    .sort((a, b) => lastSpoke(b.participant_id) - lastSpoke(a.participant_id));
  for (const speaker of speakers) {
    const quiet = first.filter((seat) => rank(seat) === 3)
      .sort((a, b) => lastSpoke(a.participant_id) - lastSpoke(b.participant_id))[0];
    if (!quiet || lastSpoke(quiet.participant_id) >= lastSpoke(speaker.participant_id)) break;
    first[first.indexOf(quiet)] = speaker;
    rest[rest.indexOf(speaker)] = quiet;
  }
  return [...first, ...rest];
}

/**
 * @template {Seat} T
 * @param {T[]} order as orderSeats gives it
 * @param {{layout: Layout, page: number, size: number, width: number, height: number, speaker: string | null, pinned: string | null}} options
 * @returns {{placed: {seat: T, rect: Rect, large: boolean}[], pages: number, page: number}}
 */
export function arrange(order, { layout, page, size, width, height, speaker, pinned }) {
  const featured = order.length > 1 ? featuredSeat(order, layout, speaker, pinned) : undefined;
  if (featured) {
    const others = order.filter((seat) => seat !== featured);
    const { large, small } = stageRects(others.length, width, height);
    return {
      placed: [
        { seat: featured, rect: large, large: true },
        ...small.map((each, place) => ({ seat: others[place], rect: each, large: false })),
      ],
      pages: 1, page: 0,
    };
  }
  const pages = Math.max(1, Math.ceil(order.length / size));
  const current = Math.min(page, pages - 1);
  const shown = order.slice(current * size, (current + 1) * size);
  const shapes = width < 600 ? [WIDE, 4 / 3, 1, 4 / 5] : [WIDE, 3 / 2];
  const rects = gridRects(shown.length, width, height, shapes);
  return { placed: shown.map((seat, place) => ({ seat, rect: rects[place], large: false })), pages, page: current };
}

/**
 * @template {Seat} T
 * @param {T[]} order
 * @param {Layout} layout
 * @param {string | null} speaker participant id
 * @param {string | null} pinned seat id
 * @returns {T | undefined}
 */
function featuredSeat(order, layout, speaker, pinned) {
  const byPin = order.find((seat) => seat.id === pinned);
  if (byPin) return byPin;
  const screen = order.find((seat) => seat.source === "screen" && !seat.self) ?? order.find((seat) => seat.source === "screen");
  if (layout === "grid") return undefined;
  if (layout === "presentation" && screen) return screen;
  return order.find((seat) => seat.participant_id === speaker && !seat.self) ?? order.find((seat) => !seat.self);
}

/** @param {number} x @param {number} y @param {number} width @param {number} height @returns {Rect} */
function rect(x, y, width, height) {
  return { x: Math.round(x), y: Math.round(y), width: Math.round(width), height: Math.round(height) };
}
