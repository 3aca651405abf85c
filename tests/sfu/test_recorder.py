"""Recording a room: real packets of a real peer, found again in the folder one by one."""

import asyncio
import contextlib
import os
import resource
import threading
import time

import pytest

from sfu import protocol as p
from sfu.client import WorkerClient
from sfu.core.rtcp import SenderReport, parse_compound
from sfu.core.rtp import parse_rtp
from sfu.manifest import (
    LEASE,
    MANIFEST,
    TIMELINE,
    Joined,
    Left,
    Mark,
    Started,
    Stopped,
    TrackEnded,
    TrackPaused,
    TrackResumed,
    TrackStarted,
    read_manifest,
    read_timeline,
)
from sfu.protocol import InvalidRequest
from sfu.worker import recorder, recording_folder
from tests.sfu.senders import OpusSender, Vp8Sender
from tests.sfu.worker import Speaker, entries, event, loop_worker, payloads, read_log
from tests.waiting import until

CAMERA, VOICE = 1111, 2222


@pytest.fixture
async def worker(tmp_path):
    async with loop_worker(tmp_path) as worker:
        yield worker


@pytest.fixture
async def events():
    return []


@pytest.fixture
async def client(worker, events):
    client = await worker.client(on_event=events.append)
    await client.request(p.OpenRoom(room="algebra"))
    return client


@pytest.fixture
async def tina(client):
    """She speaks and is seen, but nothing is sent yet."""
    tina = Speaker(client, "algebra", "tina")
    await tina.connect()
    await tina.produce(camera=CAMERA, voice=VOICE)
    yield tina
    await tina.up.close()


async def start(client: WorkerClient, recording: str = "rec-1", room: str = "algebra") -> None:
    await client.request(p.StartRecording(room=room, recording=recording))


async def stop(client: WorkerClient, recording: str = "rec-1", room: str = "algebra") -> None:
    await client.request(p.StopRecording(room=room, recording=recording))


async def refused(client: WorkerClient, request: p.Request) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        await client.request(request)
    return refusal.value.code


def logs(folder, source):
    """Each log of that source, in the order of the timeline."""
    return [read_log(folder / track.file) for track in entries(folder, TrackStarted) if track.source == source]


def rtp(log):
    return [packet.data for packet in log if not packet.is_rtcp]


async def received(worker, count):
    """Wait until the recorder has heard so many packets of anybody."""

    def heard() -> bool:
        folder = worker.recordings / "rec-1"
        written = [read_log(folder / track.file) for track in entries(folder, TrackStarted) if
                   (folder / track.file).exists()]  # fmt: skip
        return sum(len(rtp(log)) for log in written) >= count

    await until(heard)


# --- what is recorded ---


async def test_every_packet_is_in_its_log_as_it_was_sent(worker, client, tina):
    await start(client)
    camera, voice = Vp8Sender(CAMERA), OpusSender(VOICE)
    pictures = [packet for n in range(20) for packet in camera.frame(5, key=n == 0)]
    words = [voice.packet() for _ in range(40)]
    before = time.time()
    for packet in [*pictures, *words]:
        tina.up.send_rtp(packet)
    await received(worker, len(pictures) + len(words))
    after = time.time()
    await stop(client)

    folder = worker.recordings / "rec-1"
    (video,), (audio,) = logs(folder, "camera"), logs(folder, "microphone")
    tracks = {track.source: track for track in entries(folder, TrackStarted)}
    for log, sent, source in ((video, pictures, "camera"), (audio, words, "microphone")):
        recorded = rtp(log)
        headers = [parse_rtp(packet) for packet in recorded]
        assert [payload[-40:] for payload in payloads(recorded)] == [payload[-40:] for payload in payloads(sent)]
        assert [len(payload) for payload in payloads(recorded)] == [len(payload) for payload in payloads(sent)]
        assert len({header.ssrc for header in headers}) == 1
        assert {header.payload_type for header in headers} == {tracks[source].payload_type}
        first = headers[0].sequence_number
        assert [header.sequence_number for header in headers] == [(first + n) & 0xFFFF for n in range(len(headers))]
        assert [header.marker for header in headers] == [parse_rtp(packet).marker for packet in sent]
        assert all(before - 0.01 <= packet.at <= after + 0.01 for packet in log)
        assert [packet.at for packet in log] == sorted(packet.at for packet in log)


