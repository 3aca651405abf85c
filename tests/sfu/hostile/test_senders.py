"""What a peer of the class can send whose SRTP is right. Another one, Olga, watches his camera all the while."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
from pylibsrtp import Error as SrtpError

from sfu import protocol as p
from sfu.core.rtcp import Bye, ReceiverReport, Remb, ReportBlock, SenderReport
from sfu.core.rtp import build_rtp
from tests.sfu.hostile.bystanders import CAMERA, ROOM, VOICE
from tests.sfu.hostile.siege import Mallory, Siege, flood
from tests.sfu.senders import EXTENSIONS, VP8, VP8_RTX, OpusSender, Vp8Sender, simulcast_parameters, vp8_parameters

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

MINE = 5000  # SSRC of his camera; the one of its repairs is the next
MID, RID = 4, 10  # ids of header extensions, as tests/sfu/senders.py chooses them


@pytest_asyncio.fixture(loop_scope="module")
async def mallory(siege: Siege) -> AsyncIterator[Mallory]:
    mallory = await siege.mallory(sends=True)
    await mallory.speaker.produce(camera=MINE)
    olga = await siege.mallory(receives=True)
    await olga.consume(mallory.speaker.producers["camera"])
    yield mallory
    await olga.leave()
    await mallory.leave()


def send_by(mallory: Mallory) -> Callable[[bytes], None]:
    """As SRTP where a libsrtp does that; what it takes for no RTP goes as it is, and so do numbers that it sent."""
    session = mallory.up.send_session
    assert session is not None

    def send(packet: bytes) -> None:
        try:
            mallory.up.send_raw(session.protect(packet))
        except SrtpError:
            mallory.up.send_raw(packet)

    return send


def rtp(number: int = 1, **fields: object) -> bytes:
    values: dict = {
        "payload_type": VP8, "sequence_number": number & 0xFFFF, "timestamp": 0, "ssrc": MINE,
        "payload": b"\x10\x00frame", "extensions": {MID: b"1"}, **fields,
    }  # fmt: skip
    return build_rtp(**values)


# --- streams that are not his, or too many ---


def anothers_ssrc() -> Iterator[bytes]:
    voice = OpusSender(VOICE)
    while True:
        yield voice.packet()
        yield rtp(5, ssrc=CAMERA)


def ten_thousand_ssrcs() -> Iterator[bytes]:
    for index in range(10_000):
        yield rtp(ssrc=0x10000 + index, extensions={MID: b"9"})


def layers_that_do_not_exist() -> Iterator[bytes]:
    for index in itertools.count():
        yield rtp(index, ssrc=0x20000 + index % 5, extensions={MID: b"1", RID: b"none" if index % 2 else b"\xff"})


def another_ssrc_with_each_packet() -> Iterator[bytes]:
    """As if the encoder began anew each time: what was kept of the one before must go."""
    for index in range(20_000):
        yield rtp(index, ssrc=0x30000 + index)


# --- packets that are not what they say ---


def fifteen_csrcs() -> Iterator[bytes]:
    for index in itertools.count():
        yield rtp(index, csrcs=range(15))
        whole = rtp(index)
        yield bytes([whole[0] | 15]) + whole[1:20]  # and no room for them


def padding_tricks() -> Iterator[bytes]:
    for index in itertools.count():
        whole = rtp(index, extensions=None)
        for last in (0, 255, len(whole) - 12, len(whole) - 11):
            yield bytes([whole[0] | 0x20]) + whole[1:-1] + bytes([last & 0xFF])


def extensions_that_lie() -> Iterator[bytes]:
    """64 KiB of them, two-byte elements of the wrong length, the forbidden id, elements too long, MIDs of no text."""
    head = rtp(extensions=None, payload=b"")
    blocks = [
        b"\xbe\xde\xff\xff" + bytes(40), b"\xbe\xde\x00\x01\x4f\x00\x00\x00", b"\xbe\xde\x00\x01\xf0\x00\x00\x00",
        b"\x10\x00\x00\x01\x04\xff\x31\x00", b"\x10\x00\x00\x01\x04", b"\x10\x0f\xff\xff", b"\xbe\xde",
        b"\xbe\xde\x00\x01\x41\xff\xfe\x00", b"\xbe\xde\x00\x00", b"\xab\xcd\x00\x01abcd",
    ]  # fmt: skip
    for index in itertools.count():
        for block in blocks:
            ssrc = (0x40000 + index % 5).to_bytes(4, "big")
            yield bytes([head[0] | 0x10, head[1]]) + index.to_bytes(4, "big")[2:] + bytes(4) + ssrc + block


def descriptors_that_lie() -> Iterator[bytes]:
    for index in itertools.count():
        yield rtp(index, payload=os.urandom(1 + index % 30))
        yield rtp(index, payload=b"\xff" * (index % 8))


def every_payload_type() -> Iterator[bytes]:
    for index in itertools.count():
        yield rtp(index, payload_type=index % 64)


# --- numbers and times that leap ---


def leaps_of_numbers() -> Iterator[bytes]:
    """Each one looks like an encoder that began anew."""
    for index in itertools.count():
        yield rtp(index * 20_011, timestamp=index)


def leaps_of_time() -> Iterator[bytes]:
    for index in itertools.count():
        yield rtp(index, timestamp=index * 0x6789ABCD & 0xFFFFFFFF)


def gaps() -> Iterator[bytes]:
    """A thousand missing in a row, again and again: each of them could be asked for ten times."""
    for index in itertools.count():
        yield rtp(index * 900)


def repairs_of_anything() -> Iterator[bytes]:
    yield rtp(30_000)
    for index in itertools.count():
        original = (index * 7919 & 0xFFFF).to_bytes(2, "big")
        yield rtp(index, ssrc=MINE + 1, payload_type=VP8_RTX, payload=original + b"\x90\x80\x80\x01x")
        yield rtp(index, ssrc=MINE + 1, payload_type=VP8_RTX, payload=original[: index % 2])


@pytest.mark.parametrize(
    ("attack", "counted"),
    [
        (anothers_ssrc, "unknown_stream"),
        (ten_thousand_ssrcs, "ssrc_limit"),
        (layers_that_do_not_exist, "unknown_stream"),
        (another_ssrc_with_each_packet, "ssrc_limit"),
        (fifteen_csrcs, "unauthentic"),
        (padding_tricks, "malformed"),
        (extensions_that_lie, "malformed"),
        (descriptors_that_lie, ""),
        (every_payload_type, "payload_type"),
        (leaps_of_numbers, "leap"),
        (leaps_of_time, ""),
        (gaps, ""),
        (repairs_of_anything, "late"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_nobody_notices(
    siege: Siege, mallory: Mallory, attack: Callable[[], Iterator[bytes]], counted: str
) -> None:
    await siege.withstands(lambda: flood(attack(), send_by(mallory)))
    if counted:
        assert (await siege.dropped())[counted] >= 50, "it did arrive"


async def test_what_does_not_decrypt_and_what_comes_again(siege: Siege, mallory: Mallory) -> None:
    session = mallory.up.send_session
    assert session is not None

    def packets() -> Iterator[bytes]:
        for index in itertools.count():
            protected = session.protect(rtp(index))
            yield rtp(index)  # plain
            yield protected[:-1] + bytes([protected[-1] ^ 1])  # forged
            yield protected
            yield protected  # a replay

    await siege.withstands(lambda: flood(packets(), mallory.up.send_raw))
    dropped = await siege.dropped()
    for reason in ("replayed", "unauthentic"):
        assert dropped[reason] >= 50


async def test_numbers_that_wrap_are_forwarded_across(siege: Siege, mallory: Mallory) -> None:
    """The numbers wrap a hundred times: as many are left out as a sender may."""
    sender = Vp8Sender(MINE, size=20, first_number=60_000)

    def packets() -> Iterator[bytes]:
        while True:
            yield from sender.frame(2, key=True)
            sender.number = sender.number + 2000 & 0xFFFF

    await siege.withstands(lambda: flood(packets(), send_by(mallory), seconds=2.0))


async def test_rtcp_that_is_none(siege: Siege, mallory: Mallory) -> None:
    session = mallory.up.send_session
    assert session is not None
    packets = [
        b"\x81\xc8\x00\x01" + bytes(4),  # a sender report without its body
        b"\x80\xc9\x00\x00" + bytes(4),  # of zero length
        b"\x8f\xce\x00\x05" + bytes(8) + b"REMB" + b"\xff\x00\x00\x00" + bytes(4),  # 255 SSRCs, and one there
        b"\x9f\xca\x00\x01" + bytes(4),  # 31 chunks, and none there
        b"\x81\xcd\x00\x02" + bytes(8),  # a NACK for nothing
        b"\x81\xca\x00\x02" + bytes(4) + b"\x01\xff\x41\x41",  # an SDES item that overruns
        b"\x81\xca\x00\x05" + bytes(4) + b"\x01\x00" * 8,  # an SDES that goes round in items of no length
        b"\x8f\xcd\x00\x05" + bytes(8) + b"\x00\x00\xff\xff" + bytes(4) + b"\x3f\xff\x3f\xff",  # arrivals without times
        b"\xa0\xc9\x00\x01" + bytes(3) + b"\xff",  # padding longer than the packet
        b"\x80\xcf\x00\x02" + bytes(4) + b"\x05\x00\xff\xff",  # an extended report whose block is longer than it
    ]
    await siege.withstands(lambda: flood(map(session.protect_rtcp, itertools.cycle(packets)), mallory.up.send_raw))
    assert (await siege.dropped())["malformed_rtcp"] >= 50


async def test_reports_about_others(siege: Siege, mallory: Mallory) -> None:
    """Goodbyes in their names, and sender reports from other centuries."""

    def reports() -> Iterator[list]:
        for index in itertools.count():
            block = ReportBlock(CAMERA, 255, 0x7FFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 1, 0xFFFFFFFF)
            yield [SenderReport(CAMERA, index << 40 & (1 << 64) - 1, index, 1, 1), Bye([CAMERA, VOICE, MINE])]
            yield [SenderReport(MINE, index * 0x123456789ABCDEF & (1 << 64) - 1, index * 0x1234567 & 0xFFFFFFFF)]
            yield [ReceiverReport(MINE, [block] * 20), Remb(1, 1 << 70, [CAMERA] * 100)]

    await siege.withstands(lambda: flood(reports(), lambda some: mallory.up.send_rtcp(*some)))


# --- by signaling ---


async def test_of_ten_thousand_producers_few_are_made(siege: Siege) -> None:
    mallory = await siege.mallory(sends=True)
    refused: list[str] = []

    async def produce(index: int) -> None:
        try:
            await siege.client.request(
                p.CreateProducer(
                    room=ROOM, peer=mallory.name, transport_id=mallory.speaker.transport_id, kind="video",
                    source="camera", rtp_parameters=vp8_parameters(100_000 + 10 * index, mid=str(index)),
                )
            )  # fmt: skip
        except p.InvalidRequest as error:
            refused.append(error.code)

    async def attack() -> None:
        for start in range(0, 10_000, 500):
            await asyncio.gather(*[produce(start + index) for index in range(500)])

    await siege.withstands(attack)
    assert set(refused) == {"too_large"}
    state = await siege.client.request(p.OpenPeer(room=ROOM, peer=mallory.name))
    assert 4 <= len(state.producers) <= 20
    await mallory.leave()


async def test_a_simulcast_of_nothing(siege: Siege) -> None:
    """Layers are announced, and what comes under their names is none of them."""
    mallory = await siege.mallory(sends=True)
    await mallory.speaker._produce("video", "camera", simulcast_parameters(mid="3"))

    def packets() -> Iterator[bytes]:
        for index in itertools.count():
            rid = (b"q", b"h", b"f", b"x")[index % 4]
            yield rtp(index, ssrc=7000 + index % 8, extensions={MID: b"3", RID: rid})

    await siege.withstands(lambda: flood(packets(), send_by(mallory)))
    await mallory.leave()


async def test_the_ids_are_those_that_are_negotiated() -> None:
    assert EXTENSIONS["urn:ietf:params:rtp-hdrext:sdes:mid"] == MID
    assert EXTENSIONS["urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"] == RID
