// @ts-check
/**
 * Puts the classroom together. Only this module knows all: page, room, media and connection; those in wiring/ know one
 * subject each, from the socket to the screen. Here: the parts, coming and going, the tools, the page's own life.
 */
import mediasoup from "/static/vendor/mediasoup-client.js";
import { Controls } from "./controls.js";
import { describeDevice, isPhone, safeStorage, storageOfTab } from "./environment.js";
import { Devices } from "./media/devices.js";
import { Encryption } from "./media/encryption.js";
import { MediaEngine } from "./media/engine.js";
import { LevelMeter } from "./media/levels.js";
import { collectStats } from "./media/stats.js";
import { RoomKeys } from "./room_keys.js";
import { RoomState } from "./room_state.js";
import { Session } from "./session.js";
import { BannerView } from "./views/banner.js";
import { DialogsView } from "./views/dialogs.js";
import { byId, clock, setText } from "./views/dom.js";
import { GoodbyeView } from "./views/goodbye.js";
import { listenToKeys } from "./views/keyboard.js";
import { LobbyView } from "./views/lobby.js";
import { NoticesView } from "./views/notices.js";
import { PanelsView } from "./views/panels.js";
import { ToolbarView } from "./views/toolbar.js";
import { Watch } from "./watch.js";
import { boot, connection } from "./wiring/boot.js";
import { wireChat } from "./wiring/chat.js";
import { wireConnections } from "./wiring/connections.js";
import { wireDevices } from "./wiring/devices.js";
import { wireEncryption } from "./wiring/encryption.js";
import { wireLive } from "./wiring/live.js";
import { wireLocalRecording } from "./wiring/local_recording.js";
import { wireMedia } from "./wiring/media.js";
import { wirePeople } from "./wiring/people.js";
import { wireRecording } from "./wiring/recording.js";
import { wireStage } from "./wiring/stage.js";

const phone = isPhone();

// A link for one person must not stay in the address bar, from where it is copied and photographed; nor a key.
const fragment = location.hash;
if (new URL(location.href).searchParams.has("token")) history.replaceState(null, "", location.pathname);

// --- the parts --------------------------------------------------------------------------------------------------------

const room = new RoomState();
const session = new Session(connection, room);
const devices = new Devices({ media: navigator.mediaDevices, storage: safeStorage(), phone });
const encryption = boot.encrypted ? new Encryption() : null;
const engine = new MediaEngine({
  makeDevice: () => mediasoup.Device.factory(),
  encryption,
  request: (event, data, options) => connection.request(event, data, options),
  makeConnection: (configuration) => new RTCPeerConnection(configuration),
});
engine.sender.codec = safeStorage().getItem("lectern.codec") ?? engine.sender.codec;
const controls = new Controls({ connection, room, engine, devices });
const audio = new AudioContext();
const meter = new LevelMeter(audio);
const watch = new Watch({ connection, session, room, engine, controls, meter });

let keysOn = true;
let starting = true;
let joinedAt = 0;

const notices = new NoticesView(byId("notices"));
const dialogs = new DialogsView(
  { choose: (kind, id) => void choose(kind, id), keys: (on) => (keysOn = on), codec: chooseCodec }, engine.sender.codec,
);
const lobby = new LobbyView({ name: boot.name, lessonUrl: boot.lesson_url }, {
  join,
  toggleMicrophone: () => menus.toggle("microphone"),
  toggleCamera: () => menus.toggle("camera"),
  testSound: () => menus.testSound(),
});
const toolbar = new ToolbarView(run);
const panels = new PanelsView((open) => {
  if (open === "chat") chat.opened();
  draw();
});
const banner = new BannerView(byId("banner"), byId("banner-text"), byId("banner-rejoin"), () => connection.retryNow());
const goodbye = new GoodbyeView({
  lessonUrl: boot.lesson_url,
  rejoin: () => location.assign(location.pathname + (boot.token ? `?token=${encodeURIComponent(boot.token)}` : "")),
});
listenToKeys({
  active: () => keysOn && isIn("class") && !dialogs.isOpen,
  run,
  talk: (down) => (!down || room.can.has("microphone")) && controls.pushToTalk(down),
  escape: () => panels.open && panels.show(null),
});

