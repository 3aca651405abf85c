"""VP8 in temporal layers: frames are left out for who wants fewer, and numbers and pictures still go up by one."""

from __future__ import annotations

import itertools

import pytest

from sfu.core.layers import Preference
from sfu.core.rtcp import Nack, PictureLossIndication
from sfu.core.rtp import parse_rtp
from sfu.core.vp8 import parse_vp8
from sfu.protocol import ConsumerLayers
from tests.sfu.network import FakeNetwork, FakePeer
from tests.sfu.senders import Vp8Sender, simulcast_parameters
from tests.sfu.test_budget import Viewer

# libwebrtc's pattern of three layers: of each eight pictures the layer, and whether it refers to the lowest alone.
PATTERN = ((0, False), (2, True), (1, True), (2, False), (0, False), (2, False), (1, False), (2, False))


class Camera:
    """One encoder with three temporal layers, a picture each tick of 20 ms."""

    def __init__(self, network: FakeNetwork, peer: FakePeer) -> None:
        self.peer = peer
        self.sender = Vp8Sender(100, rid="q", first_number=65000, size=100)
        self.place = 0
        self.packets = 2
        self.key_frames = 0
        self.running = True
        network.each_tick.append(self.tick)

    def tick(self) -> None:
        wanted = self.peer.heard(PictureLossIndication)
        self.peer.rtcp.clear()
        if self.running:
            self.peer.send_rtp(*self.frame(key=bool(wanted) or self.sender.picture == 0x7FF0))

    def frame(self, *, key: bool = False) -> list[bytes]:
        if key:
            self.place = 0
            self.key_frames += 1
        temporal, sync = PATTERN[self.place]
        self.place = (self.place + 1) % len(PATTERN)
        return self.sender.frame(self.packets, key=key, ticks=1800, temporal=temporal, sync=sync)


class Lesson:
    def __init__(self) -> None:
        self.network = FakeNetwork()
        self.tina = self.network.join("tina", "send")
        self.sam = self.network.join("sam", "recv")
        self.camera = self.network.produce(self.tina, "video", simulcast_parameters(("q",)))
        self.encoder = Camera(self.network, self.tina)
        self.consumer = self.network.consume(self.sam, self.camera)
        self.network.advance(2.0)

    def prefer(self, temporal: int | None) -> None:
        self.consumer.prefer(Preference(temporal=temporal), self.network.now)


@pytest.fixture
def lesson() -> Lesson:
    return Lesson()


def layers_of(peer: FakePeer, since: int = 0) -> list[int]:
    """The temporal layer of each picture that was received."""
    found = []
    for header, payload in list(zip(peer.headers(), peer.payloads(), strict=True))[since:]:
        if header.ssrc % 2:
            continue  # repairs and padding have the SSRC above the picture's
        vp8 = parse_vp8(payload, 0, len(payload))
        assert vp8 is not None
        if header.marker:
            found.append(vp8.temporal_id)
    return found


def assert_whole(peer: FakePeer) -> None:
    """Numbers, pictures and indices of the lowest layer go up by one, times go up: nothing would be missed."""
    headers = peer.headers()
    assert all((b.sequence_number - a.sequence_number) & 0xFFFF == 1 for a, b in itertools.pairwise(headers))
    pictures, times, lowest = [], [], []
    for header, payload in zip(headers, peer.payloads(), strict=True):
        vp8 = parse_vp8(payload, 0, len(payload))
        assert vp8 is not None
        if vp8.begins_picture:
            pictures.append(vp8.picture_id or 0)
            times.append(header.timestamp)
            if vp8.temporal_id == 0:
                lowest.append(vp8.tl0_picture_index or 0)
            assert vp8.tl0_picture_index == lowest[-1]
    assert all((b - a) & 0x7FFF == 1 for a, b in itertools.pairwise(pictures))
    assert all((b - a) & 0xFF == 1 for a, b in itertools.pairwise(lowest))
    assert all(0 < (b - a) & 0xFFFFFFFF <= 4 * 1800 for a, b in itertools.pairwise(times))


