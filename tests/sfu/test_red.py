"""Redundant audio, read and built by the figures of RFC 2198."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.core.errors import ParseError
from sfu.core.red import MAX_BLOCK, MAX_OFFSET, build_red, parse_red

OPUS = 111
# One earlier packet, 960 units (20 ms of Opus) before: 1|1101111, 14 bits of offset, 10 of length, then 0|1101111.
TWO = bytes([0x80 | OPUS, 0x0F, 0x00, 0x03, OPUS]) + b"oldnewest"


def parts(data: bytes) -> list[tuple[int, int, bytes]]:
    blocks = parse_red(data, 0, len(data))
    return [(b.payload_type, b.timestamp_offset, data[b.offset : b.offset + b.length]) for b in blocks]


def test_an_earlier_packet_comes_before_the_own_one():
    assert parts(TWO) == [(OPUS, 960, b"old"), (OPUS, 0, b"newest")]


def test_a_packet_may_be_alone():
    assert parts(bytes([OPUS]) + b"voice") == [(OPUS, 0, b"voice")]
    assert build_red(OPUS, b"voice") == bytes([OPUS]) + b"voice"


def test_blocks_may_be_empty():
    assert parts(bytes([0x80 | OPUS, 0, 0, 0, OPUS])) == [(OPUS, 0, b""), (OPUS, 0, b"")]


def test_what_is_built_is_what_the_figures_show():
    assert build_red(OPUS, b"newest", [(960, b"old")]) == TWO


def test_blocks_are_found_at_their_offset():
    data = b"\xff" * 12 + TWO + b"\xff\xff"
    *_, last = parse_red(memoryview(data), 12, 12 + len(TWO))
    assert data[last.offset : last.offset + last.length] == b"newest"


def test_what_cannot_be_repeated_is_left_out():
    for offset, block in ((MAX_OFFSET + 1, b"x"), (0, b"x"), (-1, b"x"), (960, bytes(MAX_BLOCK + 1)), (960, b"")):
        assert build_red(OPUS, b"new", [(offset, block)]) == bytes([OPUS]) + b"new"
    many = [(960 * back, bytes([back])) for back in range(12, 0, -1)]
    assert [offset for _, offset, _ in parts(build_red(OPUS, b"new", many))] == [*range(960 * 9, 0, -960), 0]


@pytest.mark.parametrize("length", range(8))
def test_what_is_cut_short_is_refused(length):
    with pytest.raises(ParseError):
        parse_red(TWO, 0, length)


def test_headers_without_end_are_refused():
    with pytest.raises(ParseError):
        parse_red(b"\xff" * 1200, 0, 1200)
    with pytest.raises(ParseError):
        parse_red(bytes([0x80, 0, 0, 0]) * 10 + bytes([OPUS]), 0, 41)


@given(st.binary(max_size=60), st.integers(-3, 70), st.integers(-3, 70))
@example(b"\xff" * 60, 0, 60)
def test_arbitrary_bytes_are_blocks_or_refused(data, offset, end):
    for buffer in (data, bytearray(data), memoryview(data)):
        try:
            blocks = parse_red(buffer, offset, end)
        except ParseError:
            continue
        assert 1 <= len(blocks) <= 10
        assert blocks[-1].timestamp_offset == 0
        assert all(offset < block.offset <= block.offset + block.length <= end for block in blocks)


@given(
    st.integers(0, 127),
    st.binary(max_size=300),
    st.lists(st.tuples(st.integers(1, MAX_OFFSET), st.binary(min_size=1, max_size=MAX_BLOCK)), max_size=9),
)
def test_what_was_built_is_read(payload_type, payload, earlier):
    expected = [*((payload_type, offset, block) for offset, block in earlier), (payload_type, 0, payload)]
    assert parts(build_red(payload_type, payload, earlier)) == expected
