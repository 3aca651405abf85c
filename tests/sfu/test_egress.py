"""How packets leave: as few sends as sizes allow, one by one where the kernel cannot, and never unprotected."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sfu.core.rtp import parse_rtp
from sfu.core.stream import Stream
from sfu.core.transport import Transport
from sfu.protocol import PeerClosed
from sfu.worker.datagrams import Receiver, address_of, open_udp, socket_address
from sfu.worker.egress import Egress
from tests.sfu.classroom import ROOM, Classroom
from tests.sfu.network import FakeNetwork
from tests.sfu.senders import OpusSender, Vp8Sender, vp8_parameters
from tests.waiting import until


@pytest.fixture
def egress() -> Iterator[Egress]:
    with open_udp("127.0.0.1", 0) as sock:
        egress = Egress(sock)
        egress.segments = True
        yield egress


def places(*sizes: int, tag: int = 16) -> list[tuple[int, int]]:
    found, at = [], 0
    for size in sizes:
        found.append((at, size))
        at += size + tag
    return found


def test_packets_of_one_size_leave_together_and_the_last_may_be_shorter(egress: Egress) -> None:
    runs = egress._runs(places(1000, 1000, 1000, 300), 16)
    assert runs == [(0, 3 * 1016 + 316, 1016)]


def test_a_longer_packet_or_one_after_a_shorter_begins_another_send(egress: Egress) -> None:
    runs = egress._runs(places(500, 1000, 1000, 300, 300, 1000), 16)
    assert [(size, segment) for _, size, segment in runs] == [(516, 0), (2 * 1016 + 316, 1016), (316, 0), (1016, 0)]


def test_without_segmentation_each_packet_is_a_send(egress: Egress) -> None:
    egress.segments = False
    assert len(egress._runs(places(1000, 1000, 1000), 16)) == 3


def test_no_send_exceeds_what_the_kernel_takes(egress: Egress) -> None:
    runs = egress._runs(places(*[1400] * 80), 16)
    assert all(size <= 65_000 and size // segment <= 64 for _, size, segment in runs)
    assert sum(size for _, size, _ in runs) == 80 * 1416


@pytest.mark.parametrize(("many", "segments"), [(True, True), (True, False), (False, False)])
async def test_all_ways_to_send_bring_the_same(classroom: Classroom, many: bool, segments: bool) -> None:
    egress = classroom.media.endpoint.egress
    egress.many, egress.segments = many, segments
    tina = classroom.person("tina")
    up = await tina.connect("send")
    camera, microphone = tina.camera(), tina.microphone()
    downs = []
    for name in ("sam", "olga", "pia", "quentin", "ria"):
        person = classroom.person(name)
        downs.append(await person.connect("recv"))
        person.consume(camera)
        person.consume(microphone)
    picture, voice = Vp8Sender(1111), OpusSender(2222)
    sent = picture.frame(7, key=True)
    picture.size = 400
    sent += [*picture.frame(1), voice.packet(), *picture.frame(30), voice.packet()]
    for packet in sent:
        up.send_rtp(packet)
    wanted = sorted(packet[parse_rtp(packet).payload_offset :] for packet in sent)
    for down in downs:
        await down.packets(len(sent))
        got = []
        for packet in down.rtp:
            header = parse_rtp(packet)
            got.append(packet[header.payload_offset : header.payload_end])
        assert sorted(got) == wanted
        assert down.unauthentic == 0


def test_packets_that_differ_by_a_byte_are_evened_and_stay_the_same_for_the_decoder() -> None:
    network = FakeNetwork()
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    network.consume(sam, network.produce(tina, "video", vp8_parameters(1111)))
    sender = Vp8Sender(1111)
    sent: list[bytes] = []
    for size in (1000, 999, 1000, 996, 995, 500, 1000):
        sender.size = size
        sent += sender.frame(1, key=not sent)
    for packet in sent:
        tina.transport.receive_rtp(packet, len(packet), network.now)
    [burst] = network.agenda.take_bursts()
    buffer = bytearray(65536)
    packets = [buffer[at : at + size] for at, size in burst.render(buffer, 16, network.now, even=True)]
    headers = [parse_rtp(packet) for packet in packets]
    assert [h.padding_length for h in headers] == [0, 1, 0, 4, 0, 0, 0], "five bytes are too many"
    assert [p[h.payload_offset : h.payload_end] for p, h in zip(packets, headers, strict=True)] == [
        p[parse_rtp(p).payload_offset :] for p in sent
    ]
    plain = [buffer[at : at + size] for at, size in burst.render(buffer, 0, network.now)]
    assert all(parse_rtp(packet).padding_length == 0 for packet in plain), "recorders get what was sent"


async def test_a_receiver_who_cannot_be_reached_does_not_stop_the_others(classroom: Classroom) -> None:
    tina, sam, olga = (classroom.person(name) for name in ("tina", "sam", "olga"))
    up = await tina.connect("send")
    await sam.connect("recv")
    olgas = await olga.connect("recv")
    microphone = tina.microphone()
    sam.consume(microphone)
    olga.consume(microphone)
    link = next(x for x in classroom.media.endpoint.links if x.transport.peer.id == "sam")
    assert link.path is not None
    # The kernel refuses to send from the loopback address to the world outside.
    link.path.name_buffer[0:16] = socket_address(("192.0.2.1", 9), socket.AF_INET)
    link.path.destination = ("192.0.2.1", 9)
    voice = OpusSender(2222)
    for _ in range(5):
        up.send_rtp(voice.packet())
    await olgas.until(lambda: len(olgas.rtp) == 5)
    assert classroom.media.counters()["packets_failed"] >= 5


async def test_a_bug_of_ours_ends_one_peer_and_no_other(classroom: Classroom, monkeypatch: pytest.MonkeyPatch) -> None:
    tina, sam, olga = (classroom.person(name) for name in ("tina", "sam", "olga"))
    up, olgas, down = await tina.connect("send"), await olga.connect("send"), await sam.connect("recv")
    sam.consume(tina.microphone(2222))
    sam.consume(olga.microphone(3333))
    real = Stream.receive

    def broken(self: Any, data: Any, header: Any, *arguments: Any, **options: Any) -> Any:
        if header.ssrc == 2222:
            raise RuntimeError("a bug")
        return real(self, data, header, *arguments, **options)

    monkeypatch.setattr(Stream, "receive", broken)
    up.send_rtp(OpusSender(2222).packet())
    olgas.send_rtp(OpusSender(3333).packet())
    await down.until(lambda: len(down.rtp) == 1)
    closed = [e for e in classroom.events if isinstance(e, PeerClosed)]
    assert [(e.peer, e.reason) for e in closed] == [("tina", "error")]


async def test_a_bug_in_a_timer_ends_one_peer_and_no_other(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    await tina.connect("send")
    await sam.connect("recv")
    real = Transport.each_second

    def broken(self: Transport, now: float) -> None:
        if self.peer.id == "tina":
            raise RuntimeError("a bug")
        real(self, now)

    monkeypatch.setattr(Transport, "each_second", broken)
    await until(lambda: classroom.events)
    assert [(e.peer, e.reason) for e in classroom.events if isinstance(e, PeerClosed)] == [("tina", "error")]
    assert classroom.media.peer_state(ROOM, "sam").transports[0].connected


async def test_what_is_on_its_way_leaves_before_libsrtp_forgets_how_far_it_was(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it the numbers of an SSRC count from nothing, under the same key."""
    tina, sam = classroom.person("tina"), classroom.person("sam")
    await tina.connect("send")
    await sam.connect("recv")
    made = sam.consume(tina.camera())
    transport = next(link.transport for link in classroom.media.endpoint.links if link.transport.peer.id == "sam")
    consumer = transport.consumers[made.consumer_id]
    order: list[str] = []
    monkeypatch.setattr(classroom.media.endpoint, "_send_packet", lambda *_: order.append("sent"))
    monkeypatch.setattr(Transport, "forget_sent", lambda *_: order.append("forgotten"))

    def broken(self: Transport, now: float) -> None:
        if self.peer.id == "tina":
            consumer.send_padding(100, now)
            raise RuntimeError("a bug")

    monkeypatch.setattr(Transport, "each_second", broken)
    await until(lambda: classroom.events)
    await until(lambda: len(order) == 2)
    assert order == ["sent", "forgotten"]


