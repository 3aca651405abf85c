// @ts-check
/** Puts the classroom together: the only module that knows the page, the room, the media and the connection at once. */
import mediasoup from "/static/vendor/mediasoup-client.js";
import { Controls } from "./controls.js";
import { describeDevice, isPhone, safeStorage, socketAddress } from "./environment.js";
import { LAYOUTS } from "./layout.js";
import { Devices } from "./media/devices.js";
import { MediaEngine } from "./media/engine.js";
import { LevelMeter } from "./media/levels.js";
import { collectStats } from "./media/stats.js";
import { participantRows, recordingWords, shownMessage, tileModels } from "./models.js";
import { RoomState } from "./room_state.js";
import { Session } from "./session.js";
import { RoomConnection } from "./socket.js";
import { playTestSound } from "./test_sound.js";
import { BannerView } from "./views/banner.js";
import { ChatView } from "./views/chat.js";
import { DialogsView } from "./views/dialogs.js";
import { byId, clock, setText, typed } from "./views/dom.js";
import { GoodbyeView } from "./views/goodbye.js";
import { listenToKeys } from "./views/keyboard.js";
import { LobbyView } from "./views/lobby.js";
import { NoticesView } from "./views/notices.js";
import { PanelsView } from "./views/panels.js";
import { ParticipantsView } from "./views/participants.js";
import { SoundView } from "./views/sound.js";
import { TilesView } from "./views/tiles.js";
import { ToolbarView } from "./views/toolbar.js";
import { Watch } from "./watch.js";

/** @type {import('./types.js').Boot} */
const boot = JSON.parse(byId("boot").textContent ?? "{}");
const CHAT_PAGE = 50; // messages, as many as a join's answer brings
const phone = isPhone();

// A link for one person must not stay in the address bar, from where it is copied and photographed.
if (new URL(location.href).searchParams.has("token")) history.replaceState(null, "", location.pathname);

// --- the parts --------------------------------------------------------------------------------------------------------

const connection = new RoomConnection({ url: socketAddress(boot, location) });
const room = new RoomState();
const session = new Session(connection, room);
const devices = new Devices({ media: navigator.mediaDevices, storage: safeStorage(), phone });
const engine = new MediaEngine({
  makeDevice: () => mediasoup.Device.factory(),
  request: (event, data, options) => connection.request(event, data, options),
});
const controls = new Controls({ connection, room, engine, devices });
const audio = new AudioContext();
const meter = new LevelMeter(audio);
const watch = new Watch({ connection, session, room, engine, controls, meter });

/** What is wrong with a device at this moment. @type {Map<string, import('./media/device_state.js').Trouble>} */
const troubles = new Map();
/** Received tracks, by producer id. @type {Map<string, MediaStreamTrack>} */
const tracks = new Map();
/** @type {Map<string, string>} */
let qualities = new Map();
/** @type {import('./layout.js').Layout} */
let layout = "grid";
let layoutChosen = false;
let unread = 0;
let saver = false;
let keysOn = true;
let starting = true;
let joinedAt = 0;
/** @type {string | null} */
let speaker = null;
/** @type {Set<string>} tile ids */
let visibleTiles = new Set();
let moreChat = false;

// --- the views --------------------------------------------------------------------------------------------------------