@pytest.mark.parametrize(("temporal", "pattern"), [(0, [0]), (1, [0, 1]), (2, [0, 2, 1, 2]), (None, [0, 2, 1, 2])])
def test_a_receiver_gets_no_layer_above_the_one_that_he_asked_for(
    lesson: Lesson, temporal: int | None, pattern: list[int]
) -> None:
    lesson.prefer(temporal)
    lesson.network.advance(0.2)
    before = len(lesson.sam.rtp)
    lesson.network.advance(1.0)
    got = layers_of(lesson.sam, before)
    assert len(got) >= 12
    start = got.index(0)
    assert got[start : start + 12] == list(itertools.islice(itertools.cycle(pattern), 12))
    assert_whole(lesson.sam)


def test_going_down_and_up_needs_no_key_frame(lesson: Lesson) -> None:
    before = lesson.encoder.key_frames
    for temporal in (0, None, 1, 0, 1, 2):
        lesson.prefer(temporal)
        lesson.network.advance(3.0)
    assert lesson.encoder.key_frames == before
    assert layers_of(lesson.sam)[-8:].count(2) == 4
    assert_whole(lesson.sam)


def test_up_is_gone_where_a_picture_refers_to_the_lowest_layer_alone(lesson: Lesson) -> None:
    lesson.prefer(0)
    lesson.network.advance(1.0)
    before = len(lesson.sam.rtp)
    lesson.prefer(2)
    lesson.network.advance(3.0)
    upward = [
        vp8
        for payload in lesson.sam.payloads()[before:]
        if (vp8 := parse_vp8(payload, 0, len(payload))) is not None and vp8.temporal_id
    ]
    first = {layer: next(vp8 for vp8 in upward if vp8.temporal_id == layer) for layer in (1, 2)}
    assert first[1].layer_sync
    assert first[2].layer_sync
    assert upward[0].temporal_id == 1, "one layer after the other"


def test_others_get_all_of_it_meanwhile(lesson: Lesson) -> None:
    olga = lesson.network.join("olga", "recv")
    lesson.network.consume(olga, lesson.camera)
    lesson.network.advance(1.0)
    before = len(olga.rtp)
    lesson.prefer(0)
    lesson.network.advance(1.0)
    lesson.prefer(None)
    lesson.network.advance(2.0)
    assert len(olga.rtp) == before + 2 * 150
    assert_whole(olga)
    assert_whole(lesson.sam)


def test_receivers_of_fewer_frames_share_one_feed(lesson: Lesson) -> None:
    olga = lesson.network.join("olga", "recv")
    other = lesson.network.consume(olga, lesson.camera)
    lesson.prefer(1)
    other.prefer(Preference(temporal=1), lesson.network.now)
    lesson.network.advance(1.0)
    assert lesson.consumer.seat is not None
    assert other.seat is not None
    assert lesson.consumer.seat.feed is other.seat.feed
    assert len(other.seat.feed.seats) == 2


def test_the_page_is_told(lesson: Lesson) -> None:
    lesson.network.events.clear()
    lesson.prefer(0)
    lesson.network.advance(1.0)
    lesson.prefer(None)
    lesson.network.advance(3.0)
    told = [e.temporal for e in lesson.network.events if isinstance(e, ConsumerLayers)]
    assert told == [0, 1, 2]


def test_what_is_asked_for_again_is_found_among_the_frames_that_were_sent(lesson: Lesson) -> None:
    lesson.prefer(0)
    lesson.network.advance(1.5)
    kept = len(lesson.sam.rtp)
    lost = lesson.sam.rtp[-12:-4]
    lesson.sam.send_rtcp(Nack(1, lesson.camera.ssrc, [parse_rtp(packet).sequence_number for packet in lost]))
    again = lesson.sam.rtp[kept:]
    assert len(again) == 8
    for before, after in zip(lost, again, strict=True):
        old, new = parse_rtp(before), parse_rtp(after)
        assert new.ssrc == old.ssrc + 1
        assert new.timestamp == old.timestamp
        assert after[new.payload_offset : new.payload_offset + 2] == old.sequence_number.to_bytes(2, "big")
        assert after[new.payload_offset + 2 : new.payload_end] == before[old.payload_offset : old.payload_end]