async def test_a_recorder_hears_the_packets_as_consumers_do(classroom: Classroom) -> None:
    tina = classroom.person("tina")
    up = await tina.connect("send")
    camera = tina.camera()
    heard: list[bytes] = []

    class Recorder:
        def rtp(self, producer_id: str, packet: memoryview, now: float) -> None:
            assert producer_id == camera
            heard.append(bytes(packet))

        def wants(self, peer: str) -> bool:
            return True

        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: None

    recorder: Any = Recorder()
    classroom.media.tap_room(ROOM, recorder)
    sent = Vp8Sender(1111).frame(5, key=True)
    for packet in sent:
        up.send_rtp(packet)
    await until(lambda: len(heard) == 5)
    headers = [parse_rtp(packet) for packet in heard]
    assert {h.payload_type for h in headers} == {101}
    assert len({h.ssrc for h in headers}) == 1
    numbers = [h.sequence_number for h in headers]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert [p[h.payload_offset :] for p, h in zip(heard, headers, strict=True)] == [
        p[parse_rtp(p).payload_offset :] for p in sent
    ]
    classroom.media.untap_room(ROOM, recorder)
    up.send_rtp(Vp8Sender(1111, first_number=65005).frame(1)[0])
    await until(lambda: classroom.media.stats(ROOM).producers[0]["streams"][0]["packets"] == 6)
    assert len(heard) == 5


