"""What a worker tells its operator: counted on the real way, with peers who lose packets and report on it."""

from __future__ import annotations

import time

from sfu.core.counters import Histogram
from sfu.core.reports import middle, to_ntp
from sfu.core.rtcp import (
    ExtendedReport,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    ReportBlock,
    SenderReport,
)
from sfu.core.rtp import parse_rtp
from tests.sfu.classroom import ROOM, Classroom, rtx_ssrc_of, ssrc_of
from tests.sfu.network import FakeNetwork
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import OpusSender, Vp8Sender, opus_parameters, vp8_parameters
from tests.sfu.test_budget import Camera, Viewer
from tests.waiting import until

NTP = 0xE000_0000 << 32


def observed(histogram: dict) -> dict[str, int]:
    """How many values fell into each bucket, those with none left out."""
    found, before = {}, 0
    for bound, below in histogram["buckets"]:
        if below > before:
            found[bound] = below - before
        before = below
    return found


async def heard(transport: PeerTransport, kind: type) -> list:
    await transport.until(lambda: any(isinstance(p, kind) for p in transport.rtcp))
    return [p for p in transport.rtcp if isinstance(p, kind)]


def test_a_histogram_counts_each_value_once_and_its_buckets_include_those_below() -> None:
    histogram = Histogram(1, 5)
    for value in (0, 1, 1.5, 5, 100):
        histogram.observe(value)
    assert histogram.json() == {"buckets": [("1.0", 2), ("5.0", 4), ("+Inf", 5)], "sum": 107.5}


