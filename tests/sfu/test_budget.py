"""What a receiver gets over a line that carries less than all there is: the core on a computed link, in fake time."""

from __future__ import annotations

import heapq
import itertools

import pytest

from sfu.core.feedback import TransportFeedbackRecorder
from sfu.core.layers import Preference
from sfu.core.producer import Producer
from sfu.core.rtcp import PictureLossIndication, SenderReport
from sfu.core.rtp import parse_rtp
from sfu.protocol import ConsumerLayers, QualityWarning
from tests.sfu.network import FakeNetwork, FakePeer
from tests.sfu.senders import OpusSender, Vp8Sender, opus_parameters, simulcast_parameters, vp8_parameters

NTP = 0xE000_0000 << 32
SHAPES = ((1, 320), (2, 600), (4, 1000))  # packets a frame and bytes of each, 50 frames a second: 0.13, 0.5, 1.6 Mbit/s
MAX_QUEUE = 1.0  # seconds: what would wait longer is lost


class Camera:
    """A simulcast sender with clocks and numbers of its own for each layer."""

    def __init__(self, network: FakeNetwork, name: str) -> None:
        self.network, self.name = network, name
        self.peer = network.join(name, "send")
        self.producer = network.produce(self.peer, "video", simulcast_parameters())
        self.layers = [Vp8Sender(100 * (i + 1), rid=rid, size=SHAPES[i][1]) for i, rid in enumerate("qhf")]
        self.started = self.next_report = network.now
        network.each_tick.append(self.tick)

    def tick(self) -> None:
        wanted = {p.media_ssrc for p in self.peer.heard(PictureLossIndication)}
        self.peer.rtcp.clear()
        for layer, (packets, _) in zip(self.layers, SHAPES, strict=True):
            self.peer.send_rtp(*layer.frame(packets, key=layer.ssrc in wanted, ticks=1800))
        if self.network.now >= self.next_report:
            self.next_report = self.network.now + 1.0
            ntp = NTP + int((self.network.now - self.started) * 2**32)
            for layer in self.layers:
                self.peer.send_rtcp(SenderReport(ssrc=layer.ssrc, ntp_timestamp=ntp, rtp_timestamp=layer.timestamp))


class Line:
    """The way to one receiver, who reports each arrival as a browser does."""

    def __init__(self, network: FakeNetwork, peer: FakePeer, rate: float, delay: float = 0.025) -> None:
        self.network, self.peer, self.rate, self.delay = network, peer, rate, delay
        self.recorder = TransportFeedbackRecorder(sender_ssrc=1)
        self.free_at = network.now
        self.under_way: list[tuple[float, int]] = []  # (arrives, transport-wide number)
        self.seen = 0
        self.bytes = 0
        self.longest_queue = 0.0
        network.each_tick.append(self.tick)

    def tick(self) -> None:
        now = self.network.now
        for packet, left in zip(self.peer.rtp[self.seen :], self.peer.rtp_times[self.seen :], strict=True):
            begins = max(self.free_at, left)
            if begins - left > MAX_QUEUE:
                continue
            self.longest_queue = max(self.longest_queue, begins - left)
            self.free_at = begins + 8 * len(packet) / self.rate
            self.bytes += len(packet)
            place = parse_rtp(packet).extensions.get(5)
            if place is not None:
                number = int.from_bytes(packet[place[0] : place[0] + 2], "big")
                heapq.heappush(self.under_way, (self.free_at + self.delay, number))
        self.seen = len(self.peer.rtp)
        while self.under_way and self.under_way[0][0] <= now:
            arrived, number = heapq.heappop(self.under_way)
            self.recorder.received(number, arrived)
        for report in self.recorder.due(now):
            self.peer.send_rtcp(report)


class Viewer:
    def __init__(self, network: FakeNetwork, name: str, cameras: list[Camera], rate: float) -> None:
        self.network = network
        self.peer = network.join(name, "recv")
        self.consumers = [network.consume(self.peer, camera.producer, reports=True) for camera in cameras]
        self.line = Line(network, self.peer, rate)

    @property
    def layers(self) -> list[int | None]:
        return [c.seat.feed.stream.index if c.seat is not None else None for c in self.consumers]


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


def test_a_wide_line_gets_the_best_of_everything_and_keeps_it(network: FakeNetwork) -> None:
    cameras = [Camera(network, "tina"), Camera(network, "olga")]
    sam = Viewer(network, "sam", cameras, 20e6)
    network.advance(15.0)
    assert sam.layers == [2, 2]
    told = len(network.events)
    network.advance(30.0)
    assert sam.layers == [2, 2]
    assert [e for e in network.events[told:] if isinstance(e, ConsumerLayers)] == []


def test_who_joins_begins_with_a_coarse_picture_and_has_the_best_within_two_seconds(network: FakeNetwork) -> None:
    camera = Camera(network, "tina")
    network.advance(5.0)
    sam = Viewer(network, "sam", [camera], 20e6)
    network.advance(0.2)
    assert sam.layers == [0]
    network.advance(2.0)
    assert sam.layers == [2]


