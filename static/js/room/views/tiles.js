// @ts-check
/** The people and the shared screens, each a tile that moves calmly to its place. */
import { arrange, orderSeats, pageSize } from "../layout.js";
import { makeBars, setBars } from "./bars.js";
import { el, hueOf, icon, initials } from "./dom.js";

/**
 * @typedef {object} TileModel
 * @property {string} id
 * @property {string} participant_id
 * @property {'camera' | 'screen'} source
 * @property {boolean} self
 * @property {string} name
 * @property {string} role
 * @property {MediaStreamTrack | null} track
 * @property {boolean} muted
 * @property {number} hand 0 when it is down
 * @property {boolean} connected
 * @property {string} quality of the connection; empty: not known
 * @property {string} note why there is no picture at this moment; empty: nothing to say
 *
 * @typedef {{width: number, height: number, pinned: boolean}} Seen in device pixels
 *
 * @typedef {object} Tile
 * @property {HTMLElement} root
 * @property {HTMLVideoElement} video
 * @property {HTMLElement} name
 * @property {HTMLElement} mic
 * @property {HTMLElement} hand
 * @property {HTMLElement} state
 * @property {HTMLElement} bars
 * @property {HTMLButtonElement} pin
 */

export class TilesView {
  #stage;
  #pager;
  #handlers;
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  /** @type {TileModel[]} */
  #models = [];
  #page = 0;
  /** @type {string | null} */
  #pinned = null;
  /** @type {string | null} */
  #speaker = null;
  /** @type {import('../layout.js').Layout} */
  #layout = "grid";
  /** @type {(id: string) => number} */
  #lastSpoke = () => 0;
  #seen = "";

  /**
   * @param {HTMLElement} stage
   * @param {HTMLElement} pager
   * @param {object} handlers
   * @param {(tiles: Map<string, Seen>) => void} handlers.seen told by tile id when others are seen, or in other sizes
   * @param {(participantId: string) => void} handlers.connection somebody's is to be shown
   */
  constructor(stage, pager, handlers) {
    this.#stage = stage;
    this.#pager = pager;
    this.#handlers = handlers;
    new ResizeObserver(() => this.#place()).observe(stage);
  }

  /**
   * @param {TileModel[]} models in the order of joining
   * @param {{layout: import('../layout.js').Layout, speaker: string | null, lastSpoke: (id: string) => number}} options
   */
  render(models, { layout, speaker, lastSpoke }) {
    this.#models = models;
    this.#layout = layout;
    this.#speaker = speaker;
    this.#lastSpoke = lastSpoke;
    if (!models.some((model) => model.id === this.#pinned)) this.#pinned = null;
    this.#place();
  }

  /** @param {Set<string>} speaking participant ids */
  setSpeaking(speaking) {
    for (const { root } of this.#tiles.values()) {
      const speaks = root.dataset.source === "camera" && speaking.has(root.dataset.participantId ?? "");
      if (root.dataset.speaking !== String(speaks)) root.dataset.speaking = String(speaks);
    }
  }

  #place() {
    const { clientWidth: width, clientHeight: height } = this.#stage;
    if (!width || !height) {
      this.#tellSeen(new Map()); // on a phone a panel takes the stage's place
      return;
    }
    const size = pageSize(width < 600);
    const order = orderSeats(this.#models, { pinned: this.#pinned, lastSpoke: this.#lastSpoke, size });
    const { placed, pages, page } = arrange(order, {
      layout: this.#layout, page: this.#page, size, width, height, speaker: this.#speaker, pinned: this.#pinned,
    });
    this.#page = page;
    const shown = new Set(placed.map(({ seat }) => seat.id));
    for (const [id, { root, video }] of this.#tiles) {
      if (shown.has(id)) continue;
      video.srcObject = null;
      root.remove();
      this.#tiles.delete(id);
    }
    for (const { seat, rect, large } of placed) {
      const fresh = !this.#tiles.has(seat.id);
      const tile = this.#tiles.get(seat.id) ?? this.#make(seat);
      if (fresh) this.#stage.append(tile.root);
      this.#update(tile, seat);
      tile.root.classList.toggle("tile-small", !large && rect.width < 260);
      tile.root.style.width = `${rect.width}px`;
      tile.root.style.height = `${rect.height}px`;
      tile.root.style.transform = `translate(${rect.x}px, ${rect.y}px)`;
    }
    this.#renderPager(pages, page);
    const pixels = (/** @type {number} */ length) => Math.round(length * devicePixelRatio);
    this.#tellSeen(new Map(placed.map(({ seat, rect }) => [
      seat.id, { width: pixels(rect.width), height: pixels(rect.height), pinned: seat.id === this.#pinned },
    ])));
  }

