import assert from "node:assert/strict";
import { test } from "node:test";
import { asText, describeConnection, rate } from "../../static/js/room/connection_words.js";
import { collectStats } from "../../static/js/room/media/stats.js";
import { FlowMeter, isPoor, ownLine, QualityMeter, qualityOf, reportOf, Steady, worstOf } from "../../static/js/room/quality.js";

const stream = (more) => ({
  participant_id: "tina", source: "camera", kind: "video", direction: "recv", framesDecoded: 0, frameWidth: 0, frameHeight: 0,
  bytes: 0, packets: 0, packetsLost: 0, jitter: 0, rtt: 0, freezeCount: 0, ...more,
});

test("words for a line follow the limits", () => {
  assert.equal(qualityOf({ rtt: 0.499, loss: 0.049, jitter: 0.049 }), "good");
  assert.equal(qualityOf({ rtt: 0.5, loss: 0, jitter: 0 }), "warning");
  assert.equal(qualityOf({ rtt: 0, loss: 0.1, jitter: 0 }), "danger");
  assert.equal(qualityOf({ rtt: 0, loss: 0, jitter: 0.2 }), "critical");
  assert.deepEqual(["good", "warning", "danger", "critical"].filter(isPoor), ["danger", "critical"]);
  assert.equal(worstOf("warning", undefined, "danger", "good"), "danger");
  assert.equal(worstOf(), "good");
});

test("a word changes when looks in a row agree, sooner for the worse, and not to and fro around a limit", () => {
  const words = (...found) => {
    const steady = new Steady();
    return found.map((each) => steady.update(each)[0]).join("");
  };
  assert.equal(words("warning", "good", "warning", "good", "warning", "good"), "gggggg");
  assert.equal(words("warning", "warning", "good", "warning", "good", "good", "good"), "gwwwwwg");
  assert.equal(words("critical", "warning", "danger", "danger"), "gwwd", "no further than all of them went");
  const steady = new Steady();
  for (const each of ["critical", "critical"]) steady.update(each);
  assert.deepEqual(["good", "danger", "warning"].map((each) => steady.update(each)), ["critical", "critical", "danger"]);
});

test("loss is of the last seconds: a bad minute is forgotten when the line is good again", () => {
  const meter = new QualityMeter();
  const look = (packets, packetsLost, at) => meter.update([stream({ packets, packetsLost })], "sam", at).quality.get("tina");
  look(100, 0, 0);
  look(180, 20, 2000);
  assert.equal(look(260, 40, 4000), "critical");
  assert.deepEqual([look(360, 40, 6000), look(460, 40, 8000), look(560, 40, 10_000)], ["critical", "critical", "good"]);
});

test("a handful of packets proves nothing, and the first look has nothing to compare with", () => {
  const meter = new QualityMeter();
  assert.deepEqual(meter.update([stream({ packets: 5, packetsLost: 5 })], "sam", 0), { flows: [], line: null, quality: new Map() });
  const { flows } = meter.update([stream({ packets: 10, packetsLost: 10 })], "sam", 2000);
  assert.equal(flows[0].loss, 0);
});

test("our own line is poor when most pictures are, or our own way up; one sender's jitter is not it", () => {
  const flow = (participant_id, more) => stream({ participant_id, packets: 100, lost: 0, loss: 0, bitrate: 0, received: 0, sent: 0, freezes: 0, tooLate: 0, seconds: 2, buffered: 0, ...more });
  const judged = (...flows) => qualityOf(ownLine(flows));
  assert.equal(judged(flow("a", { jitter: 0.3 }), flow("b"), flow("c")), "good");
  assert.equal(judged(flow("a", { jitter: 0.3 }), flow("b", { jitter: 0.1 }), flow("c")), "danger");
  assert.equal(judged(flow("a", { lost: 100 }), flow("b"), flow("c"), flow("d")), "critical", "a fifth of all that comes");
  assert.equal(judged(flow("a"), flow("sam", { direction: "send", loss: 0.1 })), "danger");
  assert.equal(ownLine([]), null);
});

test("a report tells milliseconds, percent and bits a second of the time since the last", () => {
  const meter = new FlowMeter();
  const voice = { kind: "audio", source: "microphone", rtt: 0.042, jitter: 0.004, path: "udp" };
  meter.update([stream({ bytes: 1000, packets: 10, freezeCount: 3 }), stream({ ...voice, buffer: { delay: 10, played: 48_000 } })], 1000);
  const flows = meter.update([
    stream({ bytes: 126_000, packets: 105, packetsLost: 5, rtt: 0.042, jitter: 0.003, freezeCount: 4, frameWidth: 640, frameHeight: 360, fps: 25 }),
    stream({ ...voice, packets: 96, packetsLost: 4, packetsDiscarded: 1, buffer: { delay: 10 + 240_000 * 0.06, played: 288_000 } }),
  ], 6000);
  assert.deepEqual(reportOf(ownLine(flows)), {
    rtt: 42, jitter: 4, packet_loss: 4.5, bitrate: 200_000, bytes_received: 125_000, bytes_sent: 0, voice_loss: 5,
    voice_buffer: 60, frames_per_second: 25, frame_width: 640, frame_height: 360, freeze_count: 1, limited_by: "none", path: "udp",
  });
});

test("a stream that begins anew is not taken for a fall or a flood", () => {
  const meter = new FlowMeter();
  meter.update([stream({ bytes: 9_000_000, packets: 9000, packetsLost: 50 })], 0);
  const [flow] = meter.update([stream({ bytes: 1000, packets: 10, packetsLost: 0 })], 2000);
  assert.deepEqual([flow.bitrate, flow.lost, flow.loss], [0, 0, 0]);
});

