"""The VP9 payload descriptor, built by the figures of RFC 9628."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.core.errors import ParseError
from sfu.core.vp9 import Vp9Descriptor, parse_vp9

I, P, L, F, B, E, V, Z = (0x80 >> bit for bit in range(8))  # noqa: E741 - as the RFC's figures name them
FRAME = b"\x82\x49\x83\x42"  # how a key frame's own header begins


def parsed(payload: bytes) -> Vp9Descriptor:
    return parse_vp9(payload, 0, len(payload))


def layers(temporal: int, spatial: int, *, up: bool = False, inter_layer: bool = False) -> int:
    return temporal << 5 | up << 4 | spatial << 1 | inter_layer


def test_a_descriptor_of_one_byte_says_nothing_but_its_flags():
    found = parsed(bytes([B | E]) + FRAME)
    assert (found.begins_frame, found.ends_frame, found.inter_picture, found.flexible) == (True, True, False, False)
    assert (found.picture_id, found.tl0_picture_index, found.spatial_id, found.temporal_id) == (None, None, 0, 0)
    assert (found.length, found.key_frame) == (1, True)


def test_a_picture_id_of_seven_bits():
    found = parsed(bytes([I | B, 0x05]) + FRAME)
    assert (found.picture_id, found.picture_id_at, found.wide, found.length) == (5, 1, False, 2)


def test_a_picture_id_of_fifteen_bits():
    found = parsed(bytes([I | B, 0x91, 0x05]) + FRAME)
    assert (found.picture_id, found.picture_id_at, found.wide, found.length) == (0x1105, 1, True, 3)


def test_layers_and_the_base_layers_index_in_non_flexible_mode():
    found = parsed(bytes([I | P | L | E, 0x91, 0x05, layers(2, 1, up=True, inter_layer=True), 0x2A]) + FRAME)
    assert (found.temporal_id, found.spatial_id, found.switching_up, found.inter_layer) == (2, 1, True, True)
    assert (found.tl0_picture_index, found.tl0_picture_index_at, found.length) == (0x2A, 4, 5)
    assert (found.inter_picture, found.begins_frame, found.ends_frame, found.key_frame) == (True, False, True, False)


def test_flexible_mode_names_what_a_picture_refers_to_and_has_no_index():
    found = parsed(bytes([I | P | L | F | B, 0x91, 0x05, layers(1, 0), 1 << 1 | 1, 4 << 1]) + FRAME)
    assert (found.flexible, found.references, found.tl0_picture_index, found.length) == (True, (1, 4), None, 6)


def test_a_flexible_picture_that_refers_to_none_lists_none():
    found = parsed(bytes([I | F | B, 0x05]) + FRAME)
    assert (found.references, found.length, found.key_frame) == ((), 2, True)


def test_more_than_three_references_are_refused():
    with pytest.raises(ParseError):
        parsed(bytes([I | P | F, 0x05, 3, 3, 3, 2]) + FRAME)


def test_the_structure_of_a_key_frame_tells_the_sizes_of_the_layers():
    sizes = b"".join(side.to_bytes(2, "big") for side in (320, 180, 640, 360, 1280, 720))
    group = bytes([2, 0 << 5 | 0 << 2, 1 << 5 | 1 << 4 | 2 << 2, 1, 2])
    structure = bytes([2 << 5 | 1 << 4 | 1 << 3]) + sizes + group
    found = parsed(bytes([I | L | B | V, 0x91, 0x05, layers(0, 0), 0x01]) + structure + FRAME)
    assert found.spatial_layers == 3
    assert found.resolutions == ((320, 180), (640, 360), (1280, 720))
    assert found.length == 5 + len(structure)
    assert found.key_frame


def test_a_structure_without_sizes_and_group():
    found = parsed(bytes([B | V, 1 << 5]) + FRAME)
    assert (found.spatial_layers, found.resolutions, found.length) == (2, (), 2)


def test_what_is_not_used_by_higher_layers_is_told():
    assert parsed(bytes([Z]) + FRAME).unused_above
    assert not parsed(bytes([E]) + FRAME).unused_above


@pytest.mark.parametrize(
    ("first", "spatial", "expected"),
    [
        (L | B, 0, True),
        (L | B | E, 0, True),
        (L, 0, False),  # not the first packet
        (L | P | B, 0, False),
        (L | B, 1, False),  # of the same picture, in the next layer: nobody can begin with it
    ],
)
def test_a_key_frame_begins_with_the_lowest_layers_first_packet(first, spatial, expected):
    assert parsed(bytes([first, layers(0, spatial, inter_layer=spatial > 0), 0]) + FRAME).key_frame is expected


def test_a_descriptor_without_a_frame_begins_none():
    assert not parsed(bytes([B])).key_frame


def test_a_descriptor_is_read_at_its_offset_and_not_beyond_its_end():
    data = b"\xff\xff" + bytes([I | B, 0x91, 0x05]) + FRAME
    found = parse_vp9(memoryview(data), 2, len(data))
    assert (found.picture_id, found.picture_id_at, found.length) == (0x1105, 1, 3)
    with pytest.raises(ParseError):
        parse_vp9(data, 2, 4)


FULL = bytes([I | P | L | F | B | E | V | Z, 0xFF, 0xFF, 0xFF, 3, 3, 2, 0xF8, *range(32), 3, 0x0C, 1, 2, 3, 0x04, 1, 0])


@pytest.mark.parametrize("length", range(len(FULL)))
def test_what_is_cut_short_is_refused(length):
    with pytest.raises(ParseError):
        parsed(FULL[:length])


def test_the_longest_of_its_kind_is_read_whole():
    assert parsed(FULL).length == len(FULL)


@given(st.binary(max_size=80), st.integers(-3, 90), st.integers(-3, 90))
@example(b"\xff" * 80, 0, 80)
def test_arbitrary_bytes_are_a_descriptor_or_refused(data, offset, end):
    for buffer in (data, bytearray(data), memoryview(data)):
        try:
            found = parse_vp9(buffer, offset, end)
        except ParseError:
            continue
        assert 1 <= found.length <= end - offset
        assert 0 <= found.spatial_id <= 7
        assert len(found.references) <= 3
        assert len(found.resolutions) in (0, found.spatial_layers)


@given(
    picture_id=st.none() | st.integers(0, 0x7FFF),
    wide=st.booleans(),
    place=st.none() | st.tuples(st.integers(0, 7), st.integers(0, 7), st.booleans(), st.booleans()),
    tl0=st.integers(0, 255),
    references=st.none() | st.lists(st.integers(0, 127), min_size=1, max_size=3),
    flags=st.sampled_from([0, B, E, B | E, B | Z]),
)
def test_what_was_written_is_read(picture_id, wide, place, tl0, references, flags):
    first, body = flags, b""
    if picture_id is not None:
        first |= I
        picture_id &= 0x7FFF if wide else 0x7F
        body += (0x8000 | picture_id).to_bytes(2, "big") if wide else bytes([picture_id])
    if references is not None:
        first |= F | P
    if place is not None:
        first |= L
        body += bytes([layers(place[0], place[1], up=place[2], inter_layer=place[3])])
        if references is None:
            body += bytes([tl0])
    for index, reference in enumerate(references or ()):
        body += bytes([reference << 1 | (index + 1 < len(references))])
    found = parsed(bytes([first]) + body + FRAME)
    assert found.picture_id == picture_id
    assert found.references == tuple(references or ())
    assert found.tl0_picture_index == (tl0 if place is not None and references is None else None)
    read = (found.temporal_id, found.spatial_id, found.switching_up, found.inter_layer)
    assert read == (place or (0, 0, False, False))
    assert found.length == 1 + len(body)
