"""In a pause, and of people who are not recorded, nothing is written: real packets, and what is found on the disk."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sfu import protocol as p
from sfu.client import WorkerClient
from sfu.core.rtcp import PictureLossIndication
from sfu.core.rtp import parse_rtp
from sfu.manifest import (
    Joined,
    Left,
    Paused,
    Resumed,
    Started,
    Stopped,
    TrackEnded,
    TrackStarted,
    read_timeline,
)
from sfu.protocol import InvalidRequest
from tests.sfu.senders import OpusSender, Vp8Sender
from tests.sfu.worker import Speaker, entries, loop_worker, payloads, read_log
from tests.waiting import until

ROOM, REC = "algebra", "rec-1"
HERE: dict[str, Any] = {"room": ROOM, "recording": REC}


@pytest.fixture
async def worker(tmp_path):
    async with loop_worker(tmp_path) as worker:
        yield worker


@pytest.fixture
async def client(worker):
    client = await worker.client()
    await client.request(p.OpenRoom(room=ROOM))
    return client


class Person(Speaker):
    """With a camera and a voice. What the packets of the `number`th say nobody else's do."""

    def __init__(self, client: WorkerClient, name: str, number: int) -> None:
        super().__init__(client, ROOM, name)
        self.camera = Vp8Sender(number * 100)
        self.microphone = OpusSender(number * 100 + 50)
        self.microphone.number = number * 1000


@pytest.fixture
async def come(client):
    there = []

    async def make(name, number):
        person = Person(client, name, number)
        await person.connect()
        await person.produce(camera=person.camera.ssrc, voice=person.microphone.ssrc)
        there.append(person)
        return person

    yield make
    for person in there:
        await person.up.close()


@pytest.fixture
def folder(worker) -> Path:
    return worker.recordings / REC


def speak(person, count=10):
    sent = [person.microphone.packet() for _ in range(count)]
    for packet in sent:
        person.up.send_rtp(packet)
    return sent


def show(person, *, key):
    """One picture, not like the one before."""
    sent = person.camera.frame(3, key=key, trailer=person.name.encode() + person.camera.picture.to_bytes(2, "big"))
    for packet in sent:
        person.up.send_rtp(packet)
    return sent


async def arrived(client, count):
    """Wait until the worker has got so many packets."""
    while True:
        stats = await client.request(p.GetStats(room=ROOM))
        if sum(stream["packets"] for one in stats.producers for stream in one["streams"]) >= count:
            return
        await asyncio.sleep(0.01)


def recorded(folder, person, source):
    """What is in each of that person's logs."""
    tracks = [one for one in entries(folder, TrackStarted) if (one.peer, one.source) == (person.name, source)]
    return [tails(rtp(folder / track.file)) for track in tracks]


def rtp(file):
    return [one.data for one in read_log(file) if not one.is_rtcp] if file.exists() else []


def tails(packets):
    """Payloads without their beginnings, where the worker writes in a picture's number."""
    return [payload[-70:] for payload in payloads(packets)]


def kinds(folder):
    return [type(entry) for entry in read_timeline(folder)]


async def asked_for_key_frame(person):
    await until(lambda: [one for one in person.up.rtcp if isinstance(one, PictureLossIndication)])


# --- pauses ----------------------------------------------------------------------------------------------------------


