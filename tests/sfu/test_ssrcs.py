"""SSRCs come and go in a long class: each has its place while it is heard, and none is kept for ever."""

from __future__ import annotations

from socket import htonl

import pytest

from sfu.core.rtcp import Nack, ReceiverReport
from sfu.core.rtp import build_rtp
from sfu.worker.srtp import lib
from tests.sfu.classroom import ROOM, Classroom
from tests.sfu.network import FakeNetwork
from tests.sfu.senders import OPUS, OpusSender, Vp8Sender, opus_parameters, vp8_parameters
from tests.waiting import until


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


def nobodys(ssrc: int) -> bytes:
    """A packet that belongs to no producer."""
    return build_rtp(payload_type=OPUS, sequence_number=1, timestamp=0, ssrc=ssrc, payload=b"x")


async def test_an_encoder_that_begins_anew_again_and_again_leaves_nothing_in_libsrtp(
    classroom: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.core.stream.RESTART_AFTER", 0.0)
    tina = classroom.person("tina")
    up = await tina.connect("send")
    parameters = opus_parameters(1)
    parameters["encodings"] = [{}]  # told by its MID alone
    tina.produce("audio", "microphone", parameters)
    for ssrc in range(5000, 5100):
        up.send_rtp(OpusSender(ssrc).packet())
    stats = lambda: classroom.media.stats(ROOM, "tina").producers[0]["streams"][0]  # noqa: E731
    await until(lambda: stats()["ssrc"] == 5099)
    transport = classroom.media.routers[ROOM].peers["tina"].transports[up.made.transport_id]
    assert transport.ssrcs == {5099}
    inbound = transport.link.sessions.inbound
    kept = [ssrc for ssrc in range(5000, 5100) if lib.srtp_remove_stream(inbound, htonl(ssrc)) == 0]
    assert kept == [5099]


async def test_malformed_packets_count_among_a_peers_ssrcs(classroom: Classroom) -> None:
    """Their SRTP is right, so libsrtp has taken note of each."""
    tina = classroom.person("tina")
    up = await tina.connect("send")
    for ssrc in range(5000, 5100):
        packet = nobodys(ssrc)
        up.send_rtp(bytes([packet[0] | 0x20]) + packet[1:-1] + b"\xff")  # padding longer than the packet
    await until(lambda: classroom.media.dropped["ssrc_limit"] == 80)
    assert classroom.media.routers[ROOM].peers["tina"].ssrc_count == 20


def test_an_encoder_that_begins_anew_all_the_time_is_followed_five_times_a_second(network: FakeNetwork) -> None:
    tina = network.join("tina", "send")
    parameters = opus_parameters(1)
    parameters["encodings"] = [{}]
    producer = network.produce(tina, "audio", parameters)
    for ssrc in range(5000, 5050):
        tina.send_rtp(OpusSender(ssrc).packet())
        network.advance(0.02)
    assert network.agenda.dropped["restarted"] in (4, 5)
    network.advance(1.0)
    tina.send_rtp(OpusSender(6000).packet())
    assert producer.streams[0].ssrc == 6000


def test_what_came_after_its_producers_end_does_not_take_a_place_for_ever(network: FakeNetwork) -> None:
    """A screen share that the teacher ended goes on for the moment that its browser needs to hear of it."""
    tina = network.join("tina", "send")
    for index in range(60):
        ssrc = 5000 + 10 * index
        camera = network.produce(tina, "video", vp8_parameters(ssrc))
        sender = Vp8Sender(ssrc)
        assert tina.transport.admits(ssrc)
        tina.send_rtp(*sender.frame(2, key=True))
        network.router.close_producer(camera, "closed")
        tina.send_rtp(*sender.frame(2))
        network.advance(2.0)
    assert network.agenda.dropped["unknown_stream"] == 120
    assert len(tina.transport.ssrcs) < 20


def test_a_browser_that_reports_under_a_new_ssrc_for_each_stream_is_still_heard_after_hours(
    network: FakeNetwork,
) -> None:
    sam, tina = network.join("sam", "recv"), network.join("tina", "send")
    for index in range(60):
        camera = network.produce(tina, "video", vp8_parameters(5000 + 10 * index))
        network.consume(sam, camera)
        reporting = 90_000 + index
        for _ in range(3):
            assert sam.transport.admits(reporting, is_rtcp=True), index
            sam.transport.rtcp_ssrcs.add(reporting)  # as the endpoint does
            sam.send_rtcp(ReceiverReport(reporting))
            network.advance(1.0)
        network.router.close_producer(camera, "closed")
        network.advance(2.0)
    assert len(sam.transport.rtcp_ssrcs) < 10


def test_an_ssrc_that_is_heard_keeps_its_place(network: FakeNetwork) -> None:
    tina = network.join("tina", "send")
    microphone = network.produce(tina, "audio", opus_parameters(2222))
    sender = OpusSender(2222)
    tina.send_rtp(sender.packet())
    tina.send_rtcp(ReceiverReport(2222))
    for _ in range(20):
        tina.send_rtp(nobodys(7))
        network.advance(2.0)
    assert tina.transport.ssrcs == {7, 2222}
    tina.send_rtp(sender.packet())
    assert microphone.streams[0].reception.received == 2


def test_numbers_asked_for_beyond_all_reason_are_not_even_looked_up(network: FakeNetwork) -> None:
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    network.consume(sam, camera)
    tina.send_rtp(*Vp8Sender(1111).frame(10, key=True))
    first = sam.headers()[0].sequence_number
    sam.send_rtcp(Nack(1, camera.ssrc, [first + 20_000 + number for number in range(2995)]))
    sam.send_rtcp(Nack(1, camera.ssrc, [first + number for number in range(10)]))
    assert network.agenda.dropped["nack_limit"] == 10
    network.advance(1.0)
    sam.send_rtcp(Nack(1, camera.ssrc, [first + number for number in range(10)]))
    assert len(sam.rtp) == 20
