"""Real workers and real peers: the web hears who speaks, recordings know it, large rooms get the loudest voices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sfu import protocol as p
from sfu.client import WorkerClient
from sfu.core.router import LARGE_ROOM
from sfu.manifest import ActiveSpeaker, TrackStarted
from sfu.worker.settings import Settings
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import OpusSender, receiver_capabilities
from tests.sfu.voices import ROOM_TONE, SPEECH, speaking
from tests.sfu.worker import SECRET, LoopWorker, Speaker, entries, event, loop_worker, payloads, read_log
from tests.waiting import until

ROOM = "algebra"


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[LoopWorker]:
    async with loop_worker(tmp_path) as worker:
        yield worker


async def test_every_web_process_in_the_room_hears_who_speaks_and_the_recording_knows_it(worker: LoopWorker) -> None:
    heard: dict[str, list[p.EVENTS]] = {name: [] for name in ("one", "two", "elsewhere")}
    one, two, elsewhere = [await worker.client(name, on_event=told.append) for name, told in heard.items()]
    for client in (one, two):
        await client.request(p.OpenRoom(room=ROOM))
    await elsewhere.request(p.OpenRoom(room="history"))
    tina = Speaker(one, ROOM, "tina")
    await tina.connect()
    await tina.produce(voice=2222)
    await one.request(p.StartRecording(room=ROOM, recording="rec-1"))

    async with speaking(tina.up, OpusSender(2222)):
        told = await event(heard["one"], p.SpeakersChanged, speaker="tina")
        await one.request(p.PauseProducer(room=ROOM, peer="tina", producer_id=tina.producers["voice"]))
        last = await event(heard["one"], p.SpeakersChanged, speaker=None, levels={})
    assert told.levels == {"tina": 127 - SPEECH}
    assert heard["one"].index(last) > heard["one"].index(told)
    await event(heard["two"], p.SpeakersChanged, speaker=None, levels={})
    changes = [[e for e in heard[name] if isinstance(e, p.SpeakersChanged)] for name in heard]
    assert changes[0] == changes[1]
    assert changes[2] == []

    await one.request(p.StopRecording(room=ROOM, recording="rec-1"))
    timeline = entries(worker.recordings / "rec-1", ActiveSpeaker)
    assert [entry.peer for entry in timeline] == ["tina", None]
    assert timeline[0].at < timeline[1].at
    await tina.up.close()


async def test_a_large_room_gets_five_voices_and_its_recording_all(worker: LoopWorker) -> None:
    client = await worker.client()
    await client.request(p.OpenRoom(room=ROOM))
    for number in range(LARGE_ROOM):
        await client.request(p.OpenPeer(room=ROOM, peer=f"quiet{number}"))
    speakers, voices = [Speaker(client, ROOM, f"p{number}") for number in range(7)], []
    down = await receiver(client)
    for number, speaker in enumerate(speakers):
        await speaker.connect()
        await speaker.produce(voice=3000 + number)
        voices.append(OpusSender(3000 + number, level=SPEECH))
        consumer = await client.request(
            p.CreateConsumer(
                room=ROOM, peer="sam", transport_id=down.made.transport_id, producer_id=speaker.producers["voice"],
                rtp_capabilities=receiver_capabilities(),
            )
        )  # fmt: skip
        await client.request(p.ResumeConsumer(room=ROOM, peer="sam", consumer_id=consumer.consumer_id))
    await client.request(p.StartRecording(room=ROOM, recording="rec-1"))
    router = worker.worker.media.routers[ROOM]

    def received(count: int) -> bool:
        return sum(stream.reception.received for one in router.producers.values() for stream in one.streams) == count

    # The first two are silent, so the five after them have the places; all have sent when the last packet is there.
    voices[0].level = voices[1].level = ROOM_TONE
    for turn in range(10):
        for speaker, voice in zip(speakers, voices, strict=True):
            speaker.up.send_rtp(voice.packet())
        await until(lambda turn=turn: received(7 * (turn + 1)))
    await down.packets(50)
    assert len({header.ssrc for header in down.headers()}) == 5
    assert len(down.rtp) == 50
    # One who was silent begins to speak, just after the five did: there is no place for him.
    voices[0].level = SPEECH
    for speaker, voice in reversed(list(zip(speakers, voices, strict=True))):
        speaker.up.send_rtp(voice.packet())
    await down.packets(55)
    await until(lambda: received(77))
    assert len(down.rtp) == 55

    await client.request(p.StopRecording(room=ROOM, recording="rec-1"))
    folder = worker.recordings / "rec-1"
    for track in entries(folder, TrackStarted):
        words = payloads([packet.data for packet in read_log(folder / track.file) if not packet.is_rtcp])
        assert [int.from_bytes(word[:2], "big") for word in words] == list(range(100, 111))
    for transport in (down, *(speaker.up for speaker in speakers)):
        await transport.close()


async def receiver(client: WorkerClient) -> PeerTransport:
    await client.request(p.OpenPeer(room=ROOM, peer="sam"))
    made = await client.request(p.CreateTransport(room=ROOM, peer="sam", direction="recv"))
    down = PeerTransport(made)
    await client.request(
        p.ConnectTransport(
            room=ROOM, peer="sam", transport_id=made.transport_id, dtls_parameters=down.dtls_parameters
        )
    )  # fmt: skip
    await down.connect()
    return down


def test_how_many_voices_are_the_loudest_is_a_setting() -> None:
    assert Settings.from_env({"SFU_CONTROL_SECRET": SECRET}).loudest == 5
    assert Settings.from_env({"SFU_CONTROL_SECRET": SECRET, "SFU_LOUDEST": "3"}).loudest == 3
