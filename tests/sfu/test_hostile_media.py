"""What strangers and dishonest peers send to the media port: others notice nothing of it, and the worker lives."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncIterator
from functools import partial

import pytest

from sfu.core.rtcp import Bye, Nack, PictureLossIndication
from sfu.core.rtp import build_rtp, parse_rtp
from sfu.worker.media import MediaServer
from tests.sfu.classroom import ROOM, Classroom, Person, rtx_ssrc_of, ssrc_of
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import EXTENSIONS, OPUS, OpusSender, Vp8Sender, vp8_parameters
from tests.waiting import until


class Lesson:
    """Tina speaks and shows, Sam watches; `goes_on` proves that a packet still makes the way."""

    def __init__(self, classroom: Classroom) -> None:
        self.classroom = classroom
        self.tina: Person = classroom.person("tina")
        self.sam: Person = classroom.person("sam")
        self.voice, self.picture = OpusSender(2222), Vp8Sender(1111)

    async def begin(self) -> None:
        self.up: PeerTransport = await self.tina.connect("send")
        self.down: PeerTransport = await self.sam.connect("recv")
        self.microphone, self.camera = self.tina.microphone(), self.tina.camera()
        self.voice_consumer = self.sam.consume(self.microphone)
        self.picture_consumer = self.sam.consume(self.camera)
        for packet in self.picture.frame(10, key=True):
            self.up.send_rtp(packet)
        await self.goes_on()

    async def goes_on(self) -> None:
        before = len(self.down.headers(ssrc_of(self.voice_consumer)))
        self.up.send_rtp(self.voice.packet())
        await self.down.until(lambda: len(self.down.headers(ssrc_of(self.voice_consumer))) > before, 1.0)

    @property
    def dropped(self) -> dict[str, int]:
        return self.classroom.media.dropped

    def stranger(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect(("127.0.0.1", self.classroom.media.port))
        return sock


@pytest.fixture
async def lesson(classroom: Classroom) -> AsyncIterator[Lesson]:
    lesson = Lesson(classroom)
    await lesson.begin()
    yield lesson
    await lesson.goes_on()  # whatever was done to it


async def answered(sock: socket.socket, within: float = 0.3) -> bytes | None:
    """What a stranger gets back; None is what he should get."""
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 2048), within)
    except TimeoutError:
        return None


async def test_an_empty_datagram_does_no_harm(lesson: Lesson) -> None:
    with lesson.stranger() as sock:
        sock.send(b"")
        await until(lambda: lesson.dropped["empty_datagram"] == 1)
        sock.send(lesson.up.stun_request(nominate=False))  # the address is a known one from now on
        assert await answered(sock) is not None
        sock.send(b"")
        await until(lambda: lesson.dropped["empty_datagram"] == 2)


async def test_junk_of_all_kinds_from_a_stranger_is_dropped_unanswered(lesson: Lesson) -> None:
    with lesson.stranger() as sock:
        for first in range(0, 256, 5):
            sock.send(bytes([first]) + b"\x00" * 40)
        assert await answered(sock) is None


async def test_a_stun_request_with_an_unknown_ufrag_gets_no_answer(lesson: Lesson) -> None:
    with lesson.stranger() as sock:
        sock.send(lesson.down.stun_request(ufrag="nobody"))
        await until(lambda: lesson.dropped["unknown_ufrag"] == 1)
        assert await answered(sock, 0.1) is None


async def test_truncated_and_malformed_stun_is_survived(lesson: Lesson) -> None:
    request = lesson.down.stun_request()
    with lesson.stranger() as sock:
        for length in range(1, len(request)):
            sock.send(request[:length])
        for position in range(20, len(request)):
            damaged = bytearray(request)
            damaged[position] ^= 0xFF
            sock.send(damaged)
        await until(lambda: lesson.dropped["stun_401"] + lesson.dropped["stun_400"] + lesson.dropped["unknown_ufrag"])
    assert len(lesson.classroom.media.endpoint.paths) == 2, "no address was learnt from it"


async def test_a_spoofed_use_candidate_moves_nothing(lesson: Lesson) -> None:
    with lesson.stranger() as sock:
        sock.send(lesson.down.stun_request(password="guessed"))
        await until(lambda: lesson.dropped["stun_401"] == 1)
        await lesson.goes_on()
        answer = await answered(sock, 0.2)
        assert answer is not None
        assert answer[:2] == b"\x01\x11", "a refusal, and no media"


async def test_another_peers_ufrag_with_ones_own_password_proves_nothing(lesson: Lesson) -> None:
    olga = lesson.classroom.person("olga")
    olgas = await olga.connect("recv")
    olgas.send_raw(olgas.stun_request(ufrag=lesson.down.usernames))
    await until(lambda: lesson.dropped["stun_401"] == 1)
    await lesson.goes_on()
    assert olgas.rtp == []


async def test_a_strangers_client_hello_cannot_take_the_handshake(classroom: Classroom) -> None:
    sam = classroom.person("sam")
    transport = sam.make("recv")
    classroom.media.connect_transport(ROOM, "sam", transport.made.transport_id, transport.dtls_parameters)
    thief = PeerTransport(transport.made)
    await thief.open()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(thief.handshake(), 0.3)
    await thief.close()
    assert classroom.media.dropped["unknown_address"] >= 1
    await transport.connect()
    await until(lambda: classroom.media.peer_state(ROOM, "sam").transports[0].connected)


async def test_dtls_junk_in_and_after_a_handshake_does_not_break_it(classroom: Classroom) -> None:
    sam = classroom.person("sam")
    transport = sam.make("recv")
    classroom.media.connect_transport(ROOM, "sam", transport.made.transport_id, transport.dtls_parameters)
    await transport.open()
    await transport.check()
    zero_fragment = bytes.fromhex("16feff0000000000000000000c" + "010000000000000000000000")
    junk = [zero_fragment, b"\x16", b"\x16\xfe\xfd" + bytes(10), b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28"]
    junk += [bytes([first]) * 60 for first in range(20, 64, 7)]
    for datagram in junk:
        transport.send_raw(datagram)
    await transport.handshake()
    for datagram in junk:
        transport.send_raw(datagram)
    await transport.check()
    assert classroom.media.peer_state(ROOM, "sam").transports[0].connected


async def test_rtp_before_dtls_is_dropped(classroom: Classroom) -> None:
    sam = classroom.person("sam")
    transport = sam.make("send")
    await transport.open()
    await transport.check()
    transport.send_raw(OpusSender(1).packet())
    await until(lambda: classroom.media.dropped["before_dtls"] == 1)


async def test_plain_and_forged_rtp_is_not_forwarded(lesson: Lesson) -> None:
    before = len(lesson.down.rtp)
    lesson.up.send_raw(lesson.voice.packet())  # plain
    forged = bytearray(lesson.up.send_session.protect(lesson.voice.packet()))
    forged[-3] ^= 1
    lesson.up.send_raw(bytes(forged))
    lesson.up.send_raw(b"\x80\x6f")
    await until(lambda: lesson.dropped["unauthentic"] == 2)
    with lesson.stranger() as sock:
        sock.send(lesson.up.send_session.protect(lesson.voice.packet()))
        await until(lambda: lesson.dropped["unknown_address"] == 1)
    assert len(lesson.down.rtp) == before


async def test_another_peers_ssrc_does_not_get_into_his_stream(lesson: Lesson) -> None:
    olga = lesson.classroom.person("olga")
    olgas = await olga.connect("send")
    before = len(lesson.down.rtp)
    liar = OpusSender(2222)
    liar.number = lesson.voice.number
    for _ in range(5):
        olgas.send_rtp(liar.packet())
    await until(lambda: lesson.dropped["unknown_stream"] == 5)
    assert len(lesson.down.rtp) == before


async def test_of_ten_thousand_ssrcs_no_more_than_twenty_are_looked_at(lesson: Lesson) -> None:
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for index in range(10_000):
        packet = build_rtp(
            payload_type=OPUS, sequence_number=1, timestamp=0, ssrc=0x10000 + index, payload=b"x", extensions={4: b"9"}
        )
        lesson.up.send_rtp(packet)
        if index % 50 == 0:
            await asyncio.sleep(0)
    await until(lambda: lesson.dropped["ssrc_limit"] + lesson.dropped["flood"] > 5_000)
    assert lesson.dropped["ssrc_limit"] > 1_000, "not only for being so many at once"
    heard = len(lesson.down.rtp)

    def is_heard_again() -> bool:
        lesson.up.send_rtp(lesson.voice.packet())
        return len(lesson.down.rtp) > heard

    await until(is_heard_again)  # who floods loses his own voice for the rest of that second
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    peer = lesson.classroom.media.routers[ROOM].peers["tina"]
    assert peer.ssrc_count == 20
    # The peer's own SRTP session keeps state for each SSRC that it protected; that is C memory, and not ours.
    assert after - before < 20_000_000


async def test_a_new_producer_still_gets_through_when_old_ones_were_closed_often(lesson: Lesson) -> None:
    media = lesson.classroom.media
    for index in range(30):
        camera = lesson.tina.produce("video", "screen", vp8_parameters(5000 + 10 * index, mid="7"))
        sender = Vp8Sender(5000 + 10 * index, mid="7")
        lesson.up.send_rtp(sender.frame(1, key=True)[0])
        await until(partial(has_packets, media, camera))
        media.close_producer(ROOM, "tina", camera)
    assert lesson.dropped["ssrc_limit"] == 0


def has_packets(media: MediaServer, producer_id: str) -> bool:
    producers = media.stats(ROOM, "tina").producers
    return next(p for p in producers if p["producer_id"] == producer_id)["streams"][0]["packets"] > 0


async def test_malformed_packets_of_an_authenticated_peer_are_counted_and_dropped(lesson: Lesson) -> None:
    """Their SRTP is right, so they reach the parsers: lengths that lie, padding that is too long, bad UTF-8."""
    before = len(lesson.down.rtp)
    packets = [
        padded(113) + b"\xff" * 20,  # padding longer than the packet
        padded(114) + b"\x00" * 20,  # padding of no length
        build_rtp(payload_type=OPUS, sequence_number=1, timestamp=0, ssrc=9, extensions={EXTENSIONS_MID: b"\xff\xfe"}),
        build_rtp(payload_type=5, sequence_number=111, timestamp=0, ssrc=2222, payload=b"x"),
    ]
    two_byte = build_rtp(
        payload_type=OPUS, sequence_number=112, timestamp=0, ssrc=2222, extensions={200: b"abc"}, two_byte=True
    )
    packets.append(two_byte[:17] + b"\xff" + two_byte[18:])
    for packet in packets:
        lesson.up.send_rtp(packet)
    await until(lambda: lesson.dropped["malformed"] == 4 and lesson.dropped["payload_type"] == 1)
    assert len(lesson.down.rtp) == before


def padded(number: int) -> bytes:
    """A header that says that padding follows."""
    header = build_rtp(payload_type=OPUS, sequence_number=number, timestamp=0, ssrc=2222)
    return bytes([header[0] | 0x20]) + header[1:]


EXTENSIONS_MID = EXTENSIONS["urn:ietf:params:rtp-hdrext:sdes:mid"]


async def test_malformed_rtcp_of_an_authenticated_peer_is_counted_and_dropped(lesson: Lesson) -> None:
    session = lesson.down.send_session
    assert session is not None
    packets = [
        b"\x81\xc8\x00\x01" + bytes(4),  # a sender report without its body
        b"\x8f\xce\x00\x05" + bytes(8) + b"REMB" + b"\xff\x00\x00\x00" + bytes(4),  # 255 SSRCs, and one there
        b"\x9f\xca\x00\x01" + bytes(4),  # 31 chunks, and none there
        b"\x81\xcd\x00\x02" + bytes(8),  # a NACK for nothing
        b"\x81\xca\x00\x02" + bytes(4) + b"\x01\xff\x41\x41",  # an SDES item that overruns
    ]
    for packet in packets:
        lesson.down.send_raw(session.protect_rtcp(packet))
    await until(lambda: lesson.dropped["malformed_rtcp"] == len(packets))


async def test_a_bye_for_others_ends_nothing(lesson: Lesson) -> None:
    olga = lesson.classroom.person("olga")
    olgas = await olga.connect("recv")
    olgas.send_rtcp(Bye([1111, 2222, ssrc_of(lesson.voice_consumer), ssrc_of(lesson.picture_consumer)]))
    await olgas.check()
    assert len(lesson.classroom.media.room_state(ROOM).producers) == 2


async def test_a_nack_for_another_peers_consumer_draws_nothing(lesson: Lesson) -> None:
    olga = lesson.classroom.person("olga")
    olgas = await olga.connect("recv")
    number = lesson.down.headers(ssrc_of(lesson.picture_consumer))[0].sequence_number
    olgas.send_rtcp(Nack(sender_ssrc=1, media_ssrc=ssrc_of(lesson.picture_consumer), lost=[number]))
    await olgas.check()
    await lesson.goes_on()
    assert olgas.rtp == []
    assert lesson.down.headers(rtx_ssrc_of(lesson.picture_consumer)) == []


async def test_a_nack_flood_draws_at_most_ten_times_its_bytes(lesson: Lesson) -> None:
    for _ in range(100):
        for packet in lesson.picture.frame(10):
            lesson.up.send_rtp(packet)
        await asyncio.sleep(0)
    ssrc, rtx = ssrc_of(lesson.picture_consumer), rtx_ssrc_of(lesson.picture_consumer)
    await lesson.down.until(lambda: len(lesson.down.headers(ssrc)) >= 800)
    numbers = [h.sequence_number for h in lesson.down.headers(ssrc)]
    spent = 0
    for round_ in range(20):
        for start in range(0, len(numbers), 290):
            spent += len(lesson.down.send_rtcp(Nack(1, ssrc, numbers[start : start + 290])))
        spent += len(lesson.down.send_rtcp(Nack(1, ssrc, numbers[round_ : round_ + 600 : 3])))
    await until(lambda: lesson.dropped["nack_limit"] or lesson.dropped["nack_repeated"] > 1000)
    await lesson.goes_on()
    drawn = sum(len(p) + 16 for p in lesson.down.rtp if parse_rtp(p).ssrc == rtx)
    assert 0 < drawn <= 10 * spent + 20_000, "the first allowance is what a lost burst needs"


async def test_one_nack_of_a_whole_datagram_does_not_draw_two_hundred_kilobytes(lesson: Lesson) -> None:
    for packet in lesson.picture.frame(200):
        lesson.up.send_rtp(packet)
    ssrc, rtx = ssrc_of(lesson.picture_consumer), rtx_ssrc_of(lesson.picture_consumer)
    await lesson.down.until(lambda: len(lesson.down.headers(ssrc)) >= 200)
    last = lesson.down.headers(ssrc)[-1].sequence_number
    spent = len(lesson.down.send_rtcp(Nack(1, ssrc, list(range(last - 199, last + 1)))))
    await until(lambda: lesson.dropped["nack_limit"])
    await lesson.goes_on()
    drawn = sum(len(p) + 16 for p in lesson.down.rtp if parse_rtp(p).ssrc == rtx)
    assert drawn <= 10 * spent + 20_000


async def test_a_pli_flood_reaches_the_sender_as_one_request_in_half_a_second(lesson: Lesson) -> None:
    ssrc = ssrc_of(lesson.picture_consumer)
    await asyncio.sleep(0)
    lesson.up.rtcp.clear()
    for _ in range(500):
        lesson.down.send_rtcp(PictureLossIndication(sender_ssrc=1, media_ssrc=ssrc))
    await until(lambda: lesson.dropped["pli_limit"] > 100)
    plis = [p for p in lesson.up.rtcp if isinstance(p, PictureLossIndication)]
    assert len(plis) <= 2


async def test_a_replayed_packet_is_forwarded_once(lesson: Lesson) -> None:
    before = len(lesson.down.rtp)
    protected = lesson.up.send_session.protect(lesson.voice.packet())
    for _ in range(10):
        lesson.up.send_raw(protected)
    await until(lambda: lesson.dropped["replayed"] == 9)
    await lesson.down.until(lambda: len(lesson.down.rtp) == before + 1)


async def test_the_media_goes_on_across_the_wrap_of_numbers(lesson: Lesson) -> None:
    ssrc = ssrc_of(lesson.picture_consumer)
    before = len(lesson.down.headers(ssrc))
    for _ in range(60):  # the sender's numbers began at 65,000
        for packet in lesson.picture.frame(10):
            lesson.up.send_rtp(packet)
        await asyncio.sleep(0)
    await lesson.down.until(lambda: len(lesson.down.headers(ssrc)) == before + 600)
    numbers = [h.sequence_number for h in lesson.down.headers(ssrc)]
    assert numbers == list(range(numbers[0], numbers[0] + before + 600))


async def test_a_tcp_connection_that_sends_junk_or_a_giant_frame_is_closed_or_ignored(lesson: Lesson) -> None:
    port = lesson.classroom.media.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x00\x05junk!" + b"\x00\x00" + b"\x00\x01\x80")
    writer.write(b"\xff\xff")
    assert await asyncio.wait_for(reader.read(), 2) == b""
    writer.close()


async def test_tcp_strangers_cannot_pile_up(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfu.worker.tcp.MAX_STRANGERS", 3)
    monkeypatch.setattr("sfu.worker.tcp.HURRY", 0.2)
    port = lesson.classroom.media.port
    pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
    for reader, _ in pairs:
        assert await asyncio.wait_for(reader.read(), 2) == b""
    for _, writer in pairs:
        writer.close()
    await until(lambda: not lesson.classroom.media.endpoint.strangers)


async def test_silent_tcp_strangers_do_not_keep_a_peer_out(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfu.worker.tcp.MAX_STRANGERS", 3)
    pairs = [await asyncio.open_connection("127.0.0.1", lesson.classroom.media.port) for _ in range(3)]
    await until(lambda: len(lesson.classroom.media.endpoint.strangers) == 3)
    olga = lesson.classroom.person("olga")
    await olga.connect("recv", protocol="tcp")
    assert await asyncio.wait_for(pairs[0][0].read(), 2) == b"", "the oldest gave way"
    assert len(lesson.classroom.media.endpoint.strangers) == 2
    for _, writer in pairs:
        writer.close()


async def test_a_ninth_address_of_a_peer_pushes_out_the_oldest_not_the_one_in_use(lesson: Lesson) -> None:
    endpoint = lesson.classroom.media.endpoint
    sockets = [lesson.stranger() for _ in range(20)]
    try:
        for sock in sockets:
            sock.send(lesson.down.stun_request(nominate=False))
            assert await answered(sock) is not None
        assert len([p for p in endpoint.paths.values() if p.link.transport.peer.id == "sam"]) == 8
        await lesson.goes_on()
    finally:
        for sock in sockets:
            sock.close()


async def test_a_bug_in_the_timer_is_told_once_a_second_and_the_media_go_on(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ticks = []

    def broken(now: float) -> None:
        ticks.append(now)
        raise KeyError("a bug of ours")

    monkeypatch.setattr(lesson.classroom.media.agenda, "tick", broken)
    await until(lambda: len(ticks) >= 10)
    await lesson.goes_on()
    assert caplog.text.count("tick_failed") == 1