async def test_a_pause_is_not_in_the_logs_and_what_was_before_and_after_it_is(client, come, folder):
    tina = await come("tina", 1)
    await client.request(p.StartRecording(**HERE))
    before, picture = speak(tina), show(tina, key=True)
    await until(lambda: recorded(folder, tina, "microphone") == [tails(before)])
    await until(lambda: recorded(folder, tina, "camera") == [tails(picture)])
    await client.request(p.PauseRecording(**HERE))
    speak(tina), show(tina, key=False), show(tina, key=True)
    await arrived(client, 29)
    tina.up.rtcp.clear()
    await client.request(p.ResumeRecording(**HERE))
    await asked_for_key_frame(tina)
    show(tina, key=False)  # of what was before the key frame nothing can be seen
    after, new_picture = speak(tina), show(tina, key=True)
    await until(lambda: recorded(folder, tina, "microphone") == [tails(before + after)])
    await until(lambda: recorded(folder, tina, "camera") == [tails(picture + new_picture)])
    await client.request(p.StopRecording(**HERE))
    assert kinds(folder) == [Started, Joined, TrackStarted, TrackStarted, Paused, Resumed, Stopped]
    for source in ("camera", "microphone"):  # one run of numbers: nothing looks lost
        [track] = [one for one in entries(folder, TrackStarted) if one.source == source]
        numbers = [parse_rtp(packet).sequence_number for packet in rtp(folder / track.file)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_who_comes_and_goes_in_a_pause_is_in_the_timeline(client, come, folder):
    tina, sam = await come("tina", 1), await come("sam", 2)
    await client.request(p.StartRecording(**HERE))
    await client.request(p.PauseRecording(**HERE))
    await client.request(p.ClosePeer(room=ROOM, peer="sam"))
    sue = await come("sue", 3)
    speak(sue)
    await arrived(client, 10)
    await client.request(p.ResumeRecording(**HERE))
    heard = speak(sue)
    await until(lambda: recorded(folder, sue, "microphone") == [tails(heard)])
    await client.request(p.StopRecording(**HERE))
    assert [one.peer for one in entries(folder, Left)] == [sam.name]
    assert [one.peer for one in entries(folder, Joined)] == [tina.name, sam.name, sue.name]


async def test_a_worker_that_goes_on_with_a_paused_recording_records_nothing(client, come, folder):
    """The one before it was killed."""
    tina = await come("tina", 1)
    await client.request(p.StartRecording(**HERE, paused=True))
    speak(tina)
    await arrived(client, 10)
    await until(lambda: len(entries(folder, TrackStarted)) == 2)
    begun, paused, *_ = read_timeline(folder)
    assert isinstance(begun, Started)
    assert isinstance(paused, Paused)
    assert begun.at == paused.at
    await client.request(p.ResumeRecording(**HERE))
    heard = speak(tina)
    await until(lambda: recorded(folder, tina, "microphone") == [tails(heard)])


async def test_to_pause_and_to_resume_may_be_asked_again_and_of_no_other_recording(client, come, folder):
    await client.request(p.StartRecording(**HERE))
    for request in (p.PauseRecording, p.PauseRecording, p.ResumeRecording, p.ResumeRecording):
        await client.request(request(**HERE))
    for request in (p.PauseRecording, p.ResumeRecording):
        with pytest.raises(InvalidRequest) as refusal:
            await client.request(request(room=ROOM, recording="rec-2"))
        assert refusal.value.code == "not_found"
    await client.request(p.StopRecording(**HERE))
    assert kinds(folder) == [Started, Paused, Resumed, Stopped]


# --- people ----------------------------------------------------------------------------------------------------------


async def test_of_those_who_are_not_recorded_nothing_is_on_the_disk(client, come, folder):
    tina, sam = await come("tina", 1), await come("sam", 2)
    await client.request(p.StartRecording(**HERE, peers=["tina"]))
    heard, unheard = speak(tina), speak(sam)
    seen = show(sam, key=True)
    await arrived(client, 23)
    await until(lambda: recorded(folder, tina, "microphone") == [tails(heard)])
    await client.request(p.StopRecording(**HERE))
    assert {path.name.split(".")[0] for path in folder.glob("*.rtpdump")} <= set(tina.producers.values())
    assert {one.name for one in entries(folder, Joined)} == {"Tina"}
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    assert all(payload in everything for payload in tails(heard))
    assert not [payload for payload in tails(unheard + seen) if payload in everything]
    assert b"Sam" not in everything


async def test_a_person_is_recorded_from_when_he_may_be_until_he_may_no_more(client, come, folder):
    await come("tina", 1)
    sam = await come("sam", 2)
    await client.request(p.StartRecording(**HERE, peers=["tina"]))
    speak(sam), show(sam, key=True)
    await arrived(client, 13)
    sam.up.rtcp.clear()
    for _ in range(2):
        await client.request(p.RecordPeer(**HERE, peer="sam", recorded=True))
    await asked_for_key_frame(sam)
    first, picture = speak(sam), show(sam, key=True)
    await until(lambda: recorded(folder, sam, "microphone") == [tails(first)])
    await until(lambda: recorded(folder, sam, "camera") == [tails(picture)])
    await client.request(p.RecordPeer(**HERE, peer="sam", recorded=False))
    speak(sam)
    await arrived(client, 36)
    await client.request(p.RecordPeer(**HERE, peer="sam", recorded=True))
    second = speak(sam)
    await until(lambda: recorded(folder, sam, "microphone") == [tails(first), tails(second)])
    await client.request(p.StopRecording(**HERE))
    own = [type(one) for one in read_timeline(folder) if getattr(one, "peer", "sam") == "sam"]
    assert [kind for kind in own if kind in (Joined, Left)] == [Joined, Left, Joined]
    assert own.count(TrackEnded) == 2
    assert own.count(TrackStarted) == 4


async def test_who_may_be_recorded_and_comes_later_is(client, come, folder):
    await client.request(p.StartRecording(**HERE, peers=[]))
    await client.request(p.RecordPeer(**HERE, peer="tina", recorded=True))
    tina = await come("tina", 1)
    heard = speak(tina)
    await until(lambda: recorded(folder, tina, "microphone") == [tails(heard)])
    with pytest.raises(InvalidRequest):
        await client.request(p.RecordPeer(room=ROOM, recording="rec-2", peer="tina", recorded=True))