async def test_the_timeline_tells_who_was_there_and_what_they_sent(worker, client, tina):
    await start(client)
    await client.request(p.OpenPeer(room="algebra", peer="sam", name="Sam"))
    ids = {"room": "algebra", "peer": "tina", "producer_id": tina.producers["camera"]}
    await client.request(p.PauseProducer(**ids))
    await client.request(p.ResumeProducer(**ids))
    await client.request(p.MarkRecording(room="algebra", recording="rec-1", mark={"kind": "chapter", "text": "Unit 2"}))
    await client.request(p.CloseProducer(**ids))
    await client.request(p.ClosePeer(room="algebra", peer="sam"))
    await stop(client)

    timeline = read_timeline(worker.recordings / "rec-1")
    begun, *_, ended = timeline
    assert isinstance(begun, Started)
    assert (begun.recording, begun.room, begun.epoch) == ("rec-1", "algebra", worker.worker.epoch)
    assert isinstance(ended, Stopped)
    assert [entry.at for entry in timeline] == sorted(entry.at for entry in timeline)
    kinds = [type(entry) for entry in timeline]
    assert kinds == [
        Started, Joined, TrackStarted, TrackStarted, Joined, TrackPaused, TrackResumed, Mark, TrackEnded, Left, Stopped,
    ]  # fmt: skip
    camera, voice = entries(worker.recordings / "rec-1", TrackStarted)
    assert (camera.mime_type, camera.clock_rate, camera.channels) == ("video/VP8", 90000, 0)
    assert (voice.mime_type, voice.clock_rate, voice.channels) == ("audio/opus", 48000, 2)
    assert (camera.peer, camera.kind, camera.source) == ("tina", "video", "camera")
    assert timeline[7].mark == {"kind": "chapter", "text": "Unit 2"}


async def test_who_comes_later_is_recorded_too(worker, client):
    await start(client)
    tina = Speaker(client, "algebra", "tina")
    await tina.connect()
    await tina.produce(voice=VOICE)
    voice = OpusSender(VOICE)
    sent = [voice.packet() for _ in range(10)]
    for packet in sent:
        tina.up.send_rtp(packet)
    await received(worker, 10)
    await stop(client)
    (audio,) = logs(worker.recordings / "rec-1", "microphone")
    assert payloads(rtp(audio)) == payloads(sent)
    await tina.up.close()


async def test_sender_reports_are_in_the_log_in_the_packets_numbering(worker, client, tina):
    await start(client)
    voice = OpusSender(VOICE)
    ntp = 0xE000_0000_0000_0000
    sent = [voice.packet() for _ in range(5)]
    timestamp = parse_rtp(sent[-1]).timestamp
    for packet in sent:
        tina.up.send_rtp(packet)
    await received(worker, 5)
    tina.up.send_rtcp(
        SenderReport(ssrc=VOICE, ntp_timestamp=ntp, rtp_timestamp=timestamp, packet_count=5, octet_count=400)
    )
    folder = worker.recordings / "rec-1"

    def reports():
        (audio,) = logs(folder, "microphone")
        return [packet.data for packet in audio if packet.is_rtcp]

    await until(reports)
    await stop(client)
    (report, *_) = [r for data in reports() for r in parse_compound(data) if isinstance(r, SenderReport)]
    last = parse_rtp(rtp(logs(folder, "microphone")[0])[-1])
    assert report.ntp_timestamp == ntp
    assert report.rtp_timestamp == last.timestamp


async def test_what_was_said_before_and_after_is_not_recorded(worker, client, tina):
    voice = OpusSender(VOICE)
    before = [voice.packet() for _ in range(5)]
    for packet in before:
        tina.up.send_rtp(packet)

    async def got(count):
        stats = await client.request(p.GetStats(room="algebra"))
        return sum(stream["packets"] for part in stats.producers for stream in part["streams"]) >= count

    while not await got(5):
        await asyncio.sleep(0.01)
    await start(client)
    during = [voice.packet() for _ in range(5)]
    for packet in during:
        tina.up.send_rtp(packet)
    await received(worker, 5)
    await stop(client)
    for _ in range(5):
        tina.up.send_rtp(voice.packet())
    while not await got(15):
        await asyncio.sleep(0.01)
    (audio,) = logs(worker.recordings / "rec-1", "microphone")
    assert payloads(rtp(audio)) == payloads(during)


# --- starting and stopping ---


async def test_stop_is_answered_when_the_manifest_is_on_the_disk(worker, client, tina):
    await start(client)
    await stop(client)
    folder = worker.recordings / "rec-1"
    manifest = read_manifest(folder)
    assert manifest is not None
    assert (manifest.recording, manifest.room) == ("rec-1", "algebra")
    assert set(manifest.files) == {path.name for path in folder.glob("*.rtpdump")}
    assert manifest.started_at == entries(folder, Started)[0].at
    assert manifest.started_at <= manifest.stopped_at <= time.time()
    assert {path.name for path in folder.iterdir()} == {*manifest.files, TIMELINE, LEASE, MANIFEST}


