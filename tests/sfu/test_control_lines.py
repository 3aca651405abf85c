"""The framing of the control connection: however the bytes are cut, the same lines come out, and never a long one."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sfu.lines import LineParser

LIMIT = 20


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def expected(data: bytes) -> tuple[list[bytes], bool]:
    """What one would say who sees all of it at once."""
    lines = []
    *whole, rest = data.split(b"\n")
    for line in whole:
        if len(line) > LIMIT:
            return lines, True
        lines.append(line)
    return lines, len(rest) > LIMIT


stream = st.lists(st.binary(max_size=LIMIT + 4), max_size=8).map(b"\n".join)


@given(data=stream, places=st.lists(st.integers(0, 300), max_size=12))
def test_lines_do_not_depend_on_how_the_bytes_were_cut(data: bytes, places: list[int]):
    parser = LineParser(LIMIT)
    lines = [line for piece in cut(data, places) for line in parser.feed(piece)]
    assert (lines, parser.overflowed) == expected(data)


@given(data=stream)
def test_byte_by_byte_is_the_same(data: bytes):
    parser = LineParser(LIMIT)
    lines = [line for byte in data for line in parser.feed(bytes([byte]))]
    assert (lines, parser.overflowed) == expected(data)


def test_a_line_of_just_the_limit_passes():
    parser = LineParser(LIMIT)
    assert parser.feed(b"x" * LIMIT + b"\n") == [b"x" * LIMIT]
    assert not parser.overflowed


def test_a_line_that_never_ends_is_not_kept():
    parser = LineParser(LIMIT)
    for _ in range(1000):
        assert parser.feed(b"x" * 1000) == []
    assert parser.overflowed
    assert len(parser._buffer) == 0


def test_after_an_overflow_nothing_is_believed():
    parser = LineParser(LIMIT)
    parser.feed(b"x" * (LIMIT + 1))
    assert parser.feed(b'\n{"id": 1}\n') == []


def test_the_limit_can_grow_once_the_secret_was_shown():
    parser = LineParser(LIMIT)
    assert parser.feed(b"hello\n") == [b"hello"]
    parser.limit = 100
    assert parser.feed(b"y" * 90 + b"\n") == [b"y" * 90]