async def test_losses_on_the_way_down_are_counted_as_they_are_asked_for_and_sent_again(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    consumer = sam.consume(tina.camera())
    ssrc, rtx = ssrc_of(consumer), rtx_ssrc_of(consumer)
    for packet in Vp8Sender(1111).frame(12, key=True):
        up.send_rtp(packet)
    first = (await down.packets(12) and down.headers(ssrc))[0].sequence_number
    down.send_rtcp(Nack(sender_ssrc=5, media_ssrc=ssrc, lost=[first + 3, first + 4, first + 9, first + 5000]))
    await down.until(lambda: len(down.headers(rtx)) == 3)
    counters = classroom.media.counters()
    assert (counters["nacks_received"], counters["retransmissions"]) == (4, 3)
    assert counters["nacks_sent"] == 0


async def test_losses_on_the_way_up_are_counted_as_we_ask_for_them_and_as_they_are_repaired(
    classroom: Classroom,
) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up = await tina.connect("send")
    await sam.connect("recv")
    tina.produce("audio", "microphone", opus_parameters(2222))
    sam.consume(tina.camera())
    sender = Vp8Sender(1111)
    packets = sender.frame(6, key=True)
    for packet in (*packets[:2], *packets[4:]):
        up.send_rtp(packet)
    (nack, *_) = await heard(up, Nack)
    assert len(nack.lost) == 2
    counters = classroom.media.counters()
    assert counters["nacks_sent"] >= 2
    assert counters["nacks_sent"] % 2 == 0
    assert counters["repaired"] == 0


async def test_requests_for_key_frames_are_counted_both_ways(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    consumer = sam.consume(tina.camera())
    await heard(up, PictureLossIndication)
    assert classroom.media.counters()["plis_sent"] == 1
    down.send_rtcp(PictureLossIndication(1, ssrc_of(consumer)))
    down.send_rtcp(FullIntraRequest(1, [(ssrc_of(consumer), 1)]))
    await until(lambda: classroom.media.counters()["plis_received"] == 2)
    assert classroom.media.counters()["plis_sent"] == 1, "the one request of half a second"


async def test_what_receivers_report_is_told_as_loss_jitter_and_round_trip(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    consumer = sam.consume(tina.camera())
    sender = Vp8Sender(1111)
    up.send_rtp(*sender.frame(1, key=True))
    await down.packets(1)
    up.send_rtcp(SenderReport(ssrc=1111, ntp_timestamp=NTP, rtp_timestamp=sender.timestamp))
    (report, *_) = await heard(down, SenderReport)
    block = ReportBlock(
        ssrc=ssrc_of(consumer), fraction_lost=26, jitter=1350, last_sr=middle(report.ntp_timestamp)
    )  # a tenth lost, 15 ms
    down.send_rtcp(ReceiverReport(5, [block]))
    down.send_rtcp(ReceiverReport(5, [ReportBlock(ssrc=4711, fraction_lost=255, jitter=1 << 31)]))  # of nothing of ours
    await until(lambda: observed(classroom.media.counters()["rtt"]))
    counters = classroom.media.counters()
    assert observed(counters["loss_percent"]) == {"20.0": 1}
    assert observed(counters["jitter"]) == {"0.02": 1}
    assert 0 < counters["rtt"]["sum"] < 1.5
    assert classroom.media.stats(ROOM, "sam").consumers[0]["rtt"] == counters["rtt"]["sum"]


async def test_a_sender_who_gives_our_time_back_tells_the_round_trip(classroom: Classroom) -> None:
    tina = classroom.person("tina")
    up = await tina.connect("send")
    tina.microphone()
    up.send_rtp(OpusSender(2222).packet())
    (asked, *_) = await heard(up, ExtendedReport)
    assert asked.reference_time
    up.send_rtcp(ExtendedReport(2222, delays=[(asked.ssrc, middle(asked.reference_time), 0)]))
    await until(lambda: classroom.media.stats(ROOM, "tina").transports[0]["rtt"] is not None)
    assert 0 < classroom.media.counters()["rtt"]["sum"] < 1.0


async def test_addresses_that_media_go_to_are_counted_by_their_transport(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up = await tina.connect("send")
    await sam.connect("recv", protocol="tcp")
    assert classroom.media.counters()["ice_selected"] == {"udp": 1, "tcp": 1}
    await up.check()
    assert classroom.media.counters()["ice_selected"] == {"udp": 1, "tcp": 1}, "the same one, asked about again"
    up.move()
    await up.check()
    assert classroom.media.counters()["ice_selected"] == {"udp": 2, "tcp": 1}


async def test_how_long_a_packet_was_held_up_is_counted_from_its_arrival_in_the_kernel(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    sam.consume(tina.microphone())
    sender = OpusSender(2222)
    up.send_rtp(sender.packet())
    await down.packets(1)
    before = classroom.media.counters()["forward_latency"]
    assert sum(observed(before).values()) == 1
    assert 0 < before["sum"] < 0.5
    up.send_rtp(sender.packet())
    time.sleep(0.06)  # noqa: ASYNC251  # the worker waits for a core, which it shares with this test
    await down.packets(2)
    assert 0.06 <= classroom.media.counters()["forward_latency"]["sum"] - before["sum"] < 0.5


def test_rates_are_those_of_the_last_second_and_the_layers_and_the_estimate_are_told() -> None:
    network = FakeNetwork()
    camera = Camera(network, "tina")
    sam = Viewer(network, "sam", [camera], 800e3)
    network.advance(15.0)
    [consumer] = sam.consumers
    stats, transport = consumer.stats(), sam.peer.transport.stats()
    assert (stats["spatial_layer"], stats["useful_layer"]) == (1, 2)
    assert 0.9 < stats["bitrate"] / (8 * 50 * 2 * 600) < 1.1  # two packets of 600 bytes, fifty times a second
    assert transport["bitrate_out"] == stats["bitrate"]
    assert 200e3 < transport["estimate"] < 1.2e6
    assert 0 <= transport["queue"] < 0.5
    assert transport["short"] is True, "the best layer does not fit"
    up = camera.peer.transport.stats()
    assert 0.9 < up["bitrate_in"] / (8 * 50 * (320 + 2 * 600 + 4 * 1000)) < 1.1
    assert up["estimate"] is None
    layers = camera.producer.stats(network.now)["streams"]
    assert [round(layer["bitrate"], -5) for layer in layers] == [100_000, 500_000, 1_600_000]
    network.each_tick.clear()
    network.advance(2.0)
    assert (consumer.stats()["bitrate"], camera.peer.transport.stats()["bitrate_in"]) == (0, 0)


def test_the_share_of_packets_lost_on_the_way_up_is_of_the_last_second() -> None:
    network = FakeNetwork()
    tina = network.join("tina", "send")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    sender = Vp8Sender(1111)
    packets = sender.frame(10, key=True)
    tina.send_rtp(*packets[:5], *packets[6:])
    network.advance(1.0)
    [stream] = camera.stats(network.now)["streams"]
    assert abs(stream["fraction_lost"] - 0.1) < 0.01
    tina.send_rtp(*sender.frame(10))
    network.advance(1.0)
    [stream] = camera.stats(network.now)["streams"]
    assert (stream["fraction_lost"], stream["lost"]) == (0.0, 1)


def test_a_sender_far_away_is_asked_for_a_packet_once_in_a_round_trip() -> None:
    network = FakeNetwork()
    tina = network.join("tina", "send")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    network.consume(network.join("sam", "recv"), camera)
    tina.rtcp.clear()
    sender = Vp8Sender(1111)
    tina.send_rtp(*sender.frame(3, key=True))
    network.advance(1.0)
    [reference] = tina.heard(ExtendedReport)
    network.advance(0.4)
    assert middle(to_ntp(network.now + network.agenda.clock_offset)) != middle(reference.reference_time)
    asked_at = middle(reference.reference_time)
    held = middle(to_ntp(network.now + network.agenda.clock_offset)) - asked_at - int(0.4 * 65536)
    tina.send_rtcp(ExtendedReport(1111, delays=[(1, asked_at, held)]))
    assert abs((tina.transport.rtt or 0) - 0.4) < 0.001
    lost, *rest = sender.frame(3)
    tina.send_rtp(*rest)
    network.advance(0.38)
    assert len(tina.heard(Nack)) == 1
    tina.send_rtp(lost)
    network.advance(2.0)
    assert len(tina.heard(Nack)) == 1
    assert tina.heard(PictureLossIndication) == []
    assert camera.streams[0].reception.received == 6
    assert parse_rtp(lost).ssrc == 1111
