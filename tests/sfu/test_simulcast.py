"""A camera in three layers: the best one that is sent is forwarded, and receivers see one stream without a seam."""

from __future__ import annotations

import itertools

import pytest

from sfu.core.layers import Preference
from sfu.core.rtcp import Nack, PictureLossIndication, SenderReport
from sfu.core.rtp import build_rtp, parse_rtp
from sfu.core.vp8 import parse_vp8
from tests.sfu.network import FakeNetwork, FakePeer
from tests.sfu.senders import EXTENSIONS, VP8_RTX, Vp8Sender, simulcast_parameters

NTP = 0xE000_0000 << 32


class Encoder:
    """Three layers of one picture, each with clocks and numbers of its own; each tick a frame, every 20 ms."""

    def __init__(self, network: FakeNetwork, peer: FakePeer) -> None:
        self.network = network
        self.peer = peer
        self.layers = [Vp8Sender(100 * (i + 1), rid=rid, first_number=9000 * (i + 1)) for i, rid in enumerate("qhf")]
        for index, layer in enumerate(self.layers):
            layer.timestamp = 0x40000000 * (index + 1)
            layer.picture = 1000 * (index + 1)
            layer.tl0 = 50 * (index + 1)
        self.sending = {0, 1, 2}
        self.started = network.now
        self.next_report = network.now
        self.packets = 2

    def tick(self) -> None:
        wanted = {p.media_ssrc for p in self.peer.heard(PictureLossIndication)}
        self.peer.rtcp.clear()
        elapsed = self.network.now - self.started
        for index in sorted(self.sending):
            layer = self.layers[index]
            self.peer.send_rtp(*layer.frame(self.packets, key=layer.ssrc in wanted or layer.ssrc == 0, ticks=1800))
        if self.network.now >= self.next_report:
            self.next_report = self.network.now + 1.0
            for index in sorted(self.sending):
                layer = self.layers[index]
                ntp = NTP + int(elapsed * 2**32)
                self.peer.send_rtcp(SenderReport(ssrc=layer.ssrc, ntp_timestamp=ntp, rtp_timestamp=layer.timestamp))


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


class Lesson:
    def __init__(self, network: FakeNetwork) -> None:
        self.tina = network.join("tina", "send")
        self.sam = network.join("sam", "recv")
        self.camera = network.produce(self.tina, "video", simulcast_parameters())
        self.encoder = Encoder(network, self.tina)
        network.each_tick.append(self.encoder.tick)
        self.consumer = network.consume(self.sam, self.camera)


def current_rid(lesson: Lesson) -> str:
    seat = lesson.consumer.seat
    return seat.feed.stream.rid if seat is not None else ""


def assert_one_stream(peer: FakePeer, *, gaps: int = 0) -> None:
    """Numbers without a break, pictures counted on, time going forward: what a decoder sees."""
    headers = peer.headers()
    numbers = [h.sequence_number for h in headers]
    steps = [(b - a) & 0xFFFF for a, b in itertools.pairwise(numbers)]
    assert all(1 <= step <= 2 for step in steps)
    assert steps.count(2) <= gaps
    assert len({h.ssrc for h in headers}) == 1
    pictures: list[int] = []
    times: list[int] = []
    indexes: list[int] = []
    for header, payload in zip(headers, peer.payloads(), strict=True):
        vp8 = parse_vp8(payload, 0, len(payload))
        assert vp8 is not None
        assert vp8.picture_id is not None
        assert vp8.tl0_picture_index is not None
        if not pictures or pictures[-1] != vp8.picture_id:
            pictures.append(vp8.picture_id)
            times.append(header.timestamp)
            indexes.append(vp8.tl0_picture_index)
    assert all((b - a) & 0x7FFF == 1 for a, b in itertools.pairwise(pictures))
    assert all((b - a) & 0xFF == 1 for a, b in itertools.pairwise(indexes))
    ticks = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(times)]
    assert all(0 < t < 90000 for t in ticks)


