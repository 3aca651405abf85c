"""Who comes a moment after a key frame gets it, and what came after it, instead of waiting for the next one."""

from __future__ import annotations

import itertools

import pytest

from sfu.core.feed import MAX_MISSED
from sfu.core.keyframes import NOT_BEFORE
from sfu.core.layers import Preference
from sfu.core.rtcp import Nack, PictureLossIndication
from tests.sfu.network import FakeNetwork, FakePeer
from tests.sfu.senders import Vp8Sender, simulcast_parameters, vp8_parameters
from tests.sfu.test_simulcast import assert_one_stream
from tests.sfu.test_temporal_layers import Camera, assert_whole, layers_of


class Lesson:
    """Tina's camera, and Sam, who was there for its key frame."""

    def __init__(self) -> None:
        self.network = FakeNetwork()
        self.tina, self.sam = self.network.join("tina", "send"), self.network.join("sam", "recv")
        self.camera = self.network.produce(self.tina, "video", vp8_parameters(1111))
        self.consumer = self.network.consume(self.sam, self.camera)
        self.sender = Vp8Sender(1111, first_number=100)
        self.send(3, key=True)

    def send(self, packets: int, *, key: bool = False, without: int | None = None) -> None:
        """`without`: the packet of them that is lost."""
        frame = self.sender.frame(packets, key=key)
        self.tina.send_rtp(*[packet for index, packet in enumerate(frame) if index != without])

    def join(self, name: str) -> FakePeer:
        peer = self.network.join(name, "recv")
        self.network.consume(peer, self.camera)
        return peer

    @property
    def requests(self) -> int:
        return len(self.tina.heard(PictureLossIndication))


@pytest.fixture
def lesson() -> Lesson:
    return Lesson()


def numbers(peer: FakePeer) -> list[int]:
    return [header.sequence_number for header in peer.headers()]


def test_a_class_that_comes_in_together_needs_one_key_frame(lesson: Lesson) -> None:
    people = []
    for number in range(20):
        lesson.network.advance(0.02)
        lesson.send(2)
        people.append(lesson.join(f"p{number}"))
        assert numbers(people[-1]) == numbers(lesson.sam)
    lesson.send(2)
    assert all(peer.payloads() == lesson.sam.payloads() for peer in people)
    for peer in people:
        assert_one_stream(peer)
    lesson.network.advance(1.0)
    assert lesson.requests == 1


def test_who_comes_later_waits_for_a_key_frame_of_his_own(lesson: Lesson) -> None:
    lesson.network.advance(NOT_BEFORE + 0.1)
    olga = lesson.join("olga")
    assert lesson.requests == 2
    lesson.send(2)
    assert olga.rtp == []
    lesson.send(3, key=True)
    assert len(olga.rtp) == 3


def test_where_a_packet_is_missing_nobody_begins(lesson: Lesson) -> None:
    lesson.send(3, without=1)
    assert lesson.join("olga").rtp == []


def test_where_nobody_watched_meanwhile_nothing_was_kept_and_nobody_begins(lesson: Lesson) -> None:
    lesson.consumer.pause()
    lesson.send(2)
    olga = lesson.join("olga")
    assert olga.rtp == []
    lesson.send(2, key=True)
    assert lesson.join("ben").payloads() == olga.payloads()


def test_more_than_a_large_key_frame_is_not_sent_at_once(lesson: Lesson) -> None:
    lesson.send(MAX_MISSED - 3)
    assert len(lesson.join("olga").rtp) == MAX_MISSED
    lesson.send(1)
    assert lesson.join("ben").rtp == []


def test_who_comes_back_sees_nothing_again(lesson: Lesson) -> None:
    lesson.join("olga")  # somebody goes on watching
    lesson.consumer.pause()
    lesson.send(2)
    lesson.consumer.resume(lesson.network.now)
    lesson.network.deliver()
    assert len(lesson.sam.rtp) == 3, "the key frame he has had"
    lesson.consumer.pause()
    lesson.network.advance(1.0)
    lesson.send(3, key=True)
    lesson.send(2)
    lesson.consumer.resume(lesson.network.now)
    lesson.network.deliver()
    assert len(lesson.sam.rtp) == 8, "this one came when he was away"
    assert_one_stream(lesson.sam)


def test_what_he_caught_up_with_he_may_ask_for_again(lesson: Lesson) -> None:
    lesson.send(2)
    olga = lesson.join("olga")
    olga.send_rtcp(Nack(1, lesson.camera.ssrc, [numbers(olga)[1], numbers(olga)[4]]))
    assert len(olga.rtp) == 7


def test_who_wants_fewer_pictures_a_second_catches_up_with_those() -> None:
    network = FakeNetwork()
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", simulcast_parameters(("q",)))
    encoder = Camera(network, tina)
    network.consume(sam, camera).prefer(Preference(temporal=1), network.now)
    network.advance(2.0)
    tina.send_rtp(*encoder.frame(key=True))
    network.advance(0.3)
    asked = encoder.key_frames
    olga = network.join("olga", "recv")
    consumer = network.consume(olga, camera, resume=False)
    consumer.prefer(Preference(temporal=1), network.now)
    consumer.resume(network.now)
    network.advance(0.3)
    assert encoder.key_frames == asked
    assert set(layers_of(olga)) == {0, 1}
    assert len(layers_of(olga)) > 10
    assert_whole(olga)
    assert olga.payloads() == sam.payloads()[-len(olga.rtp) :]


def test_a_recording_begins_when_it_is_begun(lesson: Lesson) -> None:
    heard: list[bytes] = []
    lesson.network.on_tapped = lambda producer_id, packet, now: heard.append(bytes(packet))

    class Recorder:
        def wants(self, peer: str) -> bool:
            return True

        def __getattr__(self, name: str):
            return lambda *arguments: None

    lesson.network.router.add_tap(Recorder(), lesson.network.now)
    lesson.send(2)
    assert heard == []
    lesson.send(3, key=True)
    assert len(heard) == 3


def test_numbers_of_all_who_came_at_different_moments_are_their_own(lesson: Lesson) -> None:
    """SRTP must never see a number twice: also not of what was on its way to the others."""
    olga = lesson.join("olga")
    lesson.tina.transport.receive_rtp(packet := lesson.sender.frame(1)[0], len(packet), lesson.network.now)
    ben = lesson.join("ben")  # while the packet waits to leave with others
    lesson.send(2)
    for peer in (lesson.sam, olga, ben):
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers(peer)))
        assert len(peer.rtp) == 6