async def test_start_and_stop_may_be_asked_again(worker, client):
    await asyncio.gather(start(client), start(client), start(client))
    await start(client)
    assert len(entries(worker.recordings / "rec-1", Started)) <= 1
    await asyncio.gather(stop(client), stop(client))
    await stop(client)
    assert len(entries(worker.recordings / "rec-1", Started)) == 1
    assert len(entries(worker.recordings / "rec-1", Stopped)) == 1


async def test_the_room_tells_what_records_it(client):
    await start(client)
    assert (await client.request(p.OpenRoom(room="algebra"))).recording == "rec-1"
    await stop(client)
    assert (await client.request(p.OpenRoom(room="algebra"))).recording is None


async def test_a_room_has_one_recording_and_a_recording_one_room(client):
    await start(client)
    await client.request(p.OpenRoom(room="history"))
    assert await refused(client, p.StartRecording(room="algebra", recording="rec-2")) == "wrong_state"
    assert await refused(client, p.StartRecording(room="history", recording="rec-1")) == "wrong_state"
    assert await refused(client, p.StopRecording(room="algebra", recording="rec-2")) == "not_found"
    assert await refused(client, p.MarkRecording(room="algebra", recording="rec-2", mark={})) == "not_found"
    await stop(client)


async def test_a_room_that_is_not_there_cannot_be_recorded(worker, client):
    assert await refused(client, p.StartRecording(room="nowhere", recording="rec-1")) == "not_found"
    assert not (worker.recordings / "rec-1").exists()


async def test_a_complete_recording_is_not_opened_again(client):
    await start(client)
    await stop(client)
    assert await refused(client, p.StartRecording(room="algebra", recording="rec-1")) == "wrong_state"


@pytest.mark.parametrize("recording", ["../up", "/etc/cron.d", "a/b", "..", "", "a\0b", "x" * 65, "a.b", "tür"])
async def test_an_id_that_is_a_path_is_refused(worker, client, recording):
    raw = await worker.raw()
    await raw.say({"id": 2, "request": {"method": "recording.start", "room": "algebra", "recording": recording}})
    assert (await raw.hear())["error"]["code"] == "bad_request"
    assert not worker.recordings.exists()


async def test_a_folder_that_cannot_be_made_is_refused_and_the_class_goes_on(worker, client):
    worker.recordings.parent.mkdir(exist_ok=True)
    worker.recordings.write_text("not a folder")
    assert await refused(client, p.StartRecording(room="algebra", recording="rec-1")) == "media_unavailable"
    assert (await client.request(p.OpenRoom(room="algebra"))).recording is None


async def test_marks_are_limited(client):
    await start(client)
    mark = {"text": "x" * 20_000}
    assert await refused(client, p.MarkRecording(room="algebra", recording="rec-1", mark=mark)) == "too_large"
    await client.request(p.MarkRecording(room="algebra", recording="rec-1", mark={"text": "fine"}))
    await stop(client)


async def test_the_end_of_the_class_completes_its_recording(worker, client, tina):
    await start(client)
    await client.request(p.CloseRoom(room="algebra"))
    folder = worker.recordings / "rec-1"
    assert read_manifest(folder) is not None
    assert len(entries(folder, Stopped)) == 1
    await stop(client)


async def test_the_lease_is_touched_each_second(worker, client):
    await start(client)
    lease = worker.recordings / "rec-1" / LEASE
    os.utime(lease, (0, 0))
    await until(lambda: time.time() - lease.stat().st_mtime < 2, within=3)
    await stop(client)


# --- going on ---


async def test_another_worker_goes_on_where_the_first_was_cut(tmp_path, worker, client, tina):
    await start(client)
    await client.request(p.MarkRecording(room="algebra", recording="rec-1", mark={"n": 1}))
    folder = worker.recordings / "rec-1"
    await until(lambda: entries(folder, Mark))
    await worker.close()
    assert read_manifest(folder) is None
    with (folder / TIMELINE).open("ab") as timeline:
        timeline.write(b'{"type":"mark","at":17')  # as a crash would leave it

    async with loop_worker(tmp_path) as second:
        one = await second.client()
        await one.request(p.OpenRoom(room="algebra"))
        await start(one)
        await one.request(p.MarkRecording(room="algebra", recording="rec-1", mark={"n": 2}))
        await stop(one)
    assert [begun.epoch for begun in entries(folder, Started)] == [worker.worker.epoch, second.worker.epoch]
    assert [mark.mark for mark in entries(folder, Mark)] == [{"n": 1}, {"n": 2}]
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.started_at == entries(folder, Started)[0].at


async def test_a_room_abandoned_by_all_leaves_its_recording_open(tmp_path):
    async with loop_worker(tmp_path, lease=0.5) as worker:
        client = await worker.client()
        await client.request(p.OpenRoom(room="algebra"))
        await start(client)
        await client.close()
        await until(lambda: not worker.worker.media.routers)
        assert read_manifest(worker.recordings / "rec-1") is None
        other = await worker.client()
        await other.request(p.OpenRoom(room="algebra"))
        await start(other)
        await stop(other)
        epochs = [begun.epoch for begun in entries(worker.recordings / "rec-1", Started)]
        assert len(set(epochs)) == 2


