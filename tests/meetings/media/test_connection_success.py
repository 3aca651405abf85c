"""Whoever may come in comes in: joins from the socket to the first picture, one by one and a crowd at once, none fails.

A real web server and a real media worker; each joiner is a socket and a transport as a browser has them. Teachers and
those who speak send as well; every fifth has TCP alone.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sfu.core.rtcp import PictureLossIndication
from sfu.protocol import TransportMade
from tests.meetings.daphne import Browser, Daphne
from tests.meetings.media.conftest import WorkerProcess
from tests.meetings.world import World
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import OpusSender, Vp8Sender, opus_parameters, receiver_capabilities, vp8_parameters

pytestmark = pytest.mark.django_db(transaction=True)

WITHIN = 10.0  # seconds from the socket to the first picture, on a machine that has other work
CONSENT = 50  # frames from one check to the next: who makes none is sent nothing after 30 s, not even a request
KEY_FRAME = 7  # packets, of which each has its index as first byte of the frame


class Page:
    """A browser tab of the class."""

    def __init__(self, browser: Browser, answer: dict[str, Any], *, protocol: str = "udp") -> None:
        self.browser = browser
        self.answer = answer
        self.protocol = protocol
        self.transports: list[PeerTransport] = []

    @classmethod
    async def join(cls, daphne: Daphne, code: str, token: str, **options: Any) -> Page:
        browser = await daphne.open(code, token)
        page = cls(browser, {}, **options)
        page.answer = await page.do("room:join")
        return page

    async def do(self, event: str, **data: Any) -> dict[str, Any]:
        answer = await self.browser.ask(event, data)
        assert answer["ok"], (event, answer)
        return dict(answer["data"] or {})

    async def connect(self, direction: str) -> PeerTransport:
        made = await self.do("transport:create", direction=direction)
        made.pop("ice_servers")
        transport = PeerTransport(TransportMade(**made), protocol=self.protocol)
        self.transports.append(transport)
        await self.do("transport:connect", transport_id=made["transport_id"], dtls_parameters=transport.dtls_parameters)
        await transport.connect()
        return transport

    async def watch(self, producer_id: str) -> PeerTransport:
        down = await self.connect("recv")
        made = await self.do(
            "consume",
            transport_id=down.made.transport_id,
            producer_id=producer_id,
            rtp_capabilities=receiver_capabilities(),
        )
        await self.do("consumer:resume", consumer_id=made["consumer_id"])
        return down

    async def leave(self) -> None:
        await self.do("room:leave")
        for transport in self.transports:
            await transport.close()
        self.browser.socket.transport.abort()


@pytest.fixture
async def teacher(daphne: Daphne, worker: WorkerProcess, world: World) -> AsyncIterator[Page]:
    """She shows a picture all the while, and a key frame whenever she is asked for one."""
    page = await Page.join(daphne, world.room.code, world.guest_token("Teacher", "attendee"))
    up = await page.connect("send")
    made = await page.do(
        "produce",
        transport_id=up.made.transport_id,
        kind="video",
        source="camera",
        rtp_parameters=vp8_parameters(1111),
    )
    page.answer["producer"] = made["producer_id"]

    async def show() -> None:
        camera = Vp8Sender(1111, size=400)
        for frame in itertools.count():
            if frame % CONSENT == 0:
                up.send_raw(up.stun_request())
            asked = any(isinstance(packet, PictureLossIndication) for packet in up.rtcp)
            up.rtcp.clear()
            for packet in camera.frame(KEY_FRAME if asked else 1, key=asked):
                up.send_rtp(packet)
            await asyncio.sleep(0.05)

    showing = asyncio.create_task(show())
    yield page
    showing.cancel()
    await page.leave()


async def joined(number: int, daphne: Daphne, world: World, teacher: Page) -> float:
    """Seconds until he saw the teacher. Raises whatever kept him out."""
    began = time.monotonic()
    async with asyncio.timeout(WITHIN):
        token = world.guest_token(f"Joiner {number}", "attendee")
        page = await Page.join(daphne, world.room.code, token, protocol="tcp" if number % 5 == 4 else "udp")
        if number % 3 == 0:
            up = await page.connect("send")
            await page.do(
                "produce",
                transport_id=up.made.transport_id,
                kind="audio",
                source="microphone",
                rtp_parameters=opus_parameters(2222),
            )
            up.send_rtp(OpusSender(2222).packet())
        down = await page.watch(teacher.answer["producer"])
        await down.until(lambda: saw_a_key_frame(down), WITHIN)
    took = time.monotonic() - began
    assert down.unauthentic == 0
    await page.leave()
    return took


def saw_a_key_frame(down: PeerTransport) -> bool:
    """All its packets in order, from the first that came: a receiver begins with one."""
    headers = down.headers()
    numbers = [header.sequence_number for header in headers]
    return len(headers) >= KEY_FRAME and headers[KEY_FRAME - 1].marker and numbers == sorted(numbers)


async def all_come_in(rounds: int, daphne: Daphne, world: World, teacher: Page) -> None:
    """Each round sixty: ten one by one, then ten, twenty and twenty at once."""
    took: list[float] = []
    failed: list[BaseException] = []
    number = 0
    for _ in range(rounds):
        for crowd in (*[1] * 10, 10, 20, 20):
            joins = [joined(number + index, daphne, world, teacher) for index in range(crowd)]
            number += crowd
            for result in await asyncio.gather(*joins, return_exceptions=True):
                if isinstance(result, BaseException):
                    failed.append(result)
                else:
                    took.append(result)
    took.sort()
    print(f"{len(took)} joins, median {took[len(took) // 2]:.2f} s, longest {took[-1]:.2f} s")
    assert not failed, failed
    assert len(took) == 60 * rounds


async def test_sixty_come_in(daphne: Daphne, world: World, teacher: Page) -> None:
    await all_come_in(1, daphne, world, teacher)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
async def test_six_hundred_come_in(daphne: Daphne, world: World, teacher: Page) -> None:
    await all_come_in(10, daphne, world, teacher)