def test_who_joins_by_a_narrow_line_never_has_a_long_queue(network: FakeNetwork) -> None:
    camera = Camera(network, "tina")
    network.advance(5.0)
    sam = Viewer(network, "sam", [camera], 300e3)
    for _ in range(60):
        network.advance(0.5)
        assert sam.layers == [0]
    assert sam.line.longest_queue < 0.5


def test_a_narrow_line_gets_a_layer_that_fits_and_its_queue_is_soon_short(network: FakeNetwork) -> None:
    sam = Viewer(network, "sam", [Camera(network, "tina")], 800e3)
    network.advance(12.0)
    assert sam.layers == [1]
    sam.line.longest_queue = 0.0
    before = sam.line.bytes
    network.advance(20.0)
    assert sam.line.longest_queue < 0.5
    assert 8 * (sam.line.bytes - before) / 20 > 0.5 * 480e3


def test_a_line_that_carries_no_picture_loses_it_and_gets_it_back_when_it_is_wide_again(network: FakeNetwork) -> None:
    sam = Viewer(network, "sam", [Camera(network, "tina")], 5e6)
    network.advance(10.0)
    assert sam.layers == [2]
    sam.line.rate = 80e3
    network.advance(15.0)
    assert sam.layers == [None]
    sam.line.rate = 5e6
    network.advance(60.0)
    assert sam.layers == [2]


def test_a_picture_gives_way_to_a_voice_that_fills_the_line_however_little_it_takes_itself(
    network: FakeNetwork,
) -> None:
    tina = network.join("tina", "send")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    microphone = network.produce(tina, "audio", opus_parameters(7000))
    picture, voice = Vp8Sender(1111, size=170), OpusSender(7000, size=120)  # 19 and 57 kbit/s
    ticks = itertools.count()

    def send() -> None:
        tina.send_rtp(voice.packet())
        if next(ticks) % 4 == 0:
            key = any(isinstance(packet, PictureLossIndication) for packet in tina.rtcp)
            tina.rtcp.clear()
            tina.send_rtp(*picture.frame(key=key, ticks=7200))

    network.each_tick.append(send)
    sam = network.join("sam", "recv")
    consumer = network.consume(sam, camera, reports=True)
    network.consume(sam, microphone)
    line = Line(network, sam, 5e6)
    network.advance(10.0)
    assert consumer.seat is not None
    line.rate = 70e3
    network.advance(10.0)
    for _ in range(40):
        network.advance(1.0)
        assert consumer.seat is None, "the padding that tries for it is not taken for the line's being wide"
    line.longest_queue = 0.0
    network.advance(10.0)
    assert line.longest_queue < 0.5
    line.rate = 5e6
    network.advance(45.0)
    assert consumer.seat is not None


def test_another_line_is_not_judged_by_the_one_before(network: FakeNetwork) -> None:
    sam = Viewer(network, "sam", [Camera(network, "tina")], 5e6)
    sam.line.rate = 80e3
    network.advance(15.0)
    assert sam.layers == [None]
    sam.line.rate = 5e6
    sam.peer.transport.moved(network.now)
    network.advance(2.0)
    assert sam.layers == [2]


def test_who_has_no_room_for_a_picture_does_not_make_its_sender_begin_anew_for_the_others(network: FakeNetwork) -> None:
    camera = Camera(network, "tina")
    sam = Viewer(network, "sam", [camera], 80e3)
    network.advance(15.0)
    assert sam.layers == [None]
    asked = camera.producer.key_frames_requested
    for _ in range(10):
        sam.peer.send_rtcp(PictureLossIndication(1, camera.producer.ssrc))
        network.advance(0.5)
    assert camera.producer.key_frames_requested == asked


def test_whose_line_holds_his_pictures_down_is_told_so_and_not_every_second(network: FakeNetwork) -> None:
    camera = Camera(network, "tina")
    Viewer(network, "sam", [camera], 300e3)
    Viewer(network, "olga", [camera], 20e6)
    told = lambda: [e for e in network.events if isinstance(e, QualityWarning)]  # noqa: E731
    network.advance(4.0)
    assert told() == [], "one bad moment is not a narrow line"
    network.advance(30.0)
    assert told() == [QualityWarning(room="room", peer="sam", issue="bandwidth")]
    network.advance(60.0)
    assert len(told()) == 2


def test_one_weak_receiver_does_not_lower_anothers_picture(network: FakeNetwork) -> None:
    camera = Camera(network, "tina")
    sam, olga = Viewer(network, "sam", [camera], 300e3), Viewer(network, "olga", [camera], 20e6)
    network.advance(30.0)
    assert sam.layers == [0]
    assert olga.layers == [2]


def test_the_screen_comes_before_the_tiles(network: FakeNetwork) -> None:
    cameras = [Camera(network, name) for name in ("tina", "olga", "pia")]
    sam = Viewer(network, "sam", cameras, 2.5e6)
    sam.consumers[1].prefer(Preference(1280, 720, priority=4), network.now)
    network.advance(40.0)
    assert sam.layers[1] == 2
    assert all(layer is not None for layer in sam.layers)