def test_datagrams_are_read_with_their_addresses_and_too_long_ones_are_left_out() -> None:
    with open_udp("127.0.0.1", 0) as sock, open_udp("127.0.0.1", 0) as sender:
        receiver = Receiver(sock)
        for datagram in (b"one", b"", b"x" * 3000, b"two"):
            sender.sendto(datagram, sock.getsockname())
        count = receiver.read()
        got = [bytes(receiver.views[i][: receiver.lengths[i]]) for i in range(count)]
        assert got == [b"one", b"", b"", b"two"]
        assert address_of(receiver.keys[0]) == sender.getsockname()
        assert receiver.read() == 0


def test_what_is_read_late_and_together_still_tells_when_each_came() -> None:
    with open_udp("127.0.0.1", 0) as sock, open_udp("127.0.0.1", 0) as sender:
        receiver = Receiver(sock)
        deadline = time.monotonic() + 10
        while True:  # a kernel begins to stamp a moment after it was asked to
            start = time.monotonic()
            sender.sendto(b"one", sock.getsockname())
            sent = time.monotonic()
            while time.monotonic() < sent + 0.05:
                pass  # nothing is awaited: two arrivals are to lie apart
            again = time.monotonic()
            sender.sendto(b"two", sock.getsockname())
            count = receiver.read()
            first, second = receiver.times[:2]
            if count == 2 and start - 0.01 < first < sent + 0.02 and second >= again - 0.01:
                break
            assert time.monotonic() < deadline, f"{count} read; sent at {start}, {again}; came at {first}, {second}"


@pytest.mark.parametrize(("ip", "family"), [("192.0.2.7", socket.AF_INET), ("2001:db8::7", socket.AF_INET6)])
def test_addresses_survive_the_way_to_the_kernel_and_back(ip: str, family: int) -> None:
    assert address_of(socket_address((ip, 50000), family)) == (ip, 50000)
