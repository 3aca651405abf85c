"""What a receiver asks for again: served once in a round trip, while it is fresh, and not beyond what asking cost."""

from __future__ import annotations

import pytest

from sfu.core.rtcp import Nack, ReceiverReport, ReportBlock, SenderReport
from sfu.core.rtp import parse_rtp
from sfu.protocol import Kind
from tests.sfu.network import FakeNetwork, FakePeer
from tests.sfu.senders import OpusSender, Vp8Sender, opus_parameters, vp8_parameters


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


class Lesson:
    def __init__(self, network: FakeNetwork) -> None:
        self.tina, self.sam = network.join("tina", "send"), network.join("sam", "recv")
        self.camera = network.produce(self.tina, "video", vp8_parameters(1111))
        self.consumer = network.consume(self.sam, self.camera)
        self.sender = Vp8Sender(1111)
        self.tina.send_rtp(*self.sender.frame(10, key=True))
        self.first = self.sam.headers()[0].sequence_number

    def ask(self, *lost: int) -> int:
        """How many packets come in answer."""
        before = len(self.sam.rtp)
        self.sam.send_rtcp(Nack(1, self.camera.ssrc, [self.first + n & 0xFFFF for n in lost]))
        return len(self.sam.rtp) - before


def test_a_packet_is_not_sent_again_within_a_round_trip(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    assert lesson.ask(3) == 1
    assert lesson.ask(3) == 0
    network.advance(0.2)
    assert lesson.ask(3) == 1


def test_the_round_trip_is_what_reports_tell(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    lesson.tina.send_rtcp(SenderReport(1111, 0xE0000000 << 32, lesson.sender.timestamp))
    network.advance(1.1)
    report = lesson.sam.heard(SenderReport)[0]
    network.advance(0.4)
    block = ReportBlock(ssrc=lesson.camera.ssrc, last_sr=report.ntp_timestamp >> 16 & 0xFFFFFFFF)
    before = network.now
    lesson.sam.send_rtcp(ReceiverReport(1, [block]))
    rtt = lesson.consumer.rtt
    assert rtt is not None
    assert 0.3 < rtt < 1.6
    assert before == network.now


def test_what_is_older_than_two_seconds_is_not_sent_again(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    network.advance(2.1)
    assert lesson.ask(0, 1, 2) == 0
    assert network.agenda.dropped["nack_too_old"] == 3


def test_what_was_never_sent_is_not_sent_again(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    assert lesson.ask(-1, 10, 5000, -20000) == 0


def test_repairs_have_running_numbers_of_their_own_and_new_transport_wide_ones(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    lesson.ask(2, 5, 7)
    repairs = [h for h in lesson.sam.headers() if h.ssrc == lesson.camera.ssrc + 1]
    numbers = [h.sequence_number for h in repairs]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
    wide = []
    for packet in lesson.sam.rtp:
        offset, size = parse_rtp(packet).extensions[5]
        wide.append(int.from_bytes(packet[offset : offset + size], "big"))
    assert wide == list(range(13))


def test_asking_much_draws_no_more_than_the_allowance(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    for _ in range(20):
        lesson.tina.send_rtp(*lesson.sender.frame(20))
    lesson.ask(*range(410))
    drawn = sum(len(p) for p in lesson.sam.rtp if parse_rtp(p).ssrc == lesson.camera.ssrc + 1)
    assert 10_000 < drawn <= 20_000 + 10 * 120
    assert network.agenda.dropped["nack_limit"] > 300


def test_at_a_fifth_of_loss_every_packet_is_sent_again(network: FakeNetwork) -> None:
    """2 Mbit/s of which 20 % are lost: 50 packets of 1 kB a second, each asked for with 16 bytes."""
    lesson = Lesson(network)
    sent = 10
    for _ in range(5 * 25):
        lesson.tina.send_rtp(*lesson.sender.frame(10, ticks=3600))
        network.advance(0.04)
        lost = range(sent, sent + 10, 5)
        sent += 10
        assert lesson.ask(*lost) == len(lost)
    assert network.agenda.dropped["nack_limit"] == 0


def test_voice_is_kept_for_one_second(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    microphone = network.produce(tina, "audio", opus_parameters(2222))
    network.consume(sam, microphone)
    tina.send_rtp(OpusSender(2222).packet())
    sent = sam.rtp[0]
    number = sam.headers()[0].sequence_number
    sam.send_rtcp(Nack(1, microphone.ssrc, [number]))
    assert sam.rtp == [sent, sent], "bit for bit"
    network.advance(1.1)
    sam.send_rtcp(Nack(1, microphone.ssrc, [number]))
    assert len(sam.rtp) == 2


def test_a_receiver_who_cannot_take_rtx_gets_no_video_again(network: FakeNetwork) -> None:
    """Sent again under its own numbers, it would carry another transport-wide number: two texts under one key."""
    lesson = Lesson(network)
    lesson.consumer.repair_payload_type = None
    assert lesson.ask(1, 2) == 0


def test_the_cache_forgets_by_age(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    for _ in range(500):
        lesson.tina.send_rtp(*lesson.sender.frame(10))
        network.now += 0.02
    assert 900 <= len(lesson.camera.streams[0].cache) <= 1020


def test_the_cache_forgets_by_number_when_much_comes_at_once(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    for _ in range(300):
        lesson.tina.send_rtp(*lesson.sender.frame(10))
    assert len(lesson.camera.streams[0].cache) == 2500


def send_time(packet: bytes) -> int:
    offset, size = parse_rtp(packet).extensions[4]
    return int.from_bytes(packet[offset : offset + size], "big")


def test_a_repair_carries_the_time_at_which_it_left_itself(network: FakeNetwork) -> None:
    """A receiver that measures the way by it would take the old time for a queue of that length."""
    lesson = Lesson(network)
    sent_at = send_time(lesson.sam.rtp[3])
    network.advance(0.5)
    assert lesson.ask(3) == 1
    assert 0.49 < (send_time(lesson.sam.rtp[-1]) - sent_at & 0xFFFFFF) / 262144 < 0.51


def test_who_waits_for_a_key_frame_cannot_draw_what_was_sent_to_others(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    olga = network.join("olga", "recv")
    network.advance(0.6)
    network.consume(olga, lesson.camera)
    olga.send_rtcp(Nack(1, lesson.camera.ssrc, [lesson.first + number for number in range(10)]))
    assert olga.rtp == []


def test_a_stream_that_fell_silent_keeps_nothing(network: FakeNetwork) -> None:
    lesson = Lesson(network)
    assert len(lesson.camera.streams[0].cache) == 10
    network.advance(3.1)
    assert len(lesson.camera.streams[0].cache) == 0


def test_what_arrived_is_timed_by_its_arrival_and_not_by_when_we_had_time_for_it(network: FakeNetwork) -> None:
    tina = network.join("tina", "send")
    microphone = network.produce(tina, "audio", opus_parameters(2222))
    sender = OpusSender(2222)
    for index in range(20):  # every 20 ms, but read four at a time
        packet = sender.packet()
        tina.transport.receive_rtp(packet, len(packet), 1000.0 + index // 4 * 0.08, 1000.0 + index * 0.02)
    stream = microphone.streams[0]
    assert stream.reception.jitter < 1
    assert stream.reception.highest is not None
    cached = stream.cache.get(stream.reception.highest)
    assert cached is not None
    assert cached.arrived == 1000.0 + 19 * 0.02


def test_a_voice_is_sent_again_bit_for_bit_whoever_came_meanwhile(network: FakeNetwork) -> None:
    """Anything else under the same number would give AES-GCM's key away."""
    tina, sam, olga = network.join("tina", "send"), network.join("sam", "recv"), network.join("olga", "recv")
    microphone = network.produce(tina, "audio", opus_parameters(2222))
    network.consume(sam, microphone)
    olgas = network.consume(olga, microphone)
    sender = OpusSender(2222)
    packets = [sender.packet() for _ in range(4)]
    tina.send_rtp(packets[0])
    olgas.pause()
    for packet in (packets[1], packets[3]):
        network.advance(0.02)
        tina.send_rtp(packet)
    olgas.resume(network.now)
    tina.send_rtp(packets[2])  # overtaken by the last one, and olga's first
    network.advance(0.2)
    for peer in (sam, olga):
        sent = {header.sequence_number: packet for header, packet in zip(peer.headers(), peer.rtp, strict=True)}
        before = len(peer.rtp)
        peer.send_rtcp(Nack(1, microphone.ssrc, list(sent)))
        assert len(peer.rtp) == before + len(sent)
        for header, packet in zip(peer.headers()[before:], peer.rtp[before:], strict=True):
            assert packet == sent[header.sequence_number]


def test_a_voice_that_is_about_to_leave_is_not_sent_again_before(network: FakeNetwork) -> None:
    """A packet that was missing comes in the moment in which it is asked for: its send time is not written yet."""
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    microphone = network.produce(tina, "audio", opus_parameters(2222))
    network.consume(sam, microphone)
    sender = OpusSender(2222)
    first, missing, third = (sender.packet() for _ in range(3))
    tina.send_rtp(first, third)
    number = sam.headers()[0].sequence_number + 1
    tina.transport.receive_rtp(missing, len(missing), network.now)
    sam.send_rtcp(Nack(1, microphone.ssrc, [number]))
    assert [header.sequence_number for header in sam.headers()].count(number) == 1


def speak(network: FakeNetwork, tina: FakePeer, sender: OpusSender, packets: int) -> None:
    for _ in range(packets):
        tina.send_rtp(sender.packet())
        network.advance(0.02)


@pytest.mark.parametrize("asks", [False, True])
def test_who_loses_packets_and_cannot_ask_gets_a_voice_twice_for_a_while(network: FakeNetwork, asks: bool) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    microphone = network.produce(tina, "audio", opus_parameters(2222))
    network.consume(sam, microphone, asks=asks)
    sender = OpusSender(2222)
    speak(network, tina, sender, 50)
    assert len(sam.rtp) == 50, "nothing was lost"

    sam.send_rtcp(ReceiverReport(1, [ReportBlock(ssrc=microphone.ssrc, fraction_lost=13)]))
    speak(network, tina, sender, 50)
    later = sam.rtp[50:]
    assert len(later) == len(set(later)) + (0 if asks else 49), "all but the newest"
    if not asks:
        first, again = later.index(sam.rtp[60]), len(later) - 1 - later[::-1].index(sam.rtp[60])
        assert sam.rtp_times[50 + again] - sam.rtp_times[50 + first] >= 0.02, "not in the same burst of losses"

    before = len(sam.rtp)
    network.advance(31)
    speak(network, tina, sender, 50)
    assert len(sam.rtp) == before + 50, "nothing was lost for a long time"


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_of_a_sender_that_began_anew_no_packet_takes_a_number_from_before(network: FakeNetwork, kind: Kind) -> None:
    """He may count on from where he was, under another SSRC: two packets under one number give AES-GCM's key away."""
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    parameters = opus_parameters(1) if kind == "audio" else vp8_parameters(1)
    parameters["encodings"] = [{}]  # told by its MID alone
    network.consume(sam, network.produce(tina, kind, parameters))

    def packets(ssrc: int) -> list[bytes]:
        if kind == "video":
            camera = Vp8Sender(ssrc, size=ssrc)
            return camera.frame(5, key=True) + camera.frame(5, key=True)
        microphone = OpusSender(ssrc, size=ssrc)
        return [microphone.packet() for _ in range(10)]

    tina.send_rtp(*packets(100))
    network.advance(0.5)
    again = packets(200)
    tina.send_rtp(again[5], *again[:5])  # overtaken by the one that is begun with
    sent = [header.sequence_number for header in sam.headers()]
    assert len(sent) == len(set(sent))
    sam.send_rtcp(Nack(1, sam.headers()[0].ssrc, sent[:10]))
    assert len(sam.rtp) == len(sent), "what had these numbers is gone"


def test_a_paused_camera_does_not_serve_as_padding(network: FakeNetwork) -> None:
    """A probe sends the newest packet again; of who has paused nothing leaves any more."""
    lesson = Lesson(network)
    assert lesson.consumer.send_newest_again(network.now) > 0
    lesson.camera.pause()
    assert lesson.consumer.send_newest_again(network.now) == 0