const notices = new NoticesView(byId("notices"));
const sound = new SoundView(byId("sounds"), (blocked) => {
  if (!blocked) notices.hide("sound");
  else {
    notices.show({
      key: "sound", level: "problem", title: "The browser keeps the class silent", text: "It plays sound only after a click.",
      actions: [{ label: "Click to hear", run: () => void sound.unblock() }],
    });
  }
});
const dialogs = new DialogsView({ choose: (kind, id) => void choose(kind, id), keys: (on) => (keysOn = on) });
const lobby = new LobbyView({ name: boot.name, lessonUrl: boot.lesson_url }, {
  join,
  toggleMicrophone: () => void (devices.microphone ? devices.close("microphone") : devices.open("microphone")),
  toggleCamera: () => void (devices.camera ? devices.close("camera") : devices.open("camera")),
  testSound: () => void playTestSound(devices.chosen.speaker),
});
const tiles = new TilesView(byId("tiles"), byId("pager"), {
  visible: (ids) => {
    visibleTiles = ids;
    lookAround();
  },
});
const toolbar = new ToolbarView(run);
const panels = new PanelsView((open) => {
  if (open === "chat") {
    unread = 0;
    chat.focus();
  }
  draw();
});
const chat = new ChatView({
  list: byId("chat-list"), input: typed("chat-input", HTMLTextAreaElement), form: typed("chat-form", HTMLFormElement),
  send: typed("chat-send", HTMLButtonElement), status: byId("chat-status"), announce: byId("announce"),
}, { send: (text) => controls.say(text), earlier: () => void earlierChat() });
const people = new ParticipantsView(byId("people-list"), {
  mute: (id, kind) => void controls.mute(id, kind),
  remove: (id, name) => void askRemove(id, name),
  role: (id, role) => void controls.giveRole(id, role),
  lowerHand: (id) => void controls.lowerHand(id),
});
const banner = new BannerView(byId("banner"), byId("banner-text"), byId("banner-rejoin"), () => connection.retryNow());
const goodbye = new GoodbyeView({
  lessonUrl: boot.lesson_url,
  rejoin: () => location.assign(location.pathname + (boot.token ? `?token=${encodeURIComponent(boot.token)}` : "")),
});

byId("mute-all").addEventListener("click", () => void controls.mute("all", "audio"));
byId("lower-all").addEventListener("click", () => void controls.lowerHand("all"));
listenToKeys({
  active: () => keysOn && document.body.dataset.state === "class" && !dialogs.isOpen,
  run,
  talk: (down) => controls.pushToTalk(down),
  escape: () => panels.open && panels.show(null),
});

// --- drawing: at most once a frame, whatever happened in it ---------------------------------------------------------------

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  // Not requestAnimationFrame: a tab in the background must still know what is in class when it is looked at.
  setTimeout(() => {
    drawing = false;
    drawNow();
  }, 16);
}

function drawNow() {
  const can = permissions();
  const self = room.you.participant_id;
  const shownLayout = currentLayout();
  tiles.render(tileModels(room, tracks, {
    camera: devices.camera, screen: devices.screen?.getVideoTracks()[0] ?? null, microphone: controls.sends("microphone"),
  }, qualities), { layout: shownLayout, speaker, lastSpoke: (id) => watch.lastSpoke(id) });
  toolbar.render({
    microphone: controls.sends("microphone"), camera: controls.sends("camera"), screen: controls.sharing, hand: room.handOf(self),
    panel: panels.open, unread, people: room.participants.length, layout: shownLayout, recording: room.recording?.status === "recording", saver,
    may: {
      microphone: can.has("microphone"), camera: can.has("camera"), share: can.has("share"), hand: can.has("raise_hand"), record: can.has("record"),
    },
  });
  people.render(participantRows(room, can));
  setText(byId("people-title"), `Participants (${room.participants.length})`);
  byId("people-tools").hidden = !can.has("mute");
  byId("lower-all").hidden = !can.has("lower_hands") || !room.participants.some((person) => room.handOf(person.participant_id));
  chat.setAllowed(can.has("chat"));
  lobby.render({ microphone: devices.microphone, camera: devices.camera, starting });
}

function permissions() {
  return new Set(/** @type {string[]} */ (room.you.can ?? boot.can ?? []));
}

/** Receive the pictures that are looked at; sound always. */
function lookAround() {
  const asleep = phone && document.hidden;
  engine.receiver.lookAt((producer) => {
    if (asleep || (saver && producer.source === "camera")) return null;
    const id = `${producer.participant_id}/${producer.source}`;
    // A tile that is still to be made for it counts as looked at; a grid page that was turned does not.
    const looked = visibleTiles.has(id) || producer.source === "screen" || !room.participant(producer.participant_id) || visibleTiles.size === 0;
    return looked ? {} : null;
  });
}

// --- joining and leaving ----------------------------------------------------------------------------------------------