def test_a_packet_of_a_frame_that_is_left_out_leaves_a_number_if_it_comes_late_and_nothing_else(lesson: Lesson) -> None:
    lesson.prefer(0)
    lesson.network.advance(1.0)
    lesson.encoder.running = False
    while PATTERN[lesson.encoder.place][0] != 2:
        lesson.tina.send_rtp(*lesson.encoder.frame())
    lesson.sam.rtp.clear()
    late, rest = lesson.encoder.frame()
    lesson.tina.send_rtp(rest)
    while lesson.encoder.place % 4 != 1:
        lesson.tina.send_rtp(*lesson.encoder.frame())
    numbers = [h.sequence_number for h in lesson.sam.headers()]
    assert numbers == [numbers[0], numbers[0] + 1]
    lesson.tina.send_rtp(late)
    blank = lesson.sam.headers()[-1]
    assert blank.sequence_number == numbers[0] - 1
    assert blank.payload_offset == blank.payload_end
    assert not blank.marker
    lesson.sam.send_rtcp(Nack(1, lesson.camera.ssrc, [blank.sequence_number]))
    repair = lesson.sam.headers()[-1]
    assert repair.payload_end - repair.payload_offset == 2, "sent again, it is as empty"


def test_who_was_paused_comes_back_with_a_key_frame_in_the_layers_that_he_wants(lesson: Lesson) -> None:
    lesson.prefer(1)
    lesson.network.advance(1.0)
    lesson.consumer.pause()
    lesson.network.advance(1.0)
    before, key_frames = len(lesson.sam.rtp), lesson.encoder.key_frames
    lesson.consumer.resume(lesson.network.now)
    lesson.network.advance(2.0)
    assert lesson.encoder.key_frames == key_frames + 1
    assert set(layers_of(lesson.sam, before)) == {0, 1}


def test_a_sender_that_begins_anew_begins_in_every_feed(lesson: Lesson) -> None:
    olga = lesson.network.join("olga", "recv")
    lesson.network.consume(olga, lesson.camera)
    lesson.prefer(0)
    lesson.network.advance(2.0)
    lesson.encoder.sender.number = 20_000
    lesson.network.advance(2.0)
    for peer in (lesson.sam, olga):
        numbers = [h.sequence_number for h in peer.headers()]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        assert len(layers_of(peer)) > 40


def test_a_line_that_is_too_thin_for_all_frames_gets_fewer_of_them_and_all_when_it_is_wide_again() -> None:
    network = FakeNetwork()
    tina = network.join("tina", "send")
    producer = network.produce(tina, "video", simulcast_parameters(("q",)))
    encoder = Camera(network, tina)
    encoder.packets, encoder.sender.size = 2, 1000  # 0.8 Mbit/s, half of it in every other frame
    sam = Viewer(network, "sam", [], 0.55e6)
    sam.consumers.append(network.consume(sam.peer, producer, reports=True))
    network.advance(15.0)
    before = len(sam.peer.rtp)
    network.advance(10.0)
    assert set(layers_of(sam.peer, before)) <= {0, 1}, "no seam, and never nothing"
    assert len(layers_of(sam.peer, before)) > 200
    told = [e for e in network.events if isinstance(e, ConsumerLayers)]
    sam.line.rate = 10e6
    network.advance(25.0)
    before = len(sam.peer.rtp)
    network.advance(1.0)
    assert set(layers_of(sam.peer, before)) == {0, 1, 2}
    changes = [e.temporal for e in network.events if isinstance(e, ConsumerLayers)][len(told) :]
    assert changes == [2], "up once, and not to and fro"


def test_nobody_goes_over_while_a_picture_before_is_missing(lesson: Lesson) -> None:
    """Else its number and its id would be closed up, and what refers to it be drawn upon another picture."""
    lesson.encoder.running = False
    while PATTERN[lesson.encoder.place][0] != 1:
        lesson.tina.send_rtp(*lesson.encoder.frame())
    lesson.prefer(1)
    lost = lesson.encoder.frame()
    while PATTERN[lesson.encoder.place][0] == 2:
        lesson.encoder.frame()  # lost as well
    lesson.tina.send_rtp(*lesson.encoder.frame())
    seat = lesson.consumer.seat
    assert seat is not None
    assert seat.feed.temporal != 1
    numbers = [h.sequence_number for h in lesson.sam.headers()]
    assert (numbers[-lesson.encoder.packets] - numbers[-lesson.encoder.packets - 1]) & 0xFFFF > len(lost)
    for _ in range(2):
        lesson.tina.send_rtp(*lesson.encoder.frame())
    seat = lesson.consumer.seat
    assert seat is not None
    assert seat.feed.temporal == 1
