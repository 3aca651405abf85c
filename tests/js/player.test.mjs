// The player's parts that need no page: moments, pictures, links that grow old, what is remembered.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Links } from "../../static/js/player/links.js";
import { Memory } from "../../static/js/player/memory.js";
import { begunBy, clock, moment } from "../../static/js/player/time.js";
import { pictures } from "../../static/js/player/vtt.js";

test("a moment is read as people write it, and nothing else is one", () => {
  const read = { 754: 754, "754s": 754, "12m34s": 754, "1h2m3s": 3723, "2h": 7200, "12:34": 754, "1:02:03": 3723 };
  for (const [text, seconds] of Object.entries(read)) assert.equal(moment(text), seconds, text);
  for (const text of [null, "", "soon", "-5", "1.5", "1e9", "12:", ":34", "1:2:3:4", "<b>", "99999999999"]) assert.equal(moment(text), null, text);
});

test("a clock shows hours where there are some", () => {
  assert.deepEqual([0, 5.9, 65, 3723, NaN, -1].map(clock), ["0:00", "0:05", "1:05", "1:02:03", "0:00", "0:00"]);
});

test("what has begun by a moment is counted", () => {
  const row = [0, 20, 20, 40].map((begin) => ({ begin }));
  assert.deepEqual([-1, 0, 19.9, 20, 100].map((at) => begunBy(row, at)), [0, 1, 1, 3, 4]);
});

test("pictures are read from WebVTT, with or without hours; what is no picture is left out", () => {
  const text = "WEBVTT\r\n\r\n1\r\n01:00:10.000 --> 01:00:20.000\r\nthumbnails-2.jpg#xywh=0,90,160,90\r\n\r\n" +
    "00:00.000 --> 00:10.000\nthumbnails-1.jpg#xywh=160,0,160,90\n\n00:10.000 --> 00:20.000\njust words\n\nNOTE x\n";
  assert.deepEqual(pictures(text, "https://a.example/files/thumbnails.vtt"), [
    { begin: 0, end: 10, url: "https://a.example/files/thumbnails-1.jpg", x: 160, y: 0, width: 160, height: 90 },
    { begin: 3610, end: 3620, url: "https://a.example/files/thumbnails-2.jpg", x: 0, y: 90, width: 160, height: 90 },
  ]);
});

const PLAYLIST = "https://a.example/files/hls/720p.m3u8?for=player";
const link = (token) => `https://a.example/files/hls/720p.m4s?token=${token}`;

/** Links whose playlist is answered with the next of `texts`; the clock is the test's. */
function linksWith(...texts) {
  const asked = [], clockOf = { now: 0 };
  const links = new Links(async (address) => {
    asked.push(address);
    const text = texts.shift();
    if (text === undefined) throw new Error("503");
    return text;
  }, () => clockOf.now);
  return { links, asked, clockOf };
}

test("a fresh link is used as it is, an old one is exchanged by one reading of the playlist for all", async () => {
  const { links, asked, clockOf } = linksWith(`#EXTM3U\n#EXT-X-MAP:URI="/files/hls/720p.m4s?token=new"\n/files/hls/720p.m4s?token=new\n`);
  links.read(PLAYLIST);
  clockOf.now = 239_000;
  assert.equal(await links.of(PLAYLIST, link("old")), link("old"));
  clockOf.now = 3_600_000; // paused for an hour
  assert.deepEqual(await Promise.all([links.of(PLAYLIST, link("old")), links.of(PLAYLIST, link("old"))]), [link("new"), link("new")]);
  assert.deepEqual(asked, [PLAYLIST]);
});

test("a playlist that is refused leaves the link as it is, and is asked for again next time", async () => {
  const { links, asked, clockOf } = linksWith();
  links.read(PLAYLIST);
  clockOf.now = 300_000;
  assert.equal(await links.of(PLAYLIST, link("old")), link("old"));
  await links.of(PLAYLIST, link("old"));
  assert.equal(asked.length, 2);
});

test("a file that the new playlist does not name keeps its link", async () => {
  const { links, clockOf } = linksWith("#EXTM3U\n/files/hls/360p.m4s?token=new\n");
  links.read(PLAYLIST);
  clockOf.now = 300_000;
  assert.equal(await links.of(PLAYLIST, link("old")), link("old"));
});

function storage() {
  const kept = new Map();
  return { kept, getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
}

test("the place in a film is remembered until it has been seen", () => {
  const memory = new Memory(storage(), "abc");
  assert.equal(memory.position, 0);
  memory.keep(61.8, 3600);
  assert.equal(memory.position, 61);
  memory.keep(3590, 3600);
  assert.equal(memory.position, 0);
  memory.keep(5, NaN); // no film yet
  assert.equal(memory.position, 0);
});

test("where storage is forbidden nothing is remembered and nothing breaks", () => {
  const forbidden = () => {
    throw new Error("SecurityError");
  };
  const memory = new Memory({ getItem: forbidden, setItem: forbidden, removeItem: forbidden }, "abc");
  memory.keep(10, 100);
  memory.speed = 2;
  assert.deepEqual([memory.position, memory.speed], [0, 1]);
});