test("who sends too large a picture for this device learns why it is small", () => {
  const { note, facts, streams } = describeConnection({
    self: true, told: null, estimate: 2_345_000, flows: [stream({ direction: "send", bitrate: 480_000, loss: 0.02, codec: "VP8", frameWidth: 640, frameHeight: 360, fps: 24.7 })],
    line: { bitrateIn: 1_234_000, bitrateOut: 480_000, loss: 0.02, rtt: 0.042, jitter: 0.004, path: "relay", limitedBy: "cpu" },
  });
  assert.match(note, /busy/);
  assert.deepEqual(Object.fromEntries(facts), {
    Received: "1.2 Mbit/s", Sent: "480 kbit/s", Loss: "2.0 %", "Round trip": "42 ms", Jitter: "4 ms",
    "Line carries": "about 2.3 Mbit/s", Path: "by a relay",
  });
  assert.deepEqual(streams, [{ name: "Camera", facts: [
    ["Bitrate", "480 kbit/s"], ["Loss", "2.0 %"], ["Jitter", "0 ms"], ["Resolution", "640 × 360"], ["Frames", "25 a second"], ["Codec", "VP8"],
  ] }]);
});

test("what another's browser told a teacher stands before what reaches us, and all of it can be copied", () => {
  const described = describeConnection({
    self: false, line: null, estimate: null, flows: [stream({ kind: "audio", source: "microphone", bitrate: 32_000, loss: 0, codec: "opus" }),
      stream({ bitrate: 1_500_000, loss: 0, layer: { spatial: 2, temporal: 1 } })],
    told: { participant_id: "sam", quality: "danger", rtt: 900, jitter: 80, packet_loss: 11.5, bitrate: 96_000, path: "tcp", score: 2.31, limited_by: "cpu" },
  });
  assert.equal(asText("Connection of Sam", "poor", described), [
    "Connection of Sam: poor", "Measured by their own browser; below, what of theirs reaches you.", "Bitrate: 96 kbit/s", "Loss: 11.5 %", "Round trip: 900 ms", "Jitter: 80 ms", "Path: TCP", "Sound quality: 2.3 of 4.4",
    "Device: busy", "Voice: Bitrate: 32 kbit/s, Loss: 0.0 %, Jitter: 0 ms, Codec: opus", "Camera: Bitrate: 1.5 Mbit/s, Loss: 0.0 %, Jitter: 0 ms, Layer: 3, temporal 2",
  ].join("\n"));
  assert.match(describeConnection({ self: false, line: null, estimate: null, flows: [], told: null }).note, /Nothing/);
  assert.equal(rate(999_600), "1.0 Mbit/s");
});

// --- what the browser counts

const report = (...stats) => new Map(stats.map((stat) => [stat.id, stat]));
const path = (protocol, candidateType = "host") => [
  { id: "T", type: "transport", selectedCandidatePairId: "P2" },
  { id: "P1", type: "candidate-pair", nominated: true, currentRoundTripTime: 3, localCandidateId: "L" },
  { id: "P2", type: "candidate-pair", nominated: true, currentRoundTripTime: 0.03, localCandidateId: "L", availableOutgoingBitrate: 1e6 },
  { id: "L", type: "local-candidate", protocol, candidateType },
];

test("each stream comes with its codec, its layer and the path in use, not one that was given up", async () => {
  const incoming = report(...path("tcp"), { id: "C", type: "codec", mimeType: "video/VP8" }, {
    id: "I", type: "inbound-rtp", trackIdentifier: "track-1", codecId: "C", framesDecoded: 7, framesPerSecond: 25, frameHeight: 360, bytesReceived: 900, jitter: 0.004,
  });
  const outgoing = report(...path("udp", "relay"), { id: "C", type: "codec", mimeType: "audio/opus" }, {
    id: "O", type: "outbound-rtp", mid: "0", codecId: "C", bytesSent: 500, packetsSent: 5, qualityLimitationReason: "cpu",
  }, { id: "R", type: "remote-inbound-rtp", localId: "O", packetsLost: 2, jitter: 0.01, roundTripTime: 0.2 });
  const direct = { numbers: () => ({ framesDecoded: 0, bytes: 0, packets: 0, packetsLost: 0, now: null, rtt: 0 }) };
  const engine = {
    direct,
    link: { closed: false, recv: { getStats: async () => incoming }, send: { getStats: async () => outgoing } },
    sender: { producers: [{ source: "microphone", producer: { kind: "audio", localId: "0", rtpParameters: {} } }] },
    receiver: { received: [{ layer: { spatial: 1, temporal: 0 }, producer: { participant_id: "tina", source: "camera", kind: "video" }, consumer: { track: { id: "track-1" } } }] },
  };
  const [up, down] = await collectStats(engine, "sam");
  assert.deepEqual([down.codec, down.layer, down.path, down.rtt, down.framesDecoded, down.fps], ["VP8", { spatial: 1, temporal: 0 }, "tcp", 0.03, 7, 25]);
  assert.deepEqual([up.codec, up.path, up.rtt, up.packetsLost, up.limitedBy, up.available], ["opus", "relay", 0.2, 2, "cpu", 1e6]);
  assert.deepEqual(await collectStats({ link: null }, "sam"), []);
  // The same two, past the worker: counts go on, and the rest is of the way that is shown.
  engine.direct = { numbers: () => ({ framesDecoded: 10, bytes: 1000, packets: 0, packetsLost: 0, rtt: 0.2, now: { codec: "VP9", frameHeight: 720, jitter: 0.002 } }) };
  const [, shown] = await collectStats(engine, "sam");
  assert.deepEqual([shown.framesDecoded, shown.bytes, shown.codec, shown.path, shown.rtt, shown.layer], [17, 1900, "VP9", "direct", 0.2, null]);
});