def test_layers_are_told_by_rid_and_the_best_one_is_soon_forwarded(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    network.advance(5.0)
    assert current_rid(lesson) == "f"
    assert_one_stream(lesson.sam)
    assert [s.ssrc for s in lesson.camera.streams] == [100, 200, 300]


def test_a_picture_is_there_at_once_not_only_when_the_best_layer_is(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    network.advance(0.2)
    assert lesson.sam.rtp


def test_when_the_best_layer_stops_the_next_one_takes_over_and_back(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    network.advance(5.0)
    lesson.encoder.sending = {0, 1}
    network.advance(4.0)
    assert current_rid(lesson) == "h"
    lesson.encoder.sending = {0}
    network.advance(4.0)
    assert current_rid(lesson) == "q"
    lesson.encoder.sending = {0, 1, 2}
    network.advance(6.0)
    assert current_rid(lesson) == "f"
    assert_one_stream(lesson.sam, gaps=3)


def test_time_goes_on_at_its_pace_over_a_switch(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    network.advance(8.0)
    times = [h.timestamp for h in lesson.sam.headers()]
    ticks = {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(times)}
    # The sender reports tell how the layers' clocks stand to each other. A picture that was sent in the old layer
    # already comes 10 ms later in the new one, since no two may have one time.
    assert ticks <= {0, 1800, 901}
    assert sum(h.timestamp == b.timestamp for h, b in itertools.pairwise(lesson.sam.headers())) > 300


def test_no_better_layer_is_taken_before_its_clock_is_known(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    lesson.encoder.next_report = network.now + 1e9
    network.advance(6.0)
    before = current_rid(lesson)
    lesson.encoder.next_report = network.now
    network.advance(3.0)
    assert before != "f"
    assert current_rid(lesson) == "f"


def test_a_layer_that_comes_and_goes_within_two_seconds_is_not_taken(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    lesson.encoder.sending = {0, 1}
    network.advance(5.0)
    assert current_rid(lesson) == "h"
    for _ in range(3):
        lesson.encoder.sending = {0, 1, 2}
        network.advance(1.0)
        lesson.encoder.sending = {0, 1}
        network.advance(1.5)
    assert current_rid(lesson) == "h"


def test_packets_of_the_key_frame_that_came_before_its_first_are_not_lost(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    network.consume(sam, network.produce(tina, "video", simulcast_parameters(("q",))))
    layer = Vp8Sender(100, rid="q", first_number=65530)
    tina.send_rtp(*layer.frame(1))
    frame = layer.frame(6, key=True)
    tina.send_rtp(frame[1], frame[2], frame[0], frame[3], frame[5], frame[4])
    numbers = sorted(h.sequence_number for h in sam.headers())
    assert numbers == list(range(numbers[0], numbers[0] + 6))


def test_packets_of_the_layer_left_behind_are_not_forwarded_any_more(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    network.advance(5.0)
    late = lesson.encoder.layers[0].frame(1)
    before = len(lesson.sam.rtp)
    lesson.tina.send_rtp(*late)
    assert len(lesson.sam.rtp) == before


def test_rtx_of_a_layer_is_told_by_its_repaired_rid(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", simulcast_parameters())
    network.consume(sam, camera)
    layer = Vp8Sender(300, rid="f", first_number=20)
    frame = layer.frame(4, key=True)
    tina.send_rtp(frame[0], frame[1], frame[3])
    lost = parse_rtp(frame[2])
    tina.send_rtp(
        build_rtp(
            payload_type=VP8_RTX,
            sequence_number=77,
            timestamp=lost.timestamp,
            ssrc=999,
            payload=lost.sequence_number.to_bytes(2, "big") + frame[2][lost.payload_offset :],
            extensions={
                EXTENSIONS["urn:ietf:params:rtp-hdrext:sdes:mid"]: b"1",
                EXTENSIONS["urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"]: b"f",
            },
        )
    )
    assert camera.streams[2].rtx_ssrc == 999
    assert camera.streams[2].repaired == 1
    assert len(sam.rtp) == 4


def test_a_seven_bit_picture_id_is_widened(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    network.consume(sam, network.produce(tina, "video", simulcast_parameters(("q",))))
    for number in range(300):
        payload = bytes((0x90, 0x80, number & 127, 0 if number == 0 else 1, 7, 8))
        tina.send_rtp(
            build_rtp(
                payload_type=96,
                sequence_number=number,
                timestamp=number * 3000,
                ssrc=5,
                marker=True,
                payload=payload,
                extensions={
                    EXTENSIONS["urn:ietf:params:rtp-hdrext:sdes:mid"]: b"1",
                    EXTENSIONS["urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"]: b"q",
                },
            )
        )
    pictures = []
    for payload in sam.payloads():
        vp8 = parse_vp8(payload, 0, len(payload))
        assert vp8 is not None
        assert vp8.wide
        assert payload[-2:] == b"\x07\x08"
        pictures.append(vp8.picture_id)
    assert pictures == list(range(300))


def test_receivers_of_one_camera_get_different_layers_and_each_sees_one_stream(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    olga = network.join("olga", "recv")
    small = network.consume(olga, lesson.camera)
    network.advance(5.0)
    small.prefer(Preference(spatial=0), network.now)
    network.advance(3.0)
    assert small.seat is not None
    assert small.seat.feed.stream.rid == "q"
    assert current_rid(lesson) == "f"
    small.prefer(Preference(spatial=1), network.now)
    network.advance(3.0)
    assert small.seat.feed.stream.rid == "h"
    small.prefer(Preference(), network.now)
    network.advance(3.0)
    assert small.seat.feed.stream.rid == "f"
    assert_one_stream(olga, gaps=4)
    assert_one_stream(lesson.sam, gaps=1)


def test_what_comes_late_for_a_layer_is_not_sent_to_who_came_to_it_later(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    olga = network.join("olga", "recv")
    small = network.consume(olga, lesson.camera)
    network.advance(5.0)
    full = lesson.encoder.layers[2]
    held = full.frame(1)  # numbered before, and still on its way while olga goes to the low layer and back
    for limit, rid in ((0, "q"), (2, "f")):
        small.prefer(Preference(spatial=limit), network.now)
        while small.seat is None or small.seat.feed.stream.rid != rid:
            network.advance(0.02)
    numbers = [h.sequence_number for h in olga.headers()]
    before = len(lesson.sam.rtp)
    lesson.tina.send_rtp(*held)
    assert len(lesson.sam.rtp) == before + 1, "who was there all the time gets it"
    assert [h.sequence_number for h in olga.headers()] == numbers
    assert len(set(numbers)) == len(numbers)


def test_packets_on_their_way_out_keep_their_numbers_when_the_receiver_goes_over_to_another_layer(
    network: FakeNetwork,
) -> None:
    """All in one turn of the loop: the end of the old layer, and the key frame of the new one."""
    lesson = Lesson(network)
    network.advance(5.0)
    lesson.consumer.prefer(Preference(spatial=0), network.now)
    full, low = lesson.encoder.layers[2], lesson.encoder.layers[0]
    for packet in (*full.frame(3), *low.frame(3, key=True), *low.frame(2)):
        lesson.tina.transport.receive_rtp(packet, len(packet), network.now)
    network.deliver()
    assert_one_stream(lesson.sam, gaps=2)
    assert current_rid(lesson) == "q"


def test_a_number_left_out_at_a_change_of_layer_is_never_sent_again(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    network.advance(5.0)
    full, low = lesson.encoder.layers[2], lesson.encoder.layers[0]
    lesson.tina.send_rtp(*full.frame(3)[:2])  # unfinished
    lesson.consumer.prefer(Preference(spatial=0), network.now)
    lesson.tina.send_rtp(*low.frame(2, key=True))
    lesson.tina.send_rtp(*full.frame(3))  # the old layer goes on, under numbers of its own
    numbers = [h.sequence_number for h in lesson.sam.headers()]
    assert (numbers[-2] - numbers[-3]) & 0xFFFF == 2
    before = len(lesson.sam.rtp)
    lesson.sam.send_rtcp(Nack(1, lesson.camera.ssrc, [numbers[-3] + 1 & 0xFFFF]))
    assert len(lesson.sam.rtp) == before
    lesson.sam.send_rtcp(Nack(1, lesson.camera.ssrc, [numbers[-3], numbers[-2]]))
    assert len(lesson.sam.rtp) == before + 2


def test_who_pauses_and_comes_back_goes_on_in_the_feed_of_the_others(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    olga = network.join("olga", "recv")
    network.consume(olga, lesson.camera)
    network.advance(5.0)
    lesson.consumer.pause()
    network.advance(0.5)
    lesson.consumer.resume(network.now)
    network.advance(2.0)
    assert lesson.consumer.seat is not None
    assert len(lesson.consumer.seat.feed.seats) == 2
    assert_one_stream(lesson.sam, gaps=2)


def test_nobody_is_let_in_at_a_key_frame_that_comes_after_the_next_one(network: FakeNetwork) -> None:
    tina, sam, olga = network.join("tina", "send"), network.join("sam", "recv"), network.join("olga", "recv")
    camera = network.produce(tina, "video", simulcast_parameters(("q",)))
    network.consume(sam, camera)
    layer = Vp8Sender(100, rid="q", first_number=100)
    tina.send_rtp(*layer.frame(1))  # tells the layer; not a key frame
    late = layer.frame(2, key=True)
    tina.send_rtp(*layer.frame(2, key=True))
    network.advance(0.6)
    network.consume(olga, camera)
    tina.send_rtp(*late)
    tina.send_rtp(*layer.frame(1))
    assert olga.rtp == [], "she could decode nothing of it"
    tina.send_rtp(*layer.frame(2, key=True))
    assert len(olga.rtp) == 2
    assert_one_stream(olga)


def test_of_a_layer_that_nobody_looks_at_nothing_is_kept_and_who_wants_it_then_gets_it(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    low, _, high = lesson.camera.streams
    lesson.consumer.prefer(Preference(spatial=0), network.now)
    network.advance(6.0)
    assert len(low.cache) > 0
    assert len(high.cache) == 0
    assert lesson.camera.layers[2].own_rate > 0, "what it would cost is known all the same"
    lesson.consumer.prefer(Preference(spatial=2), network.now)
    network.advance(3.0)
    assert current_rid(lesson) == "f"
    assert_one_stream(lesson.sam, gaps=2)
