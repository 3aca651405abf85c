// @ts-check
/** How good everybody's connection is: what our browser measures, what the server tells a teacher of the others', and the panel. */
import { asText, describeConnection } from "../connection_words.js";
import { worstOf } from "../quality.js";
import { qualityWords } from "../views/bars.js";
import { ConnectionView } from "../views/connection.js";

const TOLD_FOR = 90_000; // ms: what the server told last of somebody counts no longer

/**
 * @param {object} parts
 * @param {import('../room_state.js').RoomState} parts.room
 * @param {import('../watch.js').Watch} parts.watch
 * @param {import('../types.js').Request} parts.request
 * @param {() => void} parts.draw
 */
export function wireConnections({ room, watch, request, draw }) {
  /** @type {Map<string, string>} by participant id, as it reaches us */
  let quality = new Map();
  /** @type {import('../quality.js').Flow[]} */
  let flows = [];
  /** @type {import('../quality.js').OwnLine | null} */
  let line = null;
  /** @type {Map<string, {report: import('../connection_words.js').Told, at: number}>} by participant id, as theirs measure it */
  const told = new Map();
  /** @type {string | null} whose the panel shows */
  let shown = null;
  /** @type {number | null} bit/s that the worker thinks our line carries to us */
  let estimate = null;

  const view = new ConnectionView({ closed: () => (shown = null) });

  watch.on("quality", (judged) => {
    ({ quality, flows, line } = judged);
    changed();
  });
  room.on("event", ({ event, data }) => {
    if (event !== "stats:update") return;
    for (const report of data.participants) told.set(report.participant_id, { report, at: performance.now() });
    changed();
  });
  room.on("participants", () => {
    const here = new Set(room.participants.map((person) => person.participant_id));
    for (const id of told.keys()) if (!here.has(id)) told.delete(id);
  });

  function changed() {
    draw();
    if (!shown) return;
    render(shown);
    if (shown === room.you.participant_id) void askForEstimate();
  }

  /** The worker alone knows it, and is asked only while somebody looks. */
  async function askForEstimate() {
    const stats = await request("stats:get").catch(() => null);
    estimate = stats?.transports.find((/** @type {any} */ transport) => transport.direction === "recv")?.estimate ?? null;
  }

  /** @param {string} id */
  function toldOf(id) {
    const last = told.get(id);
    return last && performance.now() - last.at < TOLD_FOR ? last.report : null;
  }

  /** @param {string} id @returns {string} empty when nothing is known: nothing of theirs flows here, and nobody told */
  function qualityOf(id) {
    const [here, there] = [quality.get(id), toldOf(id)?.quality];
    return here || there ? worstOf(here, there) : "";
  }

  /** @param {string} id */
  function render(id) {
    const self = id === room.you.participant_id;
    const title = self ? "Your connection" : `Connection of ${room.nameOf(id)}`;
    const theirs = flows.filter((flow) => flow.participant_id === id);
    const described = describeConnection({ self, flows: theirs, line, estimate, told: self ? null : toldOf(id) });
    view.render({ title, quality: qualityOf(id), text: asText(title, qualityWords(qualityOf(id)), described), ...described });
  }

  return {
    qualityOf,

    /** @param {string} id */
    open(id) {
      shown = id;
      render(id);
      view.open();
    },
  };
}
