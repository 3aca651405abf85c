"""Redis is killed, and begins anew with nothing, while a class is recorded: its film is whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from meetings.errors import CLOSE_TRY_LATER
from recordings import tasks
from recordings.composing.composition import SIZES, grid
from recordings.models import Recording
from sfu.core.rtp import build_rtp
from sfu.manifest import MANIFEST, Started, read_manifest, read_timeline
from sfu.protocol import TransportMade
from tests.meetings.conftest import enter, hubs, join, make_hubs, redis_settings, world
from tests.meetings.media.conftest import Person, come, make_worker, media, start_worker, worker
from tests.meetings.world import Client
from tests.recordings.conftest import SMALL
from tests.recordings.film import Film
from tests.recordings.synthetic import encode_opus, encode_video, packetize, picture
from tests.recordings.test_recording_a_class import folder_of, layer, sent
from tests.redis_server import RedisServer
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import OPUS, VP8, opus_parameters, vp8_parameters
from tests.waiting import until

__all__ = ["come", "enter", "hubs", "join", "layer", "make_hubs", "make_worker", "media", "redis_settings", "sent",
           "start_worker", "worker", "world"]  # fmt: skip

RUNS = [0, *(pytest.param(number, marks=pytest.mark.nightly) for number in range(1, 20))]
PICTURES = 10  # a second: each is in three of the film, so that none hides between two
SIZE = (320, 180)
CAMERA, MICROPHONE = 1111, 2222
LONGER_THAN_ANY_TEST = 300.0  # seconds
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("small")]


@pytest.fixture
def clean_redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


class Sending:
    """A camera and a microphone that send without a pause, whatever becomes of the socket."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.pictures = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        client = self.person.client
        made = await client.do("transport:create", {"direction": "send"})
        self._transport = PeerTransport(TransportMade(**{name: made[name] for name in TransportMade.__struct_fields__}))
        self.person.transports["send"] = made["transport_id"]
        dtls = self._transport.dtls_parameters
        await client.do("transport:connect", {"transport_id": made["transport_id"], "dtls_parameters": dtls})
        await self._transport.connect()
        await self.person.produce("camera", rtp_parameters=vp8_parameters(CAMERA))
        await self.person.produce("microphone", rtp_parameters=opus_parameters(MICROPHONE))
        self._began = time.monotonic()
        self._tasks = [asyncio.create_task(self._film()), asyncio.create_task(self._speak())]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._transport.close()

    async def _until(self, second: float) -> None:
        await asyncio.sleep(max(0.0, self._began + second - time.monotonic()))

    async def _film(self) -> None:
        """Nobody is asked for a key frame here: there is one each half a second."""
        count = round(LONGER_THAN_ANY_TEST * PICTURES)
        seen = ((at / PICTURES, picture("Tina", at / PICTURES, SIZE, PICTURES)) for at in range(count))
        keys = [at / 2 for at in range(1, round(LONGER_THAN_ANY_TEST * 2))]
        number = 0
        for at, frame in encode_video("video/VP8", seen, SIZE, keys):
            await self._until(at)
            payloads = packetize("video/VP8", frame, self.pictures)
            for index, payload in enumerate(payloads):
                self._send(VP8, number, at * 90000, CAMERA, payload, last=index == len(payloads) - 1)
                number += 1
            self.pictures += 1

    async def _speak(self) -> None:
        for number, (at, payload) in enumerate(encode_opus("Tina", 0.0, LONGER_THAN_ANY_TEST)):
            await self._until(at)
            self._send(OPUS, number, at * 48000, MICROPHONE, payload, last=False)

    def _send(self, payload_type: int, number: int, timestamp: float, ssrc: int, payload: bytes, *, last: bool) -> None:
        packet = build_rtp(
            payload_type=payload_type,
            sequence_number=number & 0xFFFF,
            timestamp=round(timestamp) & 0xFFFFFFFF,
            ssrc=ssrc,
            payload=payload,
            marker=last,
        )
        self._transport.send_rtp(packet)


@pytest.fixture
async def sending() -> AsyncIterator[Callable[[Person], Awaitable[Sending]]]:
    all_of_them: list[Sending] = []

    async def send(person: Person) -> Sending:
        all_of_them.append(Sending(person))
        await all_of_them[-1].begin()
        return all_of_them[-1]

    yield send
    for one in all_of_them:
        await one.end()


async def back(enter: Any, person: Person) -> Client:
    """As the page comes: who is told that it is too early tries again."""
    before = {"session": person.answer["session"], "last_seq": person.answer["last_seq"]}
    async with asyncio.timeout(30):
        while True:
            client: Client = await enter("tina")
            try:
                client.answer = await client.join(**before)
                return client
            except AssertionError:
                if client.closed != CLOSE_TRY_LATER:
                    raise
                await client.close()


@pytest.mark.parametrize("run", RUNS)
async def test_redis_is_killed_while_a_class_is_recorded_and_the_film_has_every_picture(
    run: int, worker: Any, come: Any, enter: Any, places: Path, sent: list[int], sending: Any,
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("meetings.hub.RETRY_AFTER", 0.05)
    tina = await come("tina")
    camera = await sending(tina)

    async def film(pictures: int) -> None:
        wanted = camera.pictures + pictures
        await until(lambda: camera.pictures >= wanted, within=60)

    recording_id = (await tina.client.do("recording:start"))["recording_id"]
    folder = folder_of(recording_id, places)
    await film(5)
    await asyncio.to_thread(redis_server.stop)
    assert await tina.client.refused("chat:send", {"message": "?", "metadata": {"client_id": "one"}}) == "internal"
    assert await tina.client.refused("recording:stop") == "internal"
    await film(10)
    await asyncio.to_thread(redis_server.start)
    assert await tina.client.until_closed() == 1012
    await tina.client.close()
    await worker.up()
    again = await back(enter, tina)
    assert again.answer["recording"]["recording_id"] == recording_id
    await film(5)
    await again.do("recording:stop")
    assert (await come("sam")).answer["recording"] is None

    assert len([entry for entry in read_timeline(folder) if isinstance(entry, Started)]) == 1
    manifest = read_manifest(folder)
    assert manifest is not None, MANIFEST
    recording = await sync_to_async(Recording.objects.get)()
    assert (recording.public_id, sent) == (recording_id, [recording.pk])
    await sync_to_async(tasks.compose_recording, thread_sensitive=False)(recording.pk)
    await sync_to_async(recording.refresh_from_db)()
    assert recording.state == Recording.State.READY
    name = f"{SMALL}.mp4"
    assert [path.relative_to(places / "storage").as_posix() for path in (places / "storage").rglob("*.*")] == [
        f"{recording_id}/{name}"
    ]
    made = Film(places / "storage" / recording_id / name)
    length = manifest.stopped_at - manifest.started_at
    assert made.duration == pytest.approx(length, abs=0.1)
    assert recording.duration.total_seconds() == pytest.approx(length, abs=0.1)
    (tile,) = grid(1, SIZES[SMALL])
    numbers = [shot.number(tile) for shot in made.pictures if shot.shows(tile) == "Tina"]
    shown = [number for at, number in enumerate(numbers) if at == 0 or number != numbers[at - 1]]
    assert shown == [(shown[0] + at) % 256 for at in range(len(shown))], "none is missing, none doubled"
    assert len(shown) >= 20
    assert len(made.pictures) - len(numbers) <= 30, "but for the first key frame, all of the film shows her"
