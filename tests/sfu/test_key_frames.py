"""Key frames: asked for when somebody needs one, never more often than an encoder can answer."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from sfu.core.feed import Feed
from sfu.core.keyframes import KeyFrameRequests
from sfu.core.layers import TOP
from sfu.core.listener import Listener
from sfu.core.rtcp import FullIntraRequest, Nack, PictureLossIndication
from tests.sfu.network import FakeNetwork, FakePeer
from tests.sfu.senders import Vp8Sender, simulcast_parameters, vp8_parameters


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


def requests(peer: FakePeer) -> int:
    return len(peer.heard(PictureLossIndication))


def test_a_request_is_repeated_each_second_until_it_is_answered() -> None:
    key_frames = KeyFrameRequests()
    key_frames.request()
    sent = [at / 10 for at in range(50) if key_frames.due(at / 10)]
    assert sent == [0.0, 1.0, 2.0, 3.0, 4.0]
    key_frames.answered(5.0)
    assert not key_frames.due(9.0)


def test_two_requests_lie_half_a_second_apart() -> None:
    key_frames = KeyFrameRequests()
    sent = []
    for at in range(30):
        key_frames.request()
        if key_frames.due(at / 10):
            sent.append(at / 10)
            key_frames.answered(at / 10)
    assert sent == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_a_sender_who_never_answers_is_asked_ten_times() -> None:
    key_frames = KeyFrameRequests()
    key_frames.request()
    assert sum(key_frames.due(float(at)) for at in range(100)) == 10
    key_frames.request()
    assert key_frames.due(101.0)


def test_fifty_who_join_at_once_cause_one_request(network: FakeNetwork) -> None:
    tina = network.join("tina", "send")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    people = [network.join(f"p{number}", "recv") for number in range(50)]
    for peer in people:
        network.consume(peer, camera)
    assert requests(tina) == 1
    tina.send_rtp(*Vp8Sender(1111).frame(3, key=True))
    assert all(len(peer.rtp) == 3 for peer in people)
    network.advance(3.0)
    assert requests(tina) == 1


def test_who_join_one_after_the_other_have_a_picture_within_a_second_and_the_sender_makes_two_a_second(
    network: FakeNetwork,
) -> None:
    tina = network.join("tina", "send")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    sender = Vp8Sender(1111)
    asked: list[float] = []
    waits: list[float] = []
    waiting: dict[FakePeer, float] = {}

    def encode() -> None:
        wanted = bool(tina.heard(PictureLossIndication))
        tina.rtcp.clear()
        if wanted:
            asked.append(network.now)
        tina.send_rtp(*sender.frame(2, key=wanted, ticks=1800))
        for peer in [peer for peer in waiting if peer.rtp]:
            waits.append(network.now - waiting.pop(peer))

    network.each_tick.append(encode)
    for number in range(40):
        peer = network.join(f"p{number}", "recv")
        waiting[peer] = network.now
        network.consume(peer, camera)
        network.advance(0.12)
    network.advance(1.0)
    assert len(waits) == 40
    assert max(waits) <= 1.0
    assert min(later - earlier for earlier, later in itertools.pairwise(asked)) >= 0.48  # half a second, by the tick


def test_fir_is_as_good_as_pli(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    network.consume(sam, camera)
    tina.send_rtp(*Vp8Sender(1111).frame(3, key=True))
    network.advance(1.0)
    tina.rtcp.clear()
    sam.send_rtcp(FullIntraRequest(1, [(camera.ssrc, 1)]))
    assert requests(tina) == 1


def test_a_key_frame_is_asked_for_when_repair_has_failed(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    network.consume(sam, network.produce(tina, "video", vp8_parameters(1111)))
    sender = Vp8Sender(1111)
    tina.send_rtp(*sender.frame(3, key=True))
    tina.rtcp.clear()
    lost, *rest = sender.frame(3)
    tina.send_rtp(*rest)
    network.advance(0.3)
    assert len(tina.heard(Nack)) >= 3
    assert requests(tina) == 0
    network.advance(1.0)
    assert requests(tina) == 1
    assert lost


def test_a_paused_producer_is_not_asked_until_it_goes_on(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", vp8_parameters(1111), paused=True)
    network.consume(sam, camera)
    network.advance(2.0)
    assert requests(tina) == 0
    network.router.resume_producer(camera, network.now)
    network.deliver()
    assert requests(tina) == 1


def test_a_recorder_asks_for_a_key_frame_and_hears_the_same_numbers_as_a_consumer(network: FakeNetwork) -> None:
    tina = network.join("tina", "send")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    heard: list[str] = []

    class Recorder:
        def wants(self, peer: str) -> bool:
            return True

        def __getattr__(self, name: str):
            return lambda *arguments: heard.append(name)

    network.router.add_tap(Recorder(), network.now)
    network.deliver()
    assert heard == ["peer_opened", "producer_added"]
    assert requests(tina) == 1
    tina.send_rtp(*Vp8Sender(1111).frame(3, key=True))
    assert [feed.packets for feed in camera.feeds.values()] == [3]
    network.router.pause_producer(camera)
    network.router.close_peer("tina", "left")
    assert heard[2:] == ["producer_paused", "producer_closed", "peer_closed"]


class Deaf:
    """A recorder that hears and does nothing."""

    def wants(self, peer: str) -> bool:
        return True

    def __getattr__(self, name: str):
        return lambda *arguments: None


def test_what_is_recorded_has_a_key_frame_each_half_minute(network: FakeNetwork) -> None:
    """A film is composed in segments while the class goes on: each is decoded from the key frame before it."""
    tina = network.join("tina", "send")
    network.produce(tina, "video", vp8_parameters(1111))
    sender = Vp8Sender(1111)
    keys: list[float] = []

    def encode() -> None:
        wanted = bool(tina.heard(PictureLossIndication))
        tina.rtcp.clear()
        if wanted:
            keys.append(network.now)
        tina.send_rtp(*sender.frame(1, key=wanted, ticks=1800))

    network.each_tick.append(encode)
    tap = Deaf()
    network.router.add_tap(tap, network.now)
    began = network.now
    for _ in range(120):
        network.router.refresh_for_taps(network.now)
        network.advance(1.0)
    assert len(keys) == 5
    assert max(later - earlier for earlier, later in itertools.pairwise(keys)) < 27
    assert keys[0] - began < 0.1
    network.router.remove_tap(tap)
    network.advance(60.0)
    network.router.refresh_for_taps(network.now)
    network.advance(1.0)
    assert len(keys) == 5, "nobody records it any more"


def test_who_sends_key_frames_anyway_and_who_is_paused_is_asked_for_none(network: FakeNetwork) -> None:
    tina = network.join("tina", "send")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    sender = Vp8Sender(1111)
    network.router.add_tap(Deaf(), network.now)
    for _ in range(6):
        tina.send_rtp(*sender.frame(1, key=True))
        network.router.refresh_for_taps(network.now)
        network.advance(10.0)
    assert requests(tina) == 1
    network.router.pause_producer(camera)
    network.advance(60.0)
    network.router.refresh_for_taps(network.now)
    network.advance(1.0)
    assert requests(tina) == 1


def test_a_recorder_that_fails_is_taken_off_and_the_class_goes_on(network: FakeNetwork) -> None:
    class Broken:
        def __getattr__(self, name: str):
            raise OSError("disk full")

    network.router.add_tap(Broken(), network.now)
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    network.consume(sam, network.produce(tina, "video", vp8_parameters(1111)))
    tina.send_rtp(*Vp8Sender(1111).frame(3, key=True))
    assert len(sam.rtp) == 3
    assert network.router.taps == []


def test_a_sender_who_slept_through_all_requests_is_asked_again_when_he_sends(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    sender = Vp8Sender(1111)
    tina.send_rtp(*sender.frame(1, key=True))
    network.advance(5.0)
    network.consume(sam, camera)
    network.advance(30.0)
    assert requests(tina) == 10
    network.each_tick.append(lambda: tina.send_rtp(*sender.frame(1)))
    network.advance(1.1)
    assert requests(tina) == 11
    tina.send_rtp(*sender.frame(1, key=True))
    network.advance(3.0)
    assert sam.rtp
    assert requests(tina) == 11


def test_after_an_outage_that_hides_thousands_of_packets_the_sender_is_asked_at_once(network: FakeNetwork) -> None:
    """Numbers too far ahead are a new beginning: receivers are sent nothing before its key frame, and do not ask."""
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    network.consume(sam, camera)
    sender = Vp8Sender(1111)
    tina.send_rtp(*sender.frame(3, key=True))
    network.advance(2.0)
    tina.rtcp.clear()
    sender.number = sender.number + 5000 & 0xFFFF
    tina.send_rtp(*sender.frame(3))
    network.advance(0.02)
    assert requests(tina) == 1
    tina.send_rtp(*sender.frame(3, key=True))
    assert len(sam.rtp) == 6


def test_an_encoder_that_begins_anew_with_a_key_frame_is_not_asked_for_one(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    network.consume(sam, camera)
    sender = Vp8Sender(1111)
    tina.send_rtp(*sender.frame(3, key=True))
    network.advance(2.0)
    tina.rtcp.clear()
    sender.number = sender.number + 5000 & 0xFFFF
    tina.send_rtp(*sender.frame(3, key=True))
    network.advance(2.0)
    assert requests(tina) == 0
    assert len(sam.rtp) == 6


def test_a_layer_that_nobody_is_to_see_any_more_is_not_asked_further(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", simulcast_parameters())
    network.consume(sam, camera)
    low, high = (Vp8Sender(100 + index, rid=rid) for index, rid in enumerate("qf"))
    tina.send_rtp(*low.frame(1))
    network.advance(0.7)
    tina.send_rtp(*high.frame(1, key=True))  # the low one fell silent, and the high one is aimed at
    network.advance(0.5)
    tina.rtcp.clear()
    network.advance(5.0)
    assert 100 not in [p.media_ssrc for p in tina.heard(PictureLossIndication)]


def test_the_layers_of_one_picture_are_not_asked_at_the_same_time(network: FakeNetwork) -> None:
    tina = network.join("tina", "send")
    camera = network.produce(tina, "video", simulcast_parameters())
    for index, rid in enumerate("qhf"):
        tina.send_rtp(*Vp8Sender(100 + index, rid=rid).frame(1, key=True))
    network.advance(1.0)
    asked = []
    for stream in camera.streams:
        stream.want_key_frame(network.now)
    for _ in range(75):
        network.deliver()
        asked += [(round(network.now, 2), p.media_ssrc) for p in tina.heard(PictureLossIndication)]
        tina.rtcp.clear()
        network.advance(0.02)
    first = asked[0][0]
    assert len({ssrc for _, ssrc in asked}) > 1
    times = [at - first for at, _ in asked]
    assert all(later - before >= 0.499 for before, later in itertools.pairwise(times))


def test_a_layer_that_does_not_answer_keeps_no_other_from_being_asked(network: FakeNetwork) -> None:
    senders = [network.join(f"p{number}", "send") for number in range(8)]
    for sender in senders:
        camera = network.produce(sender, "video", simulcast_parameters())
        for index, rid in enumerate("qhf"):
            sender.send_rtp(*Vp8Sender(100 + index, rid=rid).frame(1, key=True))
        for layer in camera.layers:
            feed = Feed(camera, layer, TOP, first_number=1000)
            layer.stream.feeds.append(feed)
            Listener(camera).aim_at(feed, network.now)
    network.advance(3.1)
    for sender in senders:
        asked = Counter(report.media_ssrc for report in sender.heard(PictureLossIndication))
        assert [asked[100 + index] for index in range(3)] == [2, 2, 2]


def test_who_watches_sixteen_and_loses_them_all_may_ask_for_sixteen(network: FakeNetwork) -> None:
    sam = network.join("sam", "recv")
    senders = [network.join(f"p{number}", "send") for number in range(16)]
    cameras = []
    for number, sender in enumerate(senders):
        camera = network.produce(sender, "video", vp8_parameters(1000 + 10 * number))
        cameras.append(camera)
        network.consume(sam, camera)
        sender.send_rtp(*Vp8Sender(1000 + 10 * number).frame(1, key=True))
    network.advance(2.0)
    for sender in senders:
        sender.rtcp.clear()
    for camera in cameras:
        sam.send_rtcp(PictureLossIndication(1, camera.ssrc))
    assert [requests(sender) for sender in senders] == [1] * 16


def test_of_a_layer_that_nobody_looks_at_nothing_lost_is_asked_for(network: FakeNetwork) -> None:
    """Its repairs, and key frames in their place, would take what little such a line carries from the others."""
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    consumer = network.consume(sam, camera)
    sender = Vp8Sender(1111)
    tina.send_rtp(*sender.frame(3, key=True))
    network.advance(2.0)
    consumer.pause()
    for lost in (1, 1200):
        tina.rtcp.clear()
        sender.number = sender.number + lost & 0xFFFF
        tina.send_rtp(*sender.frame(3))
        network.advance(3.0)
        assert tina.heard(Nack) == tina.heard(PictureLossIndication) == []
    consumer.resume(network.now)
    tina.send_rtp(*sender.frame(3, key=True))
    sender.number = sender.number + 1 & 0xFFFF
    tina.send_rtp(*sender.frame(3))
    network.advance(0.1)
    assert len(tina.heard(Nack)[0].lost) == 1
