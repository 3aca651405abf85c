"""Who speaks, from a real voice at a real worker to every page of the class, whichever web process it is at."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sfu.protocol import TransportMade
from tests.meetings.media.conftest import Person
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import OpusSender, opus_parameters
from tests.sfu.voices import SPEECH, speaking

pytestmark = pytest.mark.django_db(transaction=True)

VOICE = 2222


class Voice:
    """A person's microphone, on a connection of its own to the worker."""

    def __init__(self, person: Person, made: dict[str, Any]) -> None:
        parts = {name: made[name] for name in TransportMade.__struct_fields__}
        self.person = person
        self.transport = PeerTransport(TransportMade(**parts))
        self.sender = OpusSender(VOICE)
        self.producer = ""

    async def connect(self) -> None:
        made, client = self.transport.made, self.person.client
        self.person.transports["send"] = made.transport_id
        await client.do(
            "transport:connect", {"transport_id": made.transport_id, "dtls_parameters": self.transport.dtls_parameters}
        )
        await self.transport.connect()
        self.producer = await self.person.produce("microphone", rtp_parameters=opus_parameters(VOICE))


@pytest.fixture
async def voice_of() -> AsyncIterator[Callable[[Person], Any]]:
    voices: list[Voice] = []

    async def make(person: Person) -> Voice:
        voices.append(Voice(person, await person.client.do("transport:create", {"direction": "send"})))
        await voices[-1].connect()
        return voices[-1]

    yield make
    for voice in voices:
        await voice.transport.close()


def told(person: Person) -> list[dict[str, Any]]:
    return [frame for frame in person.client.order if frame.get("event") == "speaker:active"]


async def test_each_page_is_told_once_who_speaks_whichever_web_process_it_is_at(worker, come, voice_of, another_web):
    tina, asa, sam = await come("tina"), await come("asa"), await come("sam", by=another_web)
    voice = await voice_of(tina)
    began = time.monotonic()
    async with speaking(voice.transport, voice.sender):
        for person in (tina, asa, sam):
            heard = await person.client.event("speaker:active", participant_id=tina.id)
            assert heard["levels"] == {tina.id: 127 - SPEECH}
        await tina.client.do("produce:pause", {"producer_id": voice.producer})
        for person in (tina, asa, sam):
            assert (await person.client.event("speaker:active", participant_id=None, levels={})) is not None
    lasted = time.monotonic() - began
    assert told(tina) == told(asa) == told(sam)
    assert all("seq" not in frame for frame in told(sam))
    assert 2 <= len(told(sam)) <= 5 * lasted + 1


async def test_a_speaker_whom_the_host_mutes_or_who_leaves_holds_the_floor_no_longer(worker, come, voice_of):
    tina, sam = await come("tina"), await come("sam")
    voice = await voice_of(sam)
    async with speaking(voice.transport, voice.sender):
        await tina.client.event("speaker:active", participant_id=sam.id)
        await tina.client.do("participant:mute", {"participant_id": sam.id, "kind": "audio"})
        await tina.client.event("speaker:active", participant_id=None, levels={})
        await sam.client.do("produce:resume", {"producer_id": voice.producer})
        await tina.client.event("speaker:active", participant_id=sam.id)
        await sam.client.do("room:leave")
        await tina.client.event("speaker:active", participant_id=None, levels={})


async def test_who_joins_in_the_middle_of_a_sentence_is_told_with_the_answer(worker, come, voice_of):
    tina, sam = await come("tina"), await come("sam")
    await sam.client.do("chat:history", {"limit": 1})
    assert told(sam) == []
    voice = await voice_of(tina)
    async with speaking(voice.transport, voice.sender):
        await tina.client.event("speaker:active", participant_id=tina.id)
        olga = await come("asa")
        heard = await olga.client.event("speaker:active")
    assert heard["participant_id"] == tina.id
    answered, first, *_ = olga.client.order
    assert ("ack" in answered, first.get("event")) == (True, "speaker:active")


async def test_when_the_worker_goes_nobody_speaks_until_the_next_one_hears_somebody(start_worker, come, voice_of):
    worker = await start_worker("w0")
    tina, sam = await come("tina"), await come("sam")
    voice = await voice_of(tina)
    async with speaking(voice.transport, voice.sender):
        await sam.client.event("speaker:active", participant_id=tina.id)
        await start_worker("w1")
        assert told(sam)[-1]["data"]["participant_id"] == tina.id
        worker.kill()
        await sam.client.event("speaker:active", participant_id=None, levels={})
    await sam.client.event("media:restart")