const menus = wireDevices({ devices, meter, room, controls, watch, lobby, dialogs, notices, inLobby: () => isIn("lobby"), draw });
const connections = wireConnections({ room, watch, request: (event, data) => connection.request(event, data), draw });
const lock = encryption && wireEncryption({
  room, engine, encryption, notices, draw, keys: new RoomKeys({ code: boot.code, storage: storageOfTab() }),
  host: boot.role === "host" || boot.role === "co-host", inClass: () => isIn("class"), look: () => stage.look(),
});
const stage = wireStage({ room, session, engine, devices, controls, watch, notices, connections, lock, phone, draw });
const chat = wireChat({ room, session, connection, controls, isOpen: () => panels.open === "chat", draw });
const live = wireLive({ room, session, notices, unavailable: boot.unavailable.stream ?? "", request: (event, data) => connection.request(event, data), draw });
const recording = wireRecording({
  room, controls, notices, wanted: boot.recording, impossible: Boolean(boot.unavailable.record), leave: () => void session.leave(), draw,
});
const local = wireLocalRecording({ room, engine, devices, controls, audio, notices, title: boot.title, draw });
const people = wirePeople({ room, controls, watch, devices, notices, dialogs, connections, draw });

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
  const { can } = room;
  stage.render();
  people.render();
  chat.render();
  toolbar.render({
    microphone: controls.sends("microphone"), camera: controls.sends("camera"), screen: controls.sharing, hand: room.handOf(room.you.participant_id),
    panel: panels.open, unread: chat.unread, people: room.participants.length, layout: stage.layout, camerasOff: stage.camerasOff,
    recording: room.isRecorded, notRecorded: boot.unavailable.record ?? "",
    may: {
      microphone: can.has("microphone"), camera: can.has("camera"), share: can.has("share"), hand: can.has("raise_hand"), record: can.has("record"),
      spotlight: can.has("spotlight"),
    },
  });
  live.render();
  recording.render();
  local.render();
  lock?.render();
  lobby.render({ microphone: devices.microphone, camera: devices.camera, starting });
}

room.on("you", draw);
controls.on("change", draw);

// --- joining and leaving ----------------------------------------------------------------------------------------------

/** @param {string} name @param {{audioOnly: boolean}} options */
function join(name, { audioOnly }) {
  void audio.resume().catch(() => {});
  lobby.setJoining(true);
  stage.setCamerasOff(audioOnly);
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
session.on("asked", () => engine.prepare());
session.on("refused", ({ message }) => lobby.setJoining(false, message));
session.on("joined", ({ answer, entered }) => {
  // Its teacher changed it while this page stood in the lobby.
  if (Boolean(answer.settings?.encrypted) !== boot.encrypted) return location.reload();
  if (!isIn("class")) {
    joinedAt = Date.now();
    lobby.setJoining(false);
    show("class");
    byId("stage").focus();
  }
  // Who joins before the browser has given the devices joins at once, and is seen when they are there.
  // Whoever is asked whether he may be recorded, or told that he is seen outside, sends nothing before he has answered.
  const agreed = recording.agreed(answer).then(() => (entered ? live.agreed() : undefined));
  if (entered) for (const [kind, opened] of asked) void Promise.all([opened, agreed]).then(() => isIn("class") && menus.bringIn(kind));
  recording.joined(answer);
  local.joined();
  stage.wantOthers();
  void engine.joined(answer);
  void controls.outbox.flush();
  draw();
});
connection.on("down", () => {
  if (session.state === "joining") lobby.setJoining(true, "The class cannot be reached yet. Trying again…");
});

/** @param {'lobby' | 'class' | 'over'} which */
function isIn(which) {
  return document.body.dataset.state === which;
}

/** @param {'lobby' | 'class' | 'over'} which */
function show(which) {
  document.body.dataset.state = which;
  lobby.show(which === "lobby");
  byId("room").hidden = which !== "class";
  goodbye.show(which === "over");
  if (which === "over") notices.clear();
  else menus.moveTroubles();
  draw();
}

/** A join was refused, the first or one after a break: what was sent ends, the preview goes on. */
function backToLobby() {
  local.stop();
  engine.close();
  devices.closeScreen();
  dialogs.closeAll();
  lock?.close();
  banner.hide();
  show("lobby");
}

/** @param {import('./session.js').State} state @param {string} reason */
function over(state, reason) {
  local.stop();
  engine.close();
  devices.closeAll();
  dialogs.closeAll();
  lock?.close();
  banner.hide();
  show("over");
  goodbye.render(state, reason);
}

async function leave() {
  const answer = room.can.has("end") ? await dialogs.leave() : "leave";
  if (answer === "leave") await session.leave();
  if (answer !== "end") return;
  const sure = await dialogs.confirm({ title: "End the class for all?", text: "Everybody is sent out, and a running recording stops.", go: "End class for all" });
  if (sure) await controls.endClass();
}

// --- what the server tells --------------------------------------------------------------------------------------------

wireMedia({ room, session, connection, engine, watch, notices });
room.on("event", ({ event, data }) => controls.onEvent(event, data));
controls.on("notice", (notice) => notices.show(notice));
controls.on("undone", ({ key }) => notices.hide(key));
controls.on("askedToUnmute", () => notices.show({
  key: "muted", title: "A teacher asks you to unmute", stays: true, actions: [{ label: "Unmute", run: () => void controls.setMicrophone(true) }],
}));
watch.on("level", (level) => {
  if (isIn("lobby")) lobby.setLevel(level);
  else setText(byId("room-clock"), clock((Date.now() - joinedAt) / 1000));
});
watch.start();

// --- tools and keys ----------------------------------------------------------------------------------------------------------

/** @type {Record<import('./views/toolbar.js').Tool | Exclude<import('./keys.js').Action, 'talk'>, () => unknown>} */
const TOOLS = {
  mic: () => controls.toggleMicrophone(),
  camera: () => controls.toggleCamera(),
  share: () => controls.toggleScreen(),
  hand: () => controls.toggleHand(),
  live: () => live.open(),
  record: () => recording.toggle(),
  pauseRecording: () => recording.pause(),
  markRecording: () => recording.mark(),
  recordingSettings: () => recording.settings(),
  layoutForAll: () => controls.showAll(stage.layout),
  localRecording: () => local.toggle(),
  leave,
  chat: () => panels.toggle("chat"),
  people: () => panels.toggle("people"),
  layout: () => stage.nextLayout(),
  settings: () => menus.list().then(() => dialogs.settings()),
  help: () => dialogs.help(),
  fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen?.())?.catch(() => {}),
  camerasOff: () => stage.setCamerasOff(!stage.camerasOff),
};

