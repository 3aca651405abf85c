"""Whatever is left out, and whoever goes over when: each receiver sees one stream, and can decode all of it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.core.consumer import Consumer
from sfu.core.layers import Preference
from sfu.core.rtcp import Nack, PictureLossIndication, SenderReport
from sfu.core.rtp import parse_rtp
from tests.sfu.layered import Decoder, Frames, SvcSender, Vp8Layers, assert_no_number_twice, svc_parameters
from tests.sfu.network import FakeNetwork, FakePeer
from tests.sfu.senders import simulcast_parameters

TICKS = 3000  # of the RTP clock, a picture
NTP = 0xE000_0000 << 32


class Camera:
    """Sends a picture a call; answers key frame requests."""

    def __init__(self, peer: FakePeer, codec: str, *, upon_each_other: bool = False) -> None:
        self.peer = peer
        self.frames = Frames()
        self.codec = codec
        self.pictures = 0
        self.key_pictures = 0
        self.senders: list[Any]
        if codec == "VP8":
            self.senders = [
                Vp8Layers(self.frames, 100 * (i + 1), rid, i, first_number=65_000 - 500 * i)
                for i, rid in enumerate("qhf")
            ]
        else:
            self.senders = [SvcSender(self.frames, codec, 100, upon_each_other=upon_each_other, first_number=65_000)]

    @property
    def parameters(self) -> dict[str, Any]:
        return simulcast_parameters() if self.codec == "VP8" else svc_parameters(self.codec, 100)

    def picture(self, counts: tuple[int, ...]) -> list[bytes]:
        wanted = {report.media_ssrc for report in self.peer.heard(PictureLossIndication)}
        self.peer.rtcp.clear()
        self.pictures += 1
        packets = []
        for sender in self.senders:
            key = sender.ssrc in wanted
            self.key_pictures += key
            packets += sender.picture_packets(counts, key=key, ticks=TICKS)
        return packets

    def report(self) -> None:
        ntp = NTP + self.pictures * TICKS * 2**32 // 90_000
        for sender in self.senders:
            self.peer.send_rtcp(SenderReport(ssrc=sender.ssrc, ntp_timestamp=ntp, rtp_timestamp=sender.timestamp))


class Room:
    def __init__(self, codec: str, *, upon_each_other: bool = False, viewers: int = 2) -> None:
        self.network = FakeNetwork()
        self.tina = self.network.join("tina", "send")
        self.camera = Camera(self.tina, codec, upon_each_other=upon_each_other)
        self.producer = self.network.produce(self.tina, "video", self.camera.parameters)
        self.viewers = [self.network.join(f"viewer{number}", "recv") for number in range(viewers)]
        self.consumers: list[Consumer] = [self.network.consume(peer, self.producer) for peer in self.viewers]
        self.random = random.Random(1)
        self.spoil = False
        self.counts: tuple[int, ...] = (1, 2, 3)

    def run(self, pictures: int) -> None:
        for _ in range(pictures):
            self.network.advance(0.04)
            packets = self.camera.picture(self.counts)
            if self.spoil:
                packets = [packet for packet in packets if self.random.random() > 0.05]
                for at in range(len(packets) - 1):
                    if self.random.random() < 0.1:
                        packets[at], packets[at + 1] = packets[at + 1], packets[at]
                packets += [packet for packet in packets if self.random.random() < 0.05]
            self.tina.send_rtp(*packets)
            if self.camera.pictures % 25 == 1:
                self.camera.report()

    def prefer(self, viewer: int, spatial: int | None, temporal: int | None) -> None:
        self.consumers[viewer].prefer(Preference(spatial=spatial, temporal=temporal), self.network.now)

    def turn(self, viewer: int) -> None:
        consumer = self.consumers[viewer]
        if consumer.paused:
            consumer.resume(self.network.now)
        else:
            consumer.pause()

    def ask_again(self, viewer: int) -> None:
        peer = self.viewers[viewer]
        numbers = [h.sequence_number for h in peer.headers()[-40:] if h.ssrc == self.producer.ssrc]
        if numbers:
            peer.send_rtcp(Nack(1, self.producer.ssrc, sorted(self.random.sample(numbers, min(5, len(numbers))))))

    def seen_by(self, viewer: int) -> Decoder:
        return Decoder(self.camera.frames, self.camera.codec, self.viewers[viewer].rtp, self.producer.ssrc)

    def layers_seen_by(self, viewer: int, last: int) -> set[tuple[int, int]]:
        return {(frame.spatial, frame.temporal) for _, frame in self.seen_by(viewer).got[-last:]}


ALL = [("VP8", False), ("VP9", False), ("VP9", True), ("AV1", False), ("AV1", True)]


@pytest.mark.parametrize(("codec", "upon_each_other"), ALL[:3])
def test_each_gets_the_layers_that_he_asked_for_and_no_others(codec: str, upon_each_other: bool) -> None:
    room = Room(codec, upon_each_other=upon_each_other)
    room.run(100)
    room.prefer(0, 1, 1)
    room.run(50)
    for viewer, spatial, temporal in ((0, 1, 1), (1, 2, 2)):
        seen = room.layers_seen_by(viewer, 24)
        spatials = {spatial} if codec == "VP8" else set(range(spatial + 1))
        assert seen == {(s, t) for s in spatials for t in range(temporal + 1)}
        room.seen_by(viewer).assert_whole()


@pytest.mark.parametrize("upon_each_other", [False, True])
def test_of_av1_in_several_sizes_the_smallest_is_given_out_in_the_frame_rate_that_is_wanted(
    upon_each_other: bool,
) -> None:
    room = Room("AV1", upon_each_other=upon_each_other)
    room.run(50)
    before = room.camera.key_pictures
    room.prefer(0, None, 1)
    room.run(40)
    assert room.layers_seen_by(0, 12) == {(0, 0), (0, 1)}
    assert room.layers_seen_by(1, 12) == {(0, 0), (0, 1), (0, 2)}
    room.prefer(0, None, None)
    room.run(30)
    assert room.layers_seen_by(0, 12) == {(0, 0), (0, 1), (0, 2)}
    assert room.camera.key_pictures == before
    for viewer in (0, 1):
        room.seen_by(viewer).assert_whole()


@pytest.mark.parametrize(("codec", "upon_each_other"), ALL[1:3])
def test_down_within_one_stream_is_gone_at_the_next_picture_without_a_key_frame(
    codec: str, upon_each_other: bool
) -> None:
    room = Room(codec, upon_each_other=upon_each_other)
    room.run(100)
    before = room.camera.key_pictures
    room.prefer(0, 0, None)
    room.run(1)
    room.prefer(0, 0, 0)
    room.run(20)
    assert room.layers_seen_by(0, 4) == {(0, 0)}
    room.prefer(0, 0, None)
    room.run(100)
    assert room.layers_seen_by(0, 8) == {(0, 0), (0, 1), (0, 2)}
    assert room.camera.key_pictures == before
    room.prefer(0, None, None)
    room.run(100)
    assert room.camera.key_pictures == before + 1, "a larger picture needs one"
    assert (2, 2) in room.layers_seen_by(0, 12)
    room.seen_by(0).assert_whole()
    room.seen_by(1).assert_whole()


def test_the_recorders_get_the_best(  # of what one stream holds, with the marker where it was
) -> None:
    room = Room("VP9", viewers=0)
    taken: list[bytes] = []
    room.network.on_tapped = lambda producer, packet, now: taken.append(bytes(packet))
    room.network.router.add_tap(_Deaf(), room.network.now)
    room.run(120)
    decoder = Decoder(room.camera.frames, "VP9", taken, room.producer.ssrc)
    decoder.assert_whole()
    assert {(frame.spatial, frame.temporal) for _, frame in decoder.got[-12:]} == {
        (s, t) for s in range(3) for t in range(3)
    }


class _Deaf:
    def wants(self, peer: str) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("prefer"),
            st.integers(0, 2),
            st.sampled_from([None, 0, 1, 2]),
            st.sampled_from([None, 0, 1, 2]),
        ),
        st.tuples(st.just("turn"), st.integers(0, 2)),
        st.tuples(st.just("ask_again"), st.integers(0, 2)),
        st.tuples(st.just("run"), st.integers(1, 40)),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(ALL), ACTIONS, st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)))
def test_whoever_goes_over_when_sees_one_stream(
    sender: tuple[str, bool], actions: list[tuple[Any, ...]], counts: tuple[int, ...]
) -> None:
    room = Room(sender[0], upon_each_other=sender[1], viewers=3)
    room.counts = counts
    room.run(60)
    for action, *arguments in actions:
        getattr(room, action)(*arguments)
        room.run(3)
    room.run(60)
    for viewer, consumer in enumerate(room.consumers):
        room.seen_by(viewer).assert_whole()
        assert_no_number_twice(room.viewers[viewer].rtp)
        assert consumer.paused or room.layers_seen_by(viewer, 30), "nobody is forgotten"


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(ALL), ACTIONS)
def test_on_a_bad_way_up_no_number_is_used_twice(sender: tuple[str, bool], actions: list[tuple[Any, ...]]) -> None:
    """Packets are lost, overtake each other and come twice."""
    room = Room(sender[0], upon_each_other=sender[1], viewers=3)
    room.spoil = True
    room.run(40)
    for action, *arguments in actions:
        getattr(room, action)(*arguments)
        room.run(3)
    for viewer in range(3):
        assert_no_number_twice(room.viewers[viewer].rtp)
        numbers = [
            h.sequence_number for p in room.viewers[viewer].rtp if (h := parse_rtp(p)).ssrc == room.producer.ssrc
        ]
        assert not numbers or (max(numbers) - min(numbers) < 0x8000), "they go on from where they were"
