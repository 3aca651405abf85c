"""What a receiver can say of what he gets, truly or not: it costs him alone, and draws at most ten times its bytes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from sfu import protocol as p
from sfu.core.rtcp import FullIntraRequest, Nack, PictureLossIndication, ReceiverReport, Remb, ReportBlock
from sfu.core.rtp import parse_rtp
from sfu.core.transport_feedback import TransportFeedback
from tests.sfu.classroom import rtx_ssrc_of, ssrc_of
from tests.sfu.hostile.bystanders import ROOM
from tests.sfu.hostile.siege import MAX_AMPLIFICATION, Mallory, Siege, flood

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

ALLOWED = 20_000  # bytes: the first allowance is what a lost burst needs


@pytest_asyncio.fixture(loop_scope="module")
async def mallory(siege: Siege) -> AsyncIterator[Mallory]:
    """He watches Tina like everybody; `drawn` counts what he gets besides her media."""
    mallory = await siege.mallory(receives=True)
    await mallory.down.until(lambda: len(mallory.down.headers(picture(mallory))) >= 40)
    yield mallory
    await mallory.leave()


def picture(mallory: Mallory) -> int:
    return ssrc_of(mallory.consumers["video"])


class Account:
    """What goes to the worker, and what it sends because of that: everything but the pictures and voices themselves."""

    def __init__(self, mallory: Mallory) -> None:
        self.spent = self.drawn = 0
        self._media = {ssrc_of(consumer) for consumer in mallory.consumers.values()}
        self._numbers: set[tuple[int, int]] = set()
        self._down = mallory.down
        mallory.down.on_datagram = self._came
        self._size = 0
        mallory.down.on_rtp = self._decrypted

    def _came(self, datagram: bytes) -> None:
        self._size = len(datagram) + 28
        if not 128 <= datagram[0] <= 191 or 192 <= datagram[1] <= 223:
            self.drawn += self._size

    def _decrypted(self, packet: bytes) -> None:
        header = parse_rtp(packet)
        number = (header.ssrc, header.sequence_number)
        if header.ssrc not in self._media or number in self._numbers:
            self.drawn += self._size  # a repair, padding, or what was sent before
        self._numbers.add(number)

    def send(self, packets: Any) -> None:
        self.spent += len(self._down.send_rtcp(*packets)) + 28

    @property
    def fair(self) -> bool:
        return self.drawn <= MAX_AMPLIFICATION * self.spent + ALLOWED


async def test_a_flood_of_nacks(siege: Siege, mallory: Mallory) -> None:
    """Of everything that he got, again and again, in as few bytes as can be."""
    account = Account(mallory)
    ssrc = picture(mallory)
    numbers = [header.sequence_number for header in mallory.down.headers(ssrc)]

    def nacks() -> Iterator[list[Any]]:
        while True:
            yield [Nack(1, ssrc, numbers[-300:])]
            yield [Nack(1, ssrc, [numbers[-1] + n for n in range(500)])]

    await siege.withstands(lambda: flood(nacks(), account.send))
    assert account.fair, (account.spent, account.drawn)
    assert account.drawn > 1000, "some of it was sent again"
    assert (await siege.dropped())["nack_limit"] > 0


async def test_one_nack_of_a_whole_datagram(siege: Siege, mallory: Mallory) -> None:
    account = Account(mallory)
    ssrc = picture(mallory)
    last = mallory.down.headers(ssrc)[-1].sequence_number

    async def attack() -> None:
        account.send([Nack(1, ssrc, list(range(last - 4700, last + 1)))])

    await siege.withstands(attack)
    assert account.fair, (account.spent, account.drawn)


async def test_a_flood_of_requests_for_key_frames(siege: Siege, mallory: Mallory) -> None:
    """Tina is asked at most twice a second, whoever asks how often."""
    ssrc = picture(mallory)
    account = Account(mallory)

    def requests() -> Iterator[list[Any]]:
        for number in itertools.count():
            yield [PictureLossIndication(1, ssrc)]
            yield [FullIntraRequest(1, [(ssrc, number & 0xFF)] * 50)]

    before, begun = (await siege.worker.heartbeat()).counters["plis_sent"], time.monotonic()
    await siege.withstands(lambda: flood(requests(), account.send))
    await siege.dropped()  # the next heartbeat
    asked = (await siege.worker.heartbeat()).counters["plis_sent"] - before
    assert 1 <= asked <= 2 * (time.monotonic() - begun + 2), asked
    assert account.fair, (account.spent, account.drawn)


async def test_a_flood_of_checks_from_an_address_that_is_known(siege: Siege, mallory: Mallory) -> None:
    account = Account(mallory)

    def checks() -> Iterator[bytes]:
        while True:
            yield mallory.down.stun_request()

    def send(request: bytes) -> None:
        account.spent += len(request) + 28
        mallory.down.send_raw(request)

    await siege.withstands(lambda: flood(checks(), send))
    assert account.fair, (account.spent, account.drawn)
    assert (await siege.dropped())["stun_limit"] > 50


# --- lies ---


def round_trips(ssrc: int) -> Iterator[list[Any]]:
    """Of a century, and of less than nothing."""
    for index in itertools.count():
        block = ReportBlock(ssrc, index & 0xFF, -1, index, 0xFFFFFFFF, index * 0x10001 & 0xFFFFFFFF, 0xFFFFFFFF)
        yield [ReceiverReport(1, [block] * 31)]


def all_lost(ssrc: int) -> Iterator[list[Any]]:
    for base in itertools.count(0, 100):
        yield [TransportFeedback(1, ssrc, base & 0xFFFF, 100, base // 100 & 0x7FFFFF, base & 0xFF, [])]
        yield [ReceiverReport(1, [ReportBlock(ssrc, 255, 0x7FFFFF, base, 90, 0, 0)])]


def never_sent(ssrc: int) -> Iterator[list[Any]]:
    """Everything came, and much more: a line without end."""
    for base in itertools.count(0, 7919):
        first = base & 0xFFFF
        received = [(first + n, 0) for n in range(400)]
        yield [TransportFeedback(1, ssrc, first, 400, base & 0x7FFFFF, base & 0xFF, received)]


def times_that_leap(ssrc: int) -> Iterator[list[Any]]:
    for base in itertools.count():
        received = [(base + n, 32767 if n % 2 else -32768) for n in range(50)]
        yield [TransportFeedback(1, ssrc, base & 0xFFFF, 50, (-1) ** base * 0x7FFFFF, base & 0xFF, received)]


def estimates(ssrc: int) -> Iterator[list[Any]]:
    for index in itertools.count():
        yield [Remb(1, 1 << index % 80, [ssrc] * (index % 255))]


@pytest.mark.parametrize("lies", [round_trips, all_lost, never_sent, times_that_leap, estimates])
async def test_lies(siege: Siege, mallory: Mallory, lies: Callable[[int], Iterator[list[Any]]]) -> None:
    account = Account(mallory)
    await siege.withstands(lambda: flood(lies(picture(mallory)), account.send))
    assert account.fair, (account.spent, account.drawn)
    stats = await siege.client.request(p.GetStats(room=ROOM, peer=mallory.name))
    for consumer in stats.consumers:
        assert consumer["rtt"] is None or 0 <= consumer["rtt"] <= 10


async def test_reports_of_what_others_get(siege: Siege, mallory: Mallory) -> None:
    """NACKs and PLIs that name every SSRC but his own draw nothing at all."""
    account = Account(mallory)
    others = [
        ssrc
        for ssrc in range(1, 200_000, 977)
        if ssrc not in (picture(mallory), rtx_ssrc_of(mallory.consumers["video"]))
    ]

    def reports() -> Iterator[list[Any]]:
        for ssrc in itertools.cycle(others):
            yield [Nack(1, ssrc, list(range(300))), PictureLossIndication(1, ssrc)]

    await siege.withstands(lambda: flood(reports(), account.send))
    assert account.drawn < 20_000, "reports of the worker's own, each second"


async def test_a_storm_of_wishes(siege: Siege, mallory: Mallory) -> None:
    """`consumer:prefer`, as often as a socket can say it and oftener, up and down."""

    async def prefer(index: int) -> None:
        await siege.client.request(
            p.PreferLayers(
                room=ROOM, peer=mallory.name, consumer_id=mallory.consumers["video"].consumer_id,
                width=16 << index % 10, height=9 << index % 10, priority=1 + index % 255,
                spatial=index % 8 if index % 3 else None,
            )
        )  # fmt: skip

    async def attack() -> None:
        for start in range(0, 3000, 100):
            await asyncio.gather(*[prefer(start + index) for index in range(100)])

    await siege.withstands(attack)
    before = len(mallory.down.headers(picture(mallory)))
    await mallory.down.until(lambda: len(mallory.down.headers(picture(mallory))) > before)


async def test_reports_as_large_as_can_be(siege: Siege, mallory: Mallory) -> None:
    """A datagram of NACKs names five thousand packets, one of reports fifty streams: much to read in few bytes."""
    account = Account(mallory)
    ssrc = picture(mallory)
    block = ReportBlock(ssrc, 1, 1, 1, 1, 1, 1)

    def reports() -> Iterator[list[Any]]:
        for start in itertools.cycle(range(0, 65536, 4999)):
            yield [Nack(1, ssrc, [start + n for n in range(4900)])]
            yield [ReceiverReport(1, [block] * 25), ReceiverReport(1, [block] * 25)]

    await siege.withstands(lambda: flood(reports(), account.send))
    assert account.fair, (account.spent, account.drawn)
    assert (await siege.dropped())["flood"] > 0
