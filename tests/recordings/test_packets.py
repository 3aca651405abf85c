"""Packet logs come from the network through a crash: nothing in them is trusted."""

from __future__ import annotations

import contextlib
import math
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.logs.depayload import DEPAYLOADERS, opus_frames, video_frames
from recordings.logs.packets import (
    PacketError,
    PacketLog,
    RtpPacket,
    SenderReport,
    in_order,
    parse_rtp,
    parse_sender_reports,
)
from tests.recordings.synthetic import BEGAN, rtp, rtpdump, sender_report


def write(tmp_path: Path, data: bytes) -> PacketLog:
    path = tmp_path / "log.rtpdump"
    path.write_bytes(data)
    return PacketLog(path)


def numbers(log: PacketLog) -> list[int]:
    return [item.sequence_number for item in log if isinstance(item, RtpPacket)]


RECORD = 8 + 12 + 6  # bytes: header of the record, of RTP, payload


def three() -> bytes:
    return rtpdump([(number * 0.02, rtp(100, number, number * 960, False, b"\xfcsound"), False) for number in range(3)])


def test_a_log_gives_its_packets_with_their_arrival(tmp_path: Path) -> None:
    packets = [item for item in write(tmp_path, three()) if isinstance(item, RtpPacket)]
    assert [packet.payload for packet in packets] == [b"\xfcsound"] * 3
    assert [packet.arrival for packet in packets] == pytest.approx([BEGAN, BEGAN + 0.02, BEGAN + 0.04], abs=1e-6)


def test_sender_reports_stand_in_the_log(tmp_path: Path) -> None:
    data = rtpdump([(0.0, rtp(100, 1, 0, False, b"a"), False), (0.5, sender_report(BEGAN + 7, 24000), True)])
    report = list(write(tmp_path, data))[1]
    assert isinstance(report, SenderReport)
    assert report.ntp == pytest.approx(BEGAN + 7, abs=1e-6)
    assert report.timestamp == 24000


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_log_cut_anywhere_is_read_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    whole = three()
    assert numbers(write(tmp_path, whole[:-cut])) == [0, 1, 2][: 3 - math.ceil(cut / RECORD)]
    assert numbers(write(tmp_path, whole[:cut])) == []


@pytest.mark.parametrize("first", range(0, len(three()), 7))
def test_a_log_that_grows_is_read_on_from_where_reading_stopped(tmp_path: Path, first: int) -> None:
    log = write(tmp_path, three()[:first])
    before = numbers(log)
    log.path.write_bytes(three())
    assert before + numbers(log) == [0, 1, 2]
    assert numbers(log) == []


def test_reading_stops_at_a_moment_and_another_reader_goes_on_there(tmp_path: Path) -> None:
    log = write(tmp_path, three())
    assert [item.arrival for item in log.read(until=BEGAN + 0.03)] == pytest.approx([BEGAN, BEGAN + 0.02], abs=1e-6)
    assert numbers(PacketLog(log.path, log.position)) == [2]


def test_a_record_without_length_ends_the_reading(tmp_path: Path) -> None:
    log = write(tmp_path, three() + struct.pack(">HHI", 3, 20, 0) + b"x" * 100)
    assert numbers(log) == [0, 1, 2]
    assert numbers(log) == []
    assert log.bad == 1


def test_a_packet_that_makes_no_sense_is_skipped_and_counted(tmp_path: Path) -> None:
    records = [(0.0, b"\x00" * 20, False), (0.1, rtp(100, 7, 0, False, b"a"), False), (0.2, b"\x80", True)]
    log = write(tmp_path, rtpdump(records))
    assert numbers(log) == [7]
    assert log.bad == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80" * 11,
        b"\x40" + b"\x00" * 20,  # version 1
        b"\x8f" + b"\x00" * 20,  # 15 sources in 9 bytes
        b"\x90" + b"\x00" * 11 + b"\xbe\xde\xff\xff",  # an extension of 256 KiB
        b"\x90" + b"\x00" * 13,  # half an extension's header
        b"\xa0" + b"\x00" * 12,  # no padding
        b"\xa0" + b"\x00" * 11 + b"\xff",  # more padding than packet
    ],
)
def test_lengths_in_a_packet_are_checked(data: bytes) -> None:
    with pytest.raises(PacketError):
        parse_rtp(data, 0.0)


def test_padding_and_extensions_are_no_payload() -> None:
    data = (
        b"\xb1\x64"
        + b"\x00" * 10
        + b"\x00\x00\x00\x01"
        + b"\xbe\xde\x00\x01"
        + b"\x10\x00\x00\x00"
        + b"body\x00\x00\x03"
    )
    assert parse_rtp(data, 0.0).payload == b"body"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_a_packet_error(data: bytes) -> None:
    for parse in (parse_rtp, parse_sender_reports):
        with contextlib.suppress(PacketError):
            parse(data, 0.0)


@given(st.binary(max_size=400))
def test_any_bytes_behind_the_magic_are_a_log(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    log = write(tmp_path_factory.mktemp("any"), three() + data)
    assert numbers(log)[:3] == [0, 1, 2]


payloads = st.lists(
    st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1), st.booleans(), st.binary(max_size=60)), max_size=40
)


@given(payloads, st.sampled_from(sorted(DEPAYLOADERS)))
def test_any_payloads_make_frames_or_none(packets: list, mime_type: str) -> None:
    made = [
        RtpPacket(index * 0.01, number, timestamp, marker, 101, payload)
        for index, (number, timestamp, marker, payload) in enumerate(packets)
    ]
    frames = list(video_frames(in_order(made), DEPAYLOADERS[mime_type]()))
    assert not frames or frames[0].key
    for frame in opus_frames(in_order(made)):
        assert frame.data


# --- order -----------------------------------------------------------------------------------------------------------


def packet(number: int, arrival: float) -> RtpPacket:
    return RtpPacket(arrival, number & 0xFFFF, number * 100 & 0xFFFFFFFF, True, 101, b"x")


def test_a_repaired_packet_takes_its_place_also_across_the_wrap() -> None:
    given_order = [65534, 65536, 65537, 65535, 65538]
    ordered = list(in_order(packet(number, index * 0.05) for index, number in enumerate(given_order)))
    assert [numbered.packet.sequence_number for numbered in ordered] == [65534, 65535, 0, 1, 2]
    assert not any(numbered.gap for numbered in ordered)


def test_a_double_is_left_out() -> None:
    ordered = list(in_order(packet(number, 0.0) for number in (5, 6, 6, 5, 7)))
    assert [numbered.packet.sequence_number for numbered in ordered] == [5, 6, 7]


def test_a_packet_that_never_comes_leaves_a_gap_after_two_seconds() -> None:
    seen = []
    packets = [packet(1, 0.0), packet(3, 0.1), packet(4, 1.0), packet(5, 2.5)]
    for numbered in in_order(packets):
        seen.append((numbered.packet.sequence_number, numbered.gap))
    assert seen == [(1, False), (3, True), (4, False), (5, False)]


def test_numbers_that_begin_anew_are_a_gap_and_not_the_end() -> None:
    packets = [packet(number, number * 0.01) for number in range(20000, 20010)]
    packets += [packet(number, 5 + number * 0.01) for number in range(10)]
    ordered = list(in_order(packets))
    assert len(ordered) == 20
    assert [numbered.gap for numbered in ordered].count(True) == 1
