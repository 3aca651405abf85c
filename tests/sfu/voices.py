"""People who speak, as levels beside packets of voice (RFC 6464): 0 is the loudest, 127 silence."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from sfu.core.producer import Producer
from sfu.protocol import SpeakersChanged
from tests.sfu.network import FakeNetwork
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import OpusSender, opus_parameters

ROOM_TONE = 68  # what a microphone hears when nobody speaks
SPEECH = 30
LOUD_SPEECH = 20


def talking(level: int, step: int) -> int:
    """Syllables of 200 ms with 60 ms between them, and every second word a pause of 200 ms."""
    place = step % 63
    return ROOM_TONE if place >= 53 or place % 13 >= 10 else level


class Conversation:
    """A room on the fake network in which all have microphones; what each says is set as they go."""

    def __init__(self, network: FakeNetwork, *names: str) -> None:
        self.network = network
        self.step = 0
        self.says: dict[str, int | None] = {}
        self.voices: dict[str, OpusSender] = {}
        self.producers: dict[str, Producer] = {}
        self._senders: dict[str, Any] = {}
        self.told: list[tuple[float, SpeakersChanged]] = []
        for name in names:
            self.join(name)
        network.each_tick.append(self._send)

    def join(self, name: str) -> None:
        self._senders[name] = self.network.join(name, "send")
        ssrc = 1000 + len(self.voices)
        self.producers[name] = self.network.produce(self._senders[name], "audio", opus_parameters(ssrc))
        self.voices[name] = OpusSender(ssrc)
        self.says[name] = None

    def pass_time(self, seconds: float, **says: int | None) -> None:
        """`says` are levels from now on; None is a silent microphone."""
        self.says.update(says)
        self.network.advance(seconds)
        self._hear()

    def _send(self) -> None:
        """One packet of everybody."""
        self._hear()
        for name, level in self.says.items():
            voice = self.voices[name]
            voice.level = ROOM_TONE if level is None else talking(level, self.step)
            self._senders[name].send_rtp(voice.packet())
        self.step += 1

    def _hear(self) -> None:
        """What was told since the last time, with when."""
        news = [event for event in self.network.events if isinstance(event, SpeakersChanged)]
        self.told += [(self.network.now, event) for event in news[len(self.told) :]]

    @property
    def speakers(self) -> list[str | None]:
        """Who held the floor, one after the other."""
        held: list[str | None] = [None]
        for _, event in self.told:
            if event.speaker != held[-1]:
                held.append(event.speaker)
        return held[1:]


@contextlib.asynccontextmanager
async def speaking(transport: PeerTransport, voice: OpusSender, level: int = SPEECH) -> AsyncIterator[None]:
    """A packet every 20 ms, on a real connection."""

    async def speak() -> None:
        voice.level = level
        while True:
            transport.send_rtp(voice.packet())
            await asyncio.sleep(0.02)

    task = asyncio.create_task(speak())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
