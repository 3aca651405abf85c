"""What is true of each parser of media, whatever it is given: only ParseError leaves it, and what it says lies within
its input. Where a packet can be written, what was read is written and read again as the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from recordings.logs.depayload import vp8_descriptor
from recordings.logs.packets import PacketError
from recordings.logs.packets import parse_rtp as parse_recorded
from sfu.core.dependency_descriptor import DependencyDescriptors
from sfu.core.errors import ParseError
from sfu.core.layout import MAX_PACKET, canonical, payload_offset, retransmission
from sfu.core.payload import is_keyframe
from sfu.core.rtcp import Nack, SourceDescription, parse_compound
from sfu.core.rtp import build_rtp, extension_text, parse_rtp
from sfu.core.transport_feedback import TransportFeedback
from sfu.core.vp8 import key_frame_size, parse_vp8
from sfu.core.vp9 import parse_vp9


def pieces(data: bytes, *, most: int = 32) -> Iterator[bytes]:
    """Cut an input into several: each led by two bytes of length, so that a mutation may make any of any."""
    position = 0
    for _ in range(most):
        if position + 2 > len(data):
            return
        end = position + 2 + int.from_bytes(data[position : position + 2], "big")
        yield data[position + 2 : end]
        position = end


def joined(parts: list[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def rtp(data: bytes) -> None:
    # In the worker a packet stands in a buffer that is longer than itself.
    buffer = memoryview(bytearray(data + bytes(50)))
    try:
        header = parse_rtp(buffer, len(data))
    except ParseError:
        return
    assert 12 <= header.header_length <= header.payload_offset <= header.payload_end <= len(data)
    assert header.payload_end + header.padding_length == len(data)
    assert len(header.extensions) <= 255
    for offset, size in header.extensions.values():
        assert header.header_length + 4 <= offset
        assert offset + size <= header.payload_offset
    for identifier in (1, 4, 10, 14, 200):
        try:
            extension_text(buffer, header, identifier)
        except ParseError:
            continue
    payload = data[header.payload_offset : header.payload_end]
    recorded = parse_recorded(data, 0.0)
    assert recorded.payload == payload
    if len(data) > MAX_PACKET:
        return
    again = canonical(
        buffer, header, payload_type=100, ssrc=5, mid=b"abc", numbered=True, passed_on=((4, 6), (14, 8), (200, 9))
    )
    assert len(again) <= len(data) + 16 + 3 * 17
    read = parse_rtp(again)
    assert (read.sequence_number, read.timestamp, read.marker) == (
        header.sequence_number, header.timestamp, header.marker,
    )  # fmt: skip
    assert again[payload_offset(again) :] == payload
    assert read.payload_offset == payload_offset(again)
    assert read.extensions[1] == (17, 3)
    repair = retransmission(again, payload_type=101, ssrc=6, sequence_number=1, original=0xABCD, timestamp=2)
    assert repair[payload_offset(repair) :] == b"\xab\xcd" + payload
    values = {i: data[o : o + n] for i, (o, n) in header.extensions.items()}
    built = build_rtp(
        payload_type=header.payload_type,
        sequence_number=header.sequence_number,
        timestamp=header.timestamp,
        ssrc=header.ssrc,
        payload=payload,
        marker=header.marker,
        extensions=values,
        two_byte=True,
        padding=header.padding_length,
    )
    rebuilt = parse_rtp(built)
    assert {i: built[o : o + n] for i, (o, n) in rebuilt.extensions.items()} == values
    assert built[rebuilt.payload_offset : rebuilt.payload_end] == payload


def rtcp(data: bytes) -> None:
    try:
        packets = parse_compound(memoryview(data))
    except ParseError:
        return
    assert 4 * len(packets) <= len(data)
    for packet in packets:
        if isinstance(packet, SourceDescription) and any(len(name.encode()) > 255 for _, name in packet.cnames):
            continue  # bad UTF-8 was replaced by longer signs
        if isinstance(packet, TransportFeedback):
            _feedback(packet, len(data))
        written = packet.serialize()
        (again,) = parse_compound(written)
        if isinstance(packet, Nack) and isinstance(again, Nack):
            assert len(packet.lost) <= 17 * len(data) / 4
            assert set(again.lost) == set(packet.lost)
            again.lost = packet.lost
        assert again == packet


def transport_feedback(data: bytes) -> None:
    """Alone, since a compound's lengths stand in the way of a mutation."""
    body = data[: len(data) // 4 * 4]
    rtcp(b"\x8f\xcd" + (len(body) // 4).to_bytes(2, "big") + body)


def _feedback(feedback: TransportFeedback, size: int) -> None:
    assert len(feedback.received) <= min(feedback.count, size)
    numbers = [number for number, _ in feedback.received]
    assert numbers == sorted(set(numbers))
    assert not numbers or feedback.base_sequence <= numbers[0] <= numbers[-1] < feedback.base_sequence + feedback.count


def vp8(data: bytes) -> None:
    found = parse_vp8(data, 0, len(data))
    assert is_keyframe("video/VP8", data, 0, len(data)) == bool(found and found.key_frame)
    if found is None:
        return
    assert 1 <= found.frame_at <= len(data)
    assert found.picture_id_at <= found.frame_at
    assert found.tl0_picture_index_at <= found.frame_at
    assert 0 <= found.temporal_id <= 3
    try:
        assert vp8_descriptor(data)[0] == found.frame_at, "the recordings read it as the worker does"
    except PacketError:
        assert found.frame_at == len(data)
    size = key_frame_size(data, found.frame_at, len(data))
    assert size is None or all(0 < side < 1 << 14 for side in size)


def vp9(data: bytes) -> None:
    try:
        found = parse_vp9(data, 0, len(data))
    except ParseError:
        assert not is_keyframe("video/VP9", data, 0, len(data))
        return
    assert is_keyframe("video/VP9", data, 0, len(data)) == found.key_frame
    assert 1 <= found.length <= len(data)
    assert max(found.picture_id_at, found.tl0_picture_index_at) < found.length
    assert found.picture_id is None or found.picture_id < (1 << 15 if found.wide else 1 << 7)
    assert len(found.references) <= 3
    assert len(found.resolutions) <= found.spatial_layers <= 8


def h264(data: bytes) -> None:
    is_keyframe("video/H264", data, 0, len(data))
    is_keyframe("video/H264", data, 0, len(data) + 100)


def av1(data: bytes) -> None:
    is_keyframe("video/AV1", data, 0, len(data))
    is_keyframe("video/AV1", memoryview(data), 1, len(data))


def dependency_descriptor(data: bytes) -> None:
    reader = DependencyDescriptors()
    for piece in pieces(data):
        before = reader.structure
        try:
            found = reader.parse(memoryview(piece), 0, len(piece))
        except ParseError:
            assert reader.structure is before, "nothing is remembered of what was refused"
            continue
        structure = found.structure
        assert 1 <= len(structure.templates) <= 64
        assert 1 <= structure.decode_targets == len(structure.target_layers) <= 32
        assert len(found.dtis) == structure.decode_targets
        assert len(found.chain_diffs) == structure.chains
        assert len(found.frame_diffs) <= 8
        assert 0 <= found.spatial_id <= 3
        assert 0 <= found.temporal_id <= 7
        assert 0 <= found.active < 1 << structure.decode_targets
        for target in range(structure.decode_targets):
            found.needed_for(target)
            found.discardable_for(target)
            found.can_switch_to(target)
            previous = found.previous_in_chain(target)
            assert previous is None or 0 <= previous <= 0xFFFF
        best = structure.best_target(1, 1, found.active)
        assert best is None or structure.target_layers[best] <= (1, 1)