def test_the_layers_change_seldom(network: FakeNetwork) -> None:
    Viewer(network, "sam", [Camera(network, "tina"), Camera(network, "olga")], 1.5e6)
    network.advance(20.0)
    told = len(network.events)
    network.advance(60.0)
    changes = [e for e in network.events[told:] if isinstance(e, ConsumerLayers)]
    assert len(changes) <= 6


def test_many_small_tiles_are_all_there_before_anything_is_known_of_the_line(network: FakeNetwork) -> None:
    """No picture is taken away because the estimate begins low: only where the line has shown that it is narrow."""
    cameras = [Camera(network, f"p{number}") for number in range(30)]
    sam = Viewer(network, "sam", cameras, 50e6)
    for consumer in sam.consumers:
        consumer.prefer(Preference(160, 90), network.now)
    for _ in range(20):
        network.advance(0.5)
        assert network.now < 1001 or None not in sam.layers


@pytest.mark.parametrize("reports", [False, True])
def test_a_receiver_who_reports_nothing_gets_what_is_of_use(network: FakeNetwork, reports: bool) -> None:
    """Also one who said that he would: he is waited for, and not for ever."""
    camera = Camera(network, "tina")
    network.advance(5.0)
    olga = network.join("olga", "recv")
    consumer = network.consume(olga, camera.producer, reports=reports)
    network.advance(5.0)
    assert consumer.seat is not None
    assert consumer.seat.feed.stream.index == 2


def test_padding_does_not_show_in_the_picture(network: FakeNetwork) -> None:
    sam = Viewer(network, "sam", [Camera(network, "tina")], 5e6)
    sam.line.rate = 600e3
    network.advance(10.0)
    sam.line.rate = 5e6
    network.advance(20.0)
    assert sam.layers == [2], "a probe has found that the line carries more"
    headers = sam.peer.headers()
    padding = [h for h in headers if h.payload_end == h.payload_offset]
    assert padding
    ssrc = sam.consumers[0].producer.ssrc
    assert {h.ssrc for h in padding} == {ssrc + 1}
    numbers = [h.sequence_number for h in headers if h.ssrc == ssrc + 1]
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))


def test_who_has_a_narrow_line_gets_a_large_key_frame_little_by_little_and_others_at_once(network: FakeNetwork) -> None:
    tina = network.join("tina", "send")
    screen = network.produce(tina, "video", vp8_parameters(1111))
    sender = Vp8Sender(1111, size=1000)
    sam, olga = network.join("sam", "recv"), network.join("olga", "recv")
    network.consume(sam, screen, reports=True)
    network.consume(olga, screen, reports=True)
    lines = Line(network, sam, 800e3), Line(network, olga, 50e6)

    packets = 2  # 0.84 Mbit/s: a little more than his line carries

    def send() -> None:
        key = any(isinstance(packet, PictureLossIndication) for packet in tina.rtcp)
        tina.rtcp.clear()
        tina.send_rtp(*sender.frame(packets, key=key, ticks=1800))

    network.each_tick.append(send)
    network.advance(5.0)
    packets = 1
    network.advance(20.0)
    network.each_tick.remove(send)
    network.advance(1.0)
    assert sam.transport.lane.pacer is not None
    assert olga.transport.lane.pacer is None
    before, lines[0].longest_queue = len(sam.rtp), 0.0
    tina.send_rtp(*sender.frame(100, key=True))
    assert len(sam.rtp) - before < 10
    network.advance(0.7)
    came = [at for at, packet in zip(sam.rtp_times[before:], sam.rtp[before:], strict=True)
            if parse_rtp(packet).ssrc == screen.ssrc]  # fmt: skip
    assert len(came) == 100, "and all of it in half a second"
    assert came[-1] - came[0] > 0.2
    assert len(set(olga.rtp_times[-100:])) == 1


def test_a_camera_of_one_layer_is_not_taken_away_from_a_line_that_carries_it(network: FakeNetwork) -> None:
    tina = network.join("tina", "send")
    camera: Producer = network.produce(tina, "video", vp8_parameters(1111))
    sender = Vp8Sender(1111)
    first = [True]

    def tick() -> None:
        tina.send_rtp(*sender.frame(4, key=first[0], ticks=1800))
        first[0] = False

    sam = network.join("sam", "recv")
    consumer = network.consume(sam, camera)
    network.each_tick.append(tick)
    Line(network, sam, 3e6)
    network.advance(30.0)
    assert consumer.seat is not None


def test_what_waited_for_a_narrow_line_leaves_before_what_came_since(network: FakeNetwork) -> None:
    """The line turns out to be wide between two packets that came together."""
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    network.consume(sam, camera)
    sender = Vp8Sender(1111)
    sam.transport.pace(500_000.0, network.now)
    tina.send_rtp(*sender.frame(60, key=True))
    assert len(sam.rtp) < 60
    for packet in sender.frame(60):
        tina.transport.receive_rtp(packet, len(packet), network.now)
    sam.transport.pace(None, network.now)
    network.deliver()
    numbers = [header.sequence_number for header in sam.headers()]
    assert numbers == list(range(numbers[0], numbers[0] + 120))