/** @param {string} name @param {{audioOnly: boolean}} options */
function join(name, { audioOnly }) {
  void audio.resume().catch(() => {});
  lobby.setJoining(true);
  if (audioOnly) devices.close("camera");
  session.join({ display_name: name, device: describeDevice() });
}

session.on("state", ({ from, to, reason }) => {
  if (to === "joined") banner.hide();
  else if (to === "reconnecting") banner.soon("The connection was lost. Reconnecting…");
  else if (to === "restarting") banner.soon("The media server is being replaced. Pictures and sound come back in a moment…");
  else if (to === "joining" && from === "lobby") return;
  else if (to === "lobby") backToLobby();
  else if (to !== "joining") over(to, reason);
});
session.on("refused", ({ message }) => lobby.setJoining(false, message));
session.on("joined", ({ answer, entered }) => {
  if (document.body.dataset.state !== "class") {
    joinedAt = Date.now();
    lobby.setJoining(false);
    show("class");
    byId("stage").focus();
    // Who joins before the browser has given the devices joins at once, and is seen when they are there.
    if (entered) {
      // Where a guest may only watch, the camera's light goes out again.
      void microphoneOpened.then(() => (permissions().has("microphone") ? controls.startMedia("microphone") : devices.close("microphone")));
      void cameraOpened.then(() => (permissions().has("camera") ? controls.startMedia("camera") : devices.close("camera")));
    }
  }
  engine.receiver.want(othersProducers());
  void engine.joined(answer);
  void controls.outbox.flush();
  draw();
});
connection.on("down", () => {
  if (session.state === "joining") lobby.setJoining(true, "The class cannot be reached yet. Trying again…");
});
controls.on("askedToUnmute", () => notices.show({
  key: "muted", title: "A teacher asks you to unmute", stays: true, actions: [{ label: "Unmute", run: () => void controls.setMicrophone(true) }],
}));

async function earlierChat() {
  const page = await connection.request("chat:history", { before: room.chat[0]?.message_id, limit: CHAT_PAGE }).catch(() => null);
  if (!page) return;
  room.prepend(page.messages);
  moreChat = page.more;
  chat.replace(room.chat.map((message) => shownMessage(room, message)), { more: moreChat, stay: true });
}

/** @param {'lobby' | 'class' | 'over'} which */
function show(which) {
  document.body.dataset.state = which;
  lobby.show(which === "lobby");
  byId("room").hidden = which !== "class";
  goodbye.show(which === "over");
  if (which === "over") notices.clear();
  else for (const [kind, trouble] of troubles) setTrouble(kind, trouble, "warning");
  draw();
}

/** A join was refused, the first or one after a break: what was sent ends, the preview goes on. */
function backToLobby() {
  engine.close();
  devices.closeScreen();
  dialogs.closeAll();
  banner.hide();
  show("lobby");
}

/** @param {import('./session.js').State} state @param {string} reason */
function over(state, reason) {
  engine.close();
  devices.closeAll();
  meter.listenTo(null);
  dialogs.closeAll();
  banner.hide();
  show("over");
  goodbye.render(state, reason);
}

async function leave() {
  if (!permissions().has("end")) {
    await session.leave();
    return;
  }
  const answer = await dialogs.leave();
  if (answer === "leave") await session.leave();
  if (answer !== "end") return;
  const sure = await dialogs.confirm({ title: "End the class for all?", text: "Everybody is sent out, and a running recording stops.", go: "End class for all" });
  if (sure) await controls.endClass();
}

/** @param {string} id @param {string} name */
async function askRemove(id, name) {
  const sure = await dialogs.confirm({ title: `Remove ${name}?`, text: "They leave the class at once and cannot come back.", go: "Remove" });
  if (sure) await controls.remove(id);
}

// --- what happens in the room --------------------------------------------------------------------------------------------

function othersProducers() {
  return room.producers.filter((producer) => producer.participant_id !== room.you.participant_id);
}