  /** @param {Map<string, Seen>} seen */
  #tellSeen(seen) {
    const key = JSON.stringify([...seen]);
    if (key === this.#seen) return;
    this.#seen = key;
    this.#handlers.seen(seen);
  }

  /** @param {TileModel} model @returns {Tile} */
  #make(model) {
    const video = /** @type {HTMLVideoElement} */ (el("video", { autoplay: true, playsinline: true, "aria-hidden": "true", tabindex: "-1" }));
    video.muted = true; // sound has its own elements, which no layout ever moves or removes
    const name = el("span", { class: "tile-name" });
    const mic = icon("mic-mute-fill");
    mic.classList.add("tile-mic");
    const teacher = icon("mortarboard-fill");
    teacher.classList.add("tile-cap");
    const hand = el("span", { class: "tile-hand" });
    const state = el("span", { class: "tile-state" });
    const bars = makeBars(() => this.#handlers.connection(model.participant_id));
    bars.classList.add("tile-bars");
    const pin = /** @type {HTMLButtonElement} */ (el("button", {
      type: "button", class: "tile-pin", "aria-pressed": "false", onclick: () => this.#togglePin(model.id),
    }, icon("pin-angle-fill")));
    const root = el("figure", {
      class: `tile tile-${model.source}`, "data-testid": "tile", "data-participant-id": model.participant_id,
      "data-source": model.source, "data-self": String(model.self), "data-speaking": "false",
      style: `--hue: ${hueOf(model.participant_id)}`,
    }, el("div", { class: "tile-blank", "aria-hidden": "true" }, el("span", { text: initials(model.name) })), video, hand, bars, pin,
    el("figcaption", { class: "tile-plate" }, teacher, mic, name), state);
    const tile = { root, video, name, mic, hand, state, bars, pin };
    this.#tiles.set(model.id, tile);
    return tile;
  }

  /** @param {Tile} tile @param {TileModel} model */
  #update(tile, model) {
    const { root, video, name, mic, hand, state, bars, pin } = tile;
    const label = model.source === "screen"
      ? (model.self ? "Your screen" : `${model.name}’s screen`)
      : (model.self ? `${model.name} (you)` : model.name);
    if (name.textContent !== label) name.textContent = label;
    root.classList.toggle("tile-teacher", model.role === "host" || model.role === "co-host");
    const current = /** @type {MediaStream | null} */ (video.srcObject)?.getVideoTracks()[0] ?? null;
    if (current !== model.track) {
      video.srcObject = model.track ? new MediaStream([model.track]) : null;
      if (model.track) void video.play().catch(() => {});
    }
    video.hidden = !model.track;
    mic.hidden = model.source === "screen" || !model.muted;
    hand.hidden = !model.hand || model.source === "screen";
    if (model.hand) hand.replaceChildren(icon("hand-index-thumb-fill"), el("span", { text: String(model.hand) }));
    hand.setAttribute("aria-label", `Hand raised, number ${model.hand}`);
    const note = model.connected ? model.note : "Reconnecting…";
    state.hidden = !note;
    if (state.textContent !== note) state.textContent = note;
    root.classList.toggle("tile-away", !model.connected);
    setBars(bars, model.quality, model.self ? "Your connection" : `Connection of ${model.name}`);
    bars.hidden = model.source === "screen" || !model.connected || !model.quality;
    const pinned = this.#pinned === model.id;
    pin.setAttribute("aria-pressed", String(pinned));
    pin.setAttribute("aria-label", `${pinned ? "Unpin" : "Pin"} ${label}`);
    pin.title = pinned ? "Unpin" : "Pin";
  }

  /** @param {string} id */
  #togglePin(id) {
    this.#pinned = this.#pinned === id ? null : id;
    this.#place();
  }

  /** @param {number} pages @param {number} page */
  #renderPager(pages, page) {
    this.#pager.hidden = pages < 2;
    if (pages < 2) return;
    const turn = (/** @type {number} */ by, /** @type {string} */ label, /** @type {string} */ sign) => el("button", {
      type: "button", class: "icon-button", "aria-label": label, disabled: page + by < 0 || page + by >= pages,
      onclick: () => {
        this.#page += by;
        this.#place();
      },
    }, icon(sign));
    this.#pager.replaceChildren(
      turn(-1, "Previous page", "chevron-left"),
      el("span", { text: `${page + 1} of ${pages}` }),
      turn(1, "Next page", "chevron-right"),
    );
  }
}
