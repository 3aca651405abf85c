"""Frames from payloads: whole ones only, and after a loss from a key frame on."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from hypothesis import given
from hypothesis import strategies as st

from recordings.logs.depayload import (
    DEPAYLOADERS,
    H264,
    START_CODE,
    opus_duration,
    opus_frames,
    video_frames,
    vp8_descriptor,
)
from recordings.logs.layered_codecs import Av1, Vp9, av1_size, vp9_size
from recordings.logs.packets import PacketError, RtpPacket, in_order
from tests.recordings.synthetic import DECODERS, encode_video, packetize, picture

SIZE = (320, 180)


def packets_of(mime_type: str, count: int = 20, key_at: int | None = None) -> tuple[list[RtpPacket], list[int]]:
    """Packets of `count` noisy pictures, and how many packets each picture has."""
    noise = np.random.default_rng(1)
    pictures = []
    for index in range(count):
        data = picture("Tina", index / 15, SIZE)
        data[:180] = (data[:180].astype(int) + noise.integers(-40, 40, (180, 320))).clip(16, 235)
        pictures.append((index / 15, data))
    made: list[RtpPacket] = []
    lengths = []
    keys = [] if key_at is None else [key_at / 15]
    for number, (seconds, frame) in enumerate(encode_video(mime_type, pictures, SIZE, keys)):
        payloads = packetize(mime_type, frame, number)
        lengths.append(len(payloads))
        for index, payload in enumerate(payloads):
            marker = index == len(payloads) - 1
            made.append(RtpPacket(seconds, len(made) & 0xFFFF, round(seconds * 90000), marker, 101, payload))
    return made, lengths


def frames(mime_type: str, packets: list[RtpPacket]) -> list[tuple[int, bytes, bool]]:
    made = video_frames(in_order(packets), DEPAYLOADERS[mime_type.lower()]())
    return [(frame.timestamp * 15 // 90000, frame.data, frame.key) for frame in made]


def decoded(mime_type: str, packets: list[RtpPacket]) -> int:
    codec = cast(VideoCodecContext, av.CodecContext.create(DECODERS[mime_type], "r"))
    count = 0
    for number, data, _ in frames(mime_type, packets):
        unit = av.Packet(data)
        unit.pts, unit.time_base = number, Fraction(1, 15)
        count += len(codec.decode(unit))
    return count + len(codec.decode(None))


every = pytest.mark.parametrize("mime_type", list(DECODERS))


@every
def test_frames_of_many_packets_come_out_whole(mime_type: str) -> None:
    packets, lengths = packets_of(mime_type)
    assert max(lengths) > 3
    assert [number for number, _, _ in frames(mime_type, packets)] == list(range(20))
    assert decoded(mime_type, packets) == 20


@every
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_after_a_loss_nothing_counts_until_a_key_frame(mime_type: str, where: str) -> None:
    packets, lengths = packets_of(mime_type, key_at=12)
    first = sum(lengths[:7])
    lost = {"first": first, "middle": first + lengths[7] // 2, "last": first + lengths[7] - 1}[where]
    left = [packet for index, packet in enumerate(packets) if index != lost]
    made = frames(mime_type, left)
    assert [number for number, _, _ in made] == [*range(7), *range(12, 20)]
    assert [number for number, _, key in made if key] == [0, 12]
    assert decoded(mime_type, left) == 15


@every
def test_a_recording_that_begins_in_the_middle_waits_for_a_key_frame(mime_type: str) -> None:
    packets, lengths = packets_of(mime_type, key_at=9)
    made = frames(mime_type, packets[sum(lengths[:3]) + 1 :])
    assert [number for number, _, _ in made] == list(range(9, 20))


@every
def test_probes_made_of_padding_are_no_loss(mime_type: str) -> None:
    packets, lengths = packets_of(mime_type)
    cut = sum(lengths[:4])
    probe = packets[cut - 1]._replace(payload=b"", marker=False)
    sent = [*packets[:cut], probe, *packets[cut:]]
    sent = [packet._replace(sequence_number=index) for index, packet in enumerate(sent)]
    assert len(frames(mime_type, sent)) == 20


@pytest.mark.parametrize(
    ("payload", "length", "begins"),
    [
        (b"\x10x", 1, True),
        (b"\x00x", 1, False),
        (b"\x11x", 1, False),  # partition 1
        (b"\x90\x80\x05x", 3, True),  # a picture id of 7 bits
        (b"\x90\x80\x85\x01x", 4, True),  # of 15 bits
        (b"\x90\xf0\x85\x01\x02\x03x", 6, True),  # with TL0PICIDX, TID and KEYIDX
        (b"\x90\x20\x03x", 3, True),
    ],
)
def test_vp8_descriptors_of_every_shape_are_understood(payload: bytes, length: int, begins: bool) -> None:
    assert vp8_descriptor(payload) == (length, begins)


@pytest.mark.parametrize("payload", [b"", b"\x10", b"\x90", b"\x90\x80", b"\x90\x80\x85", b"\x90\xf0\x85\x01\x02\x03"])
def test_vp8_descriptors_that_are_cut_are_errors(payload: bytes) -> None:
    with pytest.raises(PacketError):
        vp8_descriptor(payload)


@pytest.mark.parametrize(
    "payloads",
    [
        [b"\x78\x00\xff\x67"],  # a STAP-A unit longer than its packet
        [b"\x78\x00\x00"],
        [b"\x7c\x05data"],  # a fragment without its beginning
        [b"\x7c\x85data", b"\x61single"],  # a fragmented unit that never ended
        [b"\x7c\x85data", b"\x7c\x85data"],
        [b"\x7c"],
        [b"\x79\x00"],  # STAP-B is not in use
    ],
)
def test_h264_payloads_that_do_not_fit_together_are_errors(payloads: list[bytes]) -> None:
    codec = H264()

    def put_together() -> None:
        for payload in payloads:
            codec.add(payload)
        codec.finish()

    with pytest.raises(PacketError):
        put_together()


def test_h264_units_come_out_as_annex_b() -> None:
    codec = H264()
    codec.add(b"\x78\x00\x02\x67\x01\x00\x02\x68\x02")
    codec.add(b"\x7c\x85ab")
    codec.add(b"\x7c\x45cd")
    data, key = codec.finish()
    assert data == START_CODE + b"\x67\x01" + START_CODE + b"\x68\x02" + START_CODE + b"\x65abcd"
    assert key


@pytest.mark.parametrize(
    ("payload", "seconds"),
    [(b"\xfc", 0.02), (b"\x00", 0.01), (b"\x18", 0.06), (b"\xe0", 0.0025), (b"\xfd", 0.04), (b"\xff\x03", 0.06)],
)
def test_the_length_of_an_opus_packet_stands_in_its_first_bytes(payload: bytes, seconds: float) -> None:
    assert opus_duration(payload) == pytest.approx(seconds)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\xff\x00", b"\xff\x3f"])
def test_an_opus_packet_of_no_or_too_great_length_is_left_out(payload: bytes) -> None:
    with pytest.raises(PacketError):
        opus_duration(payload)
    assert list(opus_frames(in_order([RtpPacket(0.0, 1, 0, False, 100, payload)]))) == []


@given(st.sampled_from(sorted(DEPAYLOADERS)), st.lists(st.binary(max_size=40), max_size=6))
def test_nothing_but_a_packet_error_comes_of_any_bytes(mime_type: str, payloads: list[bytes]) -> None:
    depayloader = DEPAYLOADERS[mime_type]()
    try:
        for payload in payloads:
            depayloader.begins(payload)
            depayloader.add(payload)
        data, _ = depayloader.finish()
    except PacketError:
        return
    assert len(data) <= 2 * sum(map(len, payloads)) + 100
    vp9_size(data)
    av1_size(data)


def test_of_layers_in_one_stream_the_smallest_is_kept() -> None:
    """It alone refers to no other, and a file shows one size. (`tests.sfu.captured` has the descriptors whole.)"""
    key = b"\x82\x49\x83\x42" + bytes(6)
    lowest, above = bytes.fromhex("acb2ee1000") + key, bytes.fromhex("acb2ee1302") + b"\x82above"
    depayloader = Vp9()
    assert depayloader.begins(lowest)
    assert not depayloader.begins(above)
    depayloader.add(lowest)
    depayloader.add(above)
    assert depayloader.finish() == (key, True)

    sequence_header, frame = b"\x0a\x01\x00", b"\x32\x02\x10\x00"
    third = b"\x36\x10\x02\x10\x00"  # with an extension: the third spatial layer
    av1 = Av1()
    av1.add(b"\x30" + bytes((len(sequence_header),)) + sequence_header + bytes((len(frame),)) + frame + third)
    assert av1.finish() == (sequence_header + frame, True)