room.on("participants", draw);
room.on("you", draw);
room.on("hands", ({ raised }) => {
  const position = raised ? room.handOf(raised) : 0;
  if (raised && position && permissions().has("lower_hands") && raised !== room.you.participant_id) {
    byId("announce").textContent = `${room.nameOf(raised)} raised a hand, number ${position}`;
    void playTestSound(devices.chosen.speaker, "soft");
  }
  draw();
});
room.on("producers", () => {
  if (session.inClass) engine.receiver.want(othersProducers());
  draw();
});
room.on("recording", () => {
  const words = recordingWords(room.recording);
  const chip = byId("recording-state");
  chip.hidden = !words;
  chip.textContent = words?.text ?? "";
  chip.dataset.kind = words?.kind ?? "";
  chip.dataset.status = room.recording?.status ?? "";
  chip.title = words?.kind === "live" ? "This class is being recorded" : "";
  draw();
});
room.on("chat", ({ added, live }) => {
  if (!live) {
    moreChat = room.chat.length >= CHAT_PAGE;
    chat.replace(room.chat.map((message) => shownMessage(room, message)), { more: moreChat });
  }
  for (const message of live ? added : []) {
    chat.add(shownMessage(room, message));
    if (panels.open !== "chat" && message.participant_id !== room.you.participant_id) unread++;
  }
  draw();
});
room.on("speaker", ({ participant_id }) => {
  if (participant_id) speaker = participant_id;
  draw();
});
room.on("event", ({ event, data, seq }) => {
  if (event === "media:restart") {
    const own = seq === undefined;
    if (!own) room.forgetProducers();
    session.mediaRestarting();
    void engine.restart(data, { private: own }).then(() => engine.state === "up" && session.mediaBack());
  } else if (event === "consumer:closed") engine.receiver.closed(data.consumer_id);
  else controls.onEvent(event, data);
});

// --- media -----------------------------------------------------------------------------------------------------------------

engine.on("state", ({ state }) => state === "up" && session.mediaBack());
engine.on("unknown", () => connection.reconnect());
engine.on("unsupported", () => {
  session.mediaBack(); // as far as it goes here
  notices.show({
    key: "unsupported", level: "problem", title: "This browser cannot carry sound and pictures",
    text: "Chat and hands work. Use a current Chrome, Edge, Firefox or Safari to see and hear the class.",
  });
});
engine.receiver.on("track", ({ producer, track }) => {
  tracks.set(producer.producer_id, track);
  if (producer.kind === "audio") sound.add(producer.producer_id, track);
  draw();
});
engine.receiver.on("gone", ({ producer }) => {
  tracks.delete(producer.producer_id);
  sound.remove(producer.producer_id);
  draw();
});
controls.on("change", draw);
controls.on("notice", (notice) => notices.show(notice));
controls.on("undone", ({ key }) => notices.hide(key));
controls.on("chatRefused", ({ message }) => chat.giveBack(message));
controls.outbox.on("change", () => chat.setWaiting(session.inClass ? 0 : controls.outbox.waiting.length));
devices.on("change", () => {
  meter.listenTo(devices.microphone);
  for (const kind of /** @type {const} */ (["microphone", "camera"])) if (devices[kind]) setTrouble(kind, null);
  draw();
});
devices.on("list", () => void listDevices());
devices.on("trouble", ({ kind, trouble }) => setTrouble(kind, trouble));

/**
 * In the lobby beside the preview, in class as a notice: one that stays when it is news.
 * @param {string} kind
 * @param {import('./media/device_state.js').Trouble | null} trouble
 * @param {'warning' | 'problem'} [level]
 */
function setTrouble(kind, trouble, level = "problem") {
  if (trouble) troubles.set(kind, trouble);
  else troubles.delete(kind);
  const inLobby = document.body.dataset.state === "lobby";
  lobby.setTrouble(kind, inLobby ? trouble : null);
  if (inLobby || !trouble) notices.hide(`trouble-${kind}`);
  else notices.show({ key: `trouble-${kind}`, level, title: trouble.title, text: trouble.advice });
}

async function listDevices() {
  const { microphone, camera } = devices;
  dialogs.setDevices(await devices.list(), {
    microphone: microphone?.getSettings().deviceId ?? devices.chosen.microphone,
    camera: camera?.getSettings().deviceId ?? devices.chosen.camera,
    speaker: devices.chosen.speaker,
  });
}

