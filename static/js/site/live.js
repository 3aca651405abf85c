// @ts-check
/**
 * The page of a live stream: plays it with low latency, shows the chat, says when it is over.
 *
 * Once in POLL the page asks for state.json, which is one file for all viewers; asking also counts this viewer.
 */
import Hls from "/static/vendor/hls.js";

const POLL = 2500; // ms
const RENEW = 120_000; // ms: what opens the stream's files is good for 300 s
const BEHIND = 6; // seconds behind the newest picture from which "Back to now" is offered
const BEHIND_MOST = 10; // seconds: a device that fell further behind goes on with what is now
const AGAIN = 1500; // ms before a stream that is not there yet, or broke, is tried again
const HIDDEN = "hidden";

/** @template {HTMLElement} T @param {string} id @returns {T} */
const byId = (id) => /** @type {T} */ (document.getElementById(id));

const page = byId("live");
const address = page.dataset.address ?? "";
const player = /** @type {HTMLVideoElement} */ (byId("live-player"));
const wait = byId("live-wait");
const badge = byId("live-badge");
const qualities = /** @type {HTMLSelectElement} */ (byId("live-quality"));
const viewer = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;

/** @type {any} */
let hls = null;
let over = false;
let started = false;

// --- the picture -----------------------------------------------------------------------------------------------------

function play() {
  if (over) return;
  if (!Hls.isSupported()) { // iPhones play it by themselves
    player.src = `${address}live.m3u8`;
    void start();
    return;
  }
  hls?.destroy();
  // How far to keep behind is the playlist's to say: a number of segments given here would overrule its PART-HOLD-BACK.
  hls = new Hls({ lowLatencyMode: true, backBufferLength: 30, liveDurationInfinity: true, maxLiveSyncPlaybackRate: 1.25 });
  hls.on(Hls.Events.MANIFEST_PARSED, showQualities);
  hls.on(Hls.Events.ERROR, (/** @type {string} */ _, /** @type {any} */ error) => {
    if (!error.fatal) return;
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else again();
  });
  hls.loadSource(`${address}live.m3u8`);
  hls.attachMedia(player);
  void start();
}

async function start() {
  try {
    await player.play();
  } catch {
    if (over) return;
    player.muted = true; // without a click browsers play in silence only
    await player.play().catch(() => { wait.textContent = "Press play to watch."; });
  }
}

function again() {
  if (!over) setTimeout(play, AGAIN);
}

function showQualities() {
  const found = /** @type {{height: number}[]} */ (hls.levels).map((level, place) => new Option(`${level.height}p`, String(place)));
  qualities.replaceChildren(new Option("Automatic", "-1"), ...found.reverse());
}

qualities.addEventListener("change", () => { if (hls) hls.nextLevel = Number(qualities.value); });
player.addEventListener("playing", () => { wait.textContent = ""; });
byId("live-now").addEventListener("click", toNow);

function toNow() {
  if (hls?.liveSyncPosition) player.currentTime = hls.liveSyncPosition;
  void start();
}

/** Seconds that the picture is behind what happens, by the stream's own clock; for tests and for "Back to now". */
function latency() {
  const shown = hls?.playingDate;
  return shown ? (Date.now() - shown.getTime()) / 1000 : 0;
}
Object.assign(globalThis, { lecternLive: { latency, get hls() { return hls; } } });

// --- what is told ----------------------------------------------------------------------------------------------------

async function poll() {
  // Without an answer the network is away: the next time may be better.
  const answer = await fetch(`${address}state.json?viewer=${viewer}`, { cache: "no-store" }).catch(() => null);
  const told = answer?.ok ? await answer.json().catch(() => null) : null;
  if (told) show(told);
  else if (answer?.status === 404 && started) await renew();
  if (latency() > BEHIND_MOST && !player.paused) toNow();
  byId("live-now").hidden = over || (latency() < BEHIND && !(started && player.paused));
  if (!over) setTimeout(poll, POLL);
}

async function renew() {
  const answer = await fetch(`${address}pass/`).catch(() => null);
  if (answer?.status === 404) end();
}

/** @param {{state: string, viewers: number, chat: any[]}} told */
function show(told) {
  if (badge.dataset.told !== told.state) { // written again it would be read out again
    badge.dataset.told = badge.dataset.state = told.state;
    badge.textContent = told.state === "live" ? "Live" : told.state === "starting" ? "Starting" : "Ended";
  }
  byId("live-viewers").textContent = told.viewers === 1 ? "1 viewer" : `${told.viewers} viewers`;
  showChat(told.chat);
  if (told.state === "ended" || told.state === "failed") end();
  else if (told.state === "live" && !started) {
    started = true;
    play();
  }
}

function end() {
  if (over) return;
  over = true;
  badge.dataset.state = "ended";
  badge.textContent = "Ended";
  hls?.destroy();
  player.pause();
  page.hidden = true;
  byId("live-viewers").textContent = "";
  byId("live-over").hidden = false;
  byId("main").focus();
}

// --- the chat --------------------------------------------------------------------------------------------------------

const list = byId("live-chat-list");

/** Just these: a message that was deleted is told no more. @param {any[]} messages oldest first */
function showChat(messages) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const told = new Set(messages.map((message) => message.message_id)), shown = new Set();
  for (const line of /** @type {NodeListOf<HTMLElement>} */ (list.querySelectorAll("[data-id]"))) {
    if (told.has(line.dataset.id)) shown.add(line.dataset.id);
    else line.remove();
  }
  for (const message of messages) {
    if (shown.has(message.message_id)) continue;
    const line = document.createElement("li");
    line.dataset.id = message.message_id;
    line.classList.toggle("is-teacher", message.role === "host" || message.role === "co-host");
    const name = document.createElement("strong");
    name.textContent = message.name;
    line.append(name, message.message);
    list.append(line);
  }
  if (atEnd) list.scrollTop = list.scrollHeight;
  setTimeout(() => { list.ariaLive = "polite"; }); // what is written from now on is read out, not what was there
}

const form = /** @type {HTMLFormElement | null} */ (document.getElementById("live-say"));
const input = /** @type {HTMLTextAreaElement | null} */ (document.getElementById("live-input"));
/** @type {{text: string, id: string} | null} */
let unsent = null;

async function say() {
  const text = input?.value.trim();
  if (!form || !input || !text) return;
  // The same message keeps its id, however often it is sent.
  if (unsent?.text !== text) unsent = { text, id: crypto.randomUUID?.() ?? `${viewer}-${Date.now()}` };
  const status = byId("live-say-status");
  const token = /** @type {HTMLInputElement} */ (form.elements.namedItem("csrfmiddlewaretoken")).value;
  const answer = await fetch(`${address}say/`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": token },
    body: JSON.stringify({ message: text, client_id: unsent.id }),
  }).catch(() => null);
  if (answer?.ok) {
    input.value = "";
    unsent = null;
    status.textContent = "";
  } else status.textContent = (await answer?.json().catch(() => null))?.error ?? "Not sent. Try again.";
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  void say();
});
input?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  void say();
});

setInterval(() => { if (!over && document.visibilityState !== HIDDEN) void renew(); }, RENEW);
void poll();