# --- what goes wrong ---


async def test_that_little_is_free_is_told_while_the_recording_goes_on(client, events, monkeypatch):
    monkeypatch.setattr(recording_folder, "LITTLE_FREE", 10**18)
    monkeypatch.setattr(recording_folder, "LITTLE_FREE_SHARE", 1.0)
    monkeypatch.setattr(recorder, "TEND_EVERY", 0.0)
    await start(client)
    low = await event(events, p.DiskLow, recording="rec-1")
    assert low.free > 0
    assert (await client.request(p.OpenRoom(room="algebra"))).recording == "rec-1"
    await stop(client)
    assert len([one for one in events if isinstance(one, p.DiskLow)]) == 1


async def test_a_folder_that_went_away_fails_the_recording_and_nothing_else(worker, client, tina, events):
    await start(client)
    folder = worker.recordings / "rec-1"
    await until(lambda: entries(folder, TrackStarted))
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    told = await event(events, p.RecordingFailed)
    assert (told.room, told.recording, told.reason) == ("algebra", "rec-1", "folder")
    assert (await client.request(p.OpenRoom(room="algebra"))).recording is None
    await start(client, "rec-2")
    await stop(client, "rec-2")
    assert read_manifest(worker.recordings / "rec-2") is not None


async def test_a_disk_that_stands_still_ends_the_recording_not_the_worker(worker, client, tina, events, monkeypatch):
    monkeypatch.setattr(recorder, "UNWRITTEN_LIMIT", 20_000)
    monkeypatch.setattr(recorder, "SAVE_WITHIN", 0.1)
    await start(client)
    moves = threading.Event()
    try:
        worker.worker.recorder._writer.submit(moves.wait)
        camera = Vp8Sender(CAMERA)

        def send() -> bool:
            for packet in camera.frame(10, key=True):
                tina.up.send_rtp(packet)
            return any(isinstance(told, p.RecordingFailed) for told in events)

        await until(send)
        assert (await event(events, p.RecordingFailed)).reason == "disk_slow"
        assert (await client.request(p.OpenRoom(room="algebra"))).recording is None
    finally:
        moves.set()
    # The disk moves again: what was there is complete.
    await until(lambda: read_manifest(worker.recordings / "rec-1"))


@contextlib.contextmanager
def largest_file(size: int):
    """The kernel takes no byte beyond, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("last", ["in the last piece", "in the piece before it"])
async def test_a_recording_whose_end_does_not_fit_says_so_and_is_complete_as_far_as_it_got(
    worker, client, tina, events, last
):
    await start(client)
    folder = worker.recordings / "rec-1"
    camera = Vp8Sender(CAMERA)
    sent = camera.frame(400, key=True)
    for packet in sent[:300]:
        tina.up.send_rtp(packet)
    await received(worker, 300)
    (log,) = folder.glob(f"{tina.producers['camera']}.*")
    recorder_of_worker = worker.worker.recorder
    recorder_of_worker._ticking.cancel()  # what comes now is handed over by this test
    for packet in sent[300:]:
        tina.up.send_rtp(packet)
    await until(lambda: worker.worker.media.stats("algebra").producers[0]["streams"][0]["packets"] == 400)
    with largest_file(log.stat().st_size + 5000):
        if last == "in the piece before it":
            # Told of a write that failed only after the recording was asked to end.
            recorder_of_worker._hand_over(recorder_of_worker._by_room["algebra"], tend=False)
        with pytest.raises(InvalidRequest, match="disk_full"):
            await recorder_of_worker.stop("algebra", "rec-1")
    assert (await event(events, p.RecordingFailed)).reason == "disk_full"
    assert len(rtp(logs(folder, "camera")[0])) == 300, "whole records, and all that fitted"
    assert read_manifest(folder) is not None
    assert worker.worker.heartbeat().counters["recordings_failed"] == 1


async def test_a_bug_of_ours_fails_the_recording_loudly(worker, client, events, monkeypatch, caplog):
    await start(client)
    monkeypatch.setattr("sfu.worker.recording.file_header", lambda wall: 1 / 0)
    tina = Speaker(client, "algebra", "tina")
    await tina.connect()
    await tina.produce(voice=VOICE)
    assert (await event(events, p.RecordingFailed)).reason == "internal"
    assert "recording_failed" in caplog.text
    assert "'exc_info': True" in caplog.text
    assert read_manifest(worker.recordings / "rec-1") is not None
    assert (await client.request(p.OpenPeer(room="algebra", peer="tina"))).producers
    await tina.up.close()