/** @param {keyof typeof TOOLS} tool */
function run(tool) {
  const why = toolbar.refusal(tool);
  if (why) notices.show({ key: "not-allowed", title: why });
  else TOOLS[tool]();
  draw();
}

/** @param {'microphone' | 'camera' | 'speaker'} kind @param {string} id */
async function choose(kind, id) {
  await devices.choose(kind, id);
  if (kind === "speaker") stage.sound.setSpeaker(id);
  else await controls.deviceChosen(kind);
}

/** @param {string} name of a codec of pictures */
function chooseCodec(name) {
  safeStorage().setItem("lectern.codec", name);
  engine.sender.codec = name;
}

// --- the page's own life -------------------------------------------------------------------------------------------------------

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    session.wake();
    void audio.resume().catch(() => {});
  }
  // A phone in a pocket shows its lining: the camera rests until the page is looked at again.
  if (phone && session.inClass) void (document.hidden ? engine.sender.pause("camera") : engine.sender.resume("camera")).catch(() => {});
  draw();
});
addEventListener("pointerdown", () => {
  if (audio.state === "suspended") void audio.resume().catch(() => {});
  void stage.sound.unblock();
}, { once: true });

Object.defineProperty(window, "lectern", { value: Object.freeze({
  stats: () => collectStats(engine, room.you.participant_id),
  state: () => ({ session: session.state, media: engine.state, direct: engine.direct.state, epoch: engine.epoch, last_seq: connection.lastSeq }),
}) });

/** Asked for at once, while the person looks at the lobby. */
const asked = /** @type {const} */ (["microphone", "camera"]).map((kind) => /** @type {const} */ ([kind, devices.open(kind)]));
show("lobby");
if (lock) void lock.begin(fragment);
if (encryption?.isSupported === false) {
  lobby.setTrouble("key", {
    problem: "no_encryption", title: "This browser cannot encrypt", advice: "You can chat and raise a hand. To see and hear the class use a current Chrome, Edge, Firefox or Safari.",
  });
}
if (!lock && fragment.includes("key=")) {
  lobby.setTrouble("key", {
    problem: "not_encrypted", title: "This class is not encrypted",
    advice: "You came by a link with a key, but its server can see and hear this class. Ask the teacher before you join.",
  });
}
if (typeof RTCPeerConnection === "undefined") {
  lobby.setJoining(false, "This browser cannot show video classes. Use a current Chrome, Edge, Firefox or Safari.");
}
void Promise.all(asked.map(([, opened]) => opened)).then(async () => {
  starting = false;
  await menus.list();
  if (isIn("lobby") && document.activeElement === document.body) lobby.focus();
  draw();
});