/** @param {'microphone' | 'camera' | 'speaker'} kind @param {string} id */
async function choose(kind, id) {
  await devices.choose(kind, id);
  if (kind === "speaker") sound.setSpeaker(id);
  else await controls.deviceChosen(kind);
}

// --- what flows ----------------------------------------------------------------------------------------------------------

watch.on("level", (level) => {
  if (document.body.dataset.state === "lobby") lobby.setLevel(level);
  else setText(byId("room-clock"), clock((Date.now() - joinedAt) / 1000));
});
watch.on("speaking", (speaking) => tiles.setSpeaking(speaking));
watch.on("speaker", (id) => {
  speaker = id;
  draw();
});
watch.on("quality", (found) => {
  qualities = found;
  draw();
});
watch.on("mutedButSpeaking", () => notices.show({
  key: "muted-hint", title: "Trying to speak? You are muted.", actions: [{ label: "Unmute", run: () => void controls.setMicrophone(true) }],
}));
watch.on("silent", () => notices.show({
  key: "silence", level: "warning", title: "No input from your microphone",
  text: "Look for a switch on your headset, or choose another microphone in Settings.",
}));
watch.start();

// --- tools and keys ----------------------------------------------------------------------------------------------------------

/** @param {import('./views/toolbar.js').Tool | import('./keys.js').Action} tool */
function run(tool) {
  const button = document.getElementById(`tool-${tool}`);
  if (button?.getAttribute("aria-disabled") === "true") {
    notices.show({ key: "not-allowed", title: button.title });
    return;
  }
  if (tool === "mic") void controls.toggleMicrophone();
  else if (tool === "camera") void controls.toggleCamera();
  else if (tool === "share") void controls.toggleScreen();
  else if (tool === "hand") void controls.toggleHand();
  else if (tool === "record") void controls.toggleRecording();
  else if (tool === "leave") void leave();
  else if (tool === "chat" || tool === "people") panels.toggle(tool);
  else if (tool === "layout") nextLayout();
  else if (tool === "settings") void listDevices().then(() => dialogs.settings());
  else if (tool === "help") dialogs.help();
  else if (tool === "fullscreen") void (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen?.()).catch(() => {});
  else if (tool === "saver") {
    saver = !saver;
    lookAround();
  }
  draw();
}

/** A shared screen is shown large until somebody chooses otherwise. */
function currentLayout() {
  const screen = controls.sharing || room.producers.some((producer) => producer.source === "screen" && !producer.paused);
  return !layoutChosen && screen ? "presentation" : layout;
}

function nextLayout() {
  layout = LAYOUTS[(LAYOUTS.indexOf(currentLayout()) + 1) % LAYOUTS.length];
  layoutChosen = true;
  byId("announce").textContent = `Layout: ${layout}`;
}

// --- the page's own life -------------------------------------------------------------------------------------------------------

addEventListener("online", () => session.wake());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    session.wake();
    void audio.resume().catch(() => {});
  }
  lookAround();
  // A phone in a pocket shows its lining: the camera rests until the page is looked at again.
  if (phone && session.inClass) void (document.hidden ? engine.sender.pause("camera") : engine.sender.resume("camera")).catch(() => {});
  draw();
});
addEventListener("pointerdown", () => {
  if (audio.state === "suspended") void audio.resume().catch(() => {});
  void sound.unblock();
}, { once: true });

Object.defineProperty(window, "lectern", { value: Object.freeze({
  stats: () => collectStats(engine, room.you.participant_id),
  state: () => ({ session: session.state, media: engine.state, epoch: engine.epoch, last_seq: connection.lastSeq }),
}) });

/** Asked for at once, while the person looks at the lobby. */
const microphoneOpened = devices.open("microphone");
const cameraOpened = devices.open("camera");
show("lobby");
if (typeof RTCPeerConnection === "undefined") {
  lobby.setJoining(false, "This browser cannot show video classes. Use a current Chrome, Edge, Firefox or Safari.");
}
void Promise.all([microphoneOpened, cameraOpened]).then(async () => {
  starting = false;
  await listDevices();
  if (document.body.dataset.state === "lobby" && document.activeElement === document.body) lobby.focus();
  draw();
});
