"""./bench meeting measures what it says: short runs of it, and what it sends and reads."""

from __future__ import annotations

import pytest

from benchmarks.media_source import LAYERS, Offer, Simulcast
from benchmarks.meeting import PEERS, find_extension, measure
from sfu.core.rtp import parse_rtp
from sfu.core.vp8 import parse_vp8


def test_a_camera_is_sent_in_layers_that_are_told_by_rid() -> None:
    offer = Offer(first_ssrc=100)
    packets = Simulcast(offer).next_frame()
    begins = []
    for packet in packets:
        header = parse_rtp(packet)
        descriptor = parse_vp8(packet, header.payload_offset, header.payload_end)
        assert descriptor is not None
        if descriptor.key_frame:
            at, size = header.extensions[offer.rid_id]
            begins.append((packet[at : at + size].decode(), header.ssrc))
    assert begins == [(rid, 100 + index) for index, (rid, *_) in enumerate(LAYERS)]


def test_the_transport_wide_number_counts_the_packets_of_all_streams() -> None:
    offer = Offer(first_ssrc=100)
    source = Simulcast(offer)
    packets = [*source.next_frame(), *source.next_voice(), *source.next_frame()]
    numbers = []
    for packet in packets:
        at = find_extension(bytearray(packet), offer.transport_cc_id)
        numbers.append(int.from_bytes(packet[at : at + 2]))
        assert parse_rtp(packet).extensions[offer.transport_cc_id] == (at, 2)
    assert numbers == list(range(1, len(packets) + 1))


def test_an_extension_that_is_not_there_is_not_found() -> None:
    packet = bytearray(Simulcast(Offer(first_ssrc=100)).next_voice()[0])
    assert find_extension(packet, 14) == 0
    packet[0] &= 0xEF
    assert find_extension(packet, 3) == 0


@pytest.mark.service
@pytest.mark.parametrize("name", ["echo", "lectern"])
def test_everybody_gets_everybody_and_latencies_are_measured(name: str) -> None:
    row = measure(PEERS[name], size=3, rooms=1, layer=0, seconds=1.0, at_most=4.0)
    assert row["packets_out_s"] > 0
    assert row["voice_percent"] > 50
    assert row["loss_percent"] < 50
    assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert name == "echo" or row["layer_kbit"] > 50
