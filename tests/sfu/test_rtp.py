"""RTP headers: what is read from a packet, what is refused, and numbers that wrap."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.core.errors import ParseError
from sfu.core.rtp import (
    SequenceUnwrapper,
    build_rtp,
    extension_text,
    parse_rtp,
    seq_diff,
)


def packet(**changes) -> bytes:
    fields = {"payload_type": 101, "sequence_number": 7, "timestamp": 90_000, "ssrc": 0xCAFE, "payload": b"voice"}
    return build_rtp(**{**fields, **changes})


HOSTILE = {
    "nothing": b"",
    "eleven bytes": packet()[:11],
    "version 1": b"\x40" + packet()[1:],
    "fifteen csrcs that are not there": b"\x8f" + packet()[1:],
    "padding longer than the payload": b"\xa0" + packet()[1:12] + b"abc\xff",
    "padding of zero": b"\xa0" + packet()[1:12] + b"abc\x00",
    "padding bit and nothing to pad": b"\xa0" + packet()[1:12],
    "padding that reaches into the extension": b"\xb0" + packet()[1:12] + b"\xbe\xde\x00\x01\x10a\x00\x05",
    "extension bit and no extension": b"\x90" + packet()[1:12],
    "extension of half a head": b"\x90" + packet()[1:12] + b"\xbe\xde\x00",
    "extension of 64 KiB": b"\x90" + packet()[1:12] + b"\xbe\xde\xff\xff" + bytes(1200),
    "one-byte element beyond the block": b"\x90" + packet()[1:12] + b"\xbe\xde\x00\x01\x1f" + b"abc" + bytes(40),
    "two-byte element beyond the block": b"\x90" + packet()[1:12] + b"\x10\x00\x00\x01\x01\x09ab" + bytes(40),
    "two-byte element without a length": b"\x90" + packet()[1:12] + b"\x10\x00\x00\x01\x01\x01a\x02" + bytes(40),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_malformed_packet_is_a_parse_error(data):
    with pytest.raises(ParseError):
        parse_rtp(data)


def with_hostile_examples(test):
    for data in HOSTILE.values():
        test = example(data)(test)
    return test


@given(st.binary(max_size=400) | st.binary(max_size=400).map(lambda tail: b"\xb1\x65" + tail))
@with_hostile_examples
def test_arbitrary_bytes_are_parsed_or_refused_and_offsets_stay_inside(data):
    try:
        header = parse_rtp(data)
    except ParseError:
        return
    assert 12 <= header.header_length <= header.payload_offset <= header.payload_end <= len(data)
    assert header.payload_end + header.padding_length == len(data)
    for offset, size in header.extensions.values():
        assert header.header_length + 4 <= offset
        assert offset + size <= header.payload_offset


@st.composite
def packets(draw) -> dict:
    two_byte = draw(st.booleans())
    identifiers, values = (st.integers(1, 255), st.binary(max_size=40)) if two_byte else (
        st.integers(1, 14), st.binary(min_size=1, max_size=16))  # fmt: skip
    return {
        "payload_type": draw(st.integers(0, 127)),
        "sequence_number": draw(st.integers(0, 0xFFFF)),
        "timestamp": draw(st.integers(0, 0xFFFFFFFF)),
        "ssrc": draw(st.integers(0, 0xFFFFFFFF)),
        "payload": draw(st.binary(max_size=100)),
        "marker": draw(st.booleans()),
        "csrcs": draw(st.lists(st.integers(0, 0xFFFFFFFF), max_size=15)),
        "extensions": draw(st.dictionaries(identifiers, values, max_size=6)),
        "two_byte": two_byte,
        "padding": draw(st.integers(0, 255)),
    }


@given(packets(), st.sampled_from([bytes, bytearray, memoryview]), st.binary(max_size=20))
def test_what_was_built_is_read_back_from_any_buffer(fields, buffer, rest_of_the_buffer):
    built = build_rtp(**fields)
    data = buffer(built + rest_of_the_buffer)
    header = parse_rtp(data, len(built))
    for name in ("payload_type", "sequence_number", "timestamp", "ssrc", "marker"):
        assert getattr(header, name) == fields[name]
    assert header.csrc_count == len(fields["csrcs"])
    assert header.padding_length == fields["padding"]
    assert bytes(data[header.payload_offset : header.payload_end]) == fields["payload"]
    read = {ident: bytes(data[offset : offset + size]) for ident, (offset, size) in header.extensions.items()}
    assert read == fields["extensions"]


def test_a_packet_with_all_fifteen_csrcs_is_read():
    header = parse_rtp(packet(csrcs=range(15)))
    assert (header.csrc_count, header.payload_offset) == (15, 72)


def test_a_packet_of_padding_alone_has_no_payload():
    header = parse_rtp(packet(payload=b"", padding=200))
    assert header.payload_offset == header.payload_end
    assert header.padding_length == 200


def test_a_length_beyond_the_buffer_is_refused():
    with pytest.raises(ParseError):
        parse_rtp(packet(), 2000)


def test_a_mid_that_is_not_utf_8_is_a_parse_error_and_only_when_asked_for():
    data = packet(extensions={1: b"\xff\xfe"})
    header = parse_rtp(data)
    with pytest.raises(ParseError):
        extension_text(data, header, 1)


def test_text_is_read_from_extensions():
    data = packet(extensions={1: b"004", 5: b"\x12\x34"})
    header = parse_rtp(data)
    assert extension_text(data, header, 1) == "004"
    assert extension_text(data, header, 2) is None


def test_reading_stops_at_element_fifteen():
    data = b"\x90" + packet()[1:12] + b"\xbe\xde\x00\x02\x10a\xf0b\x20c\x00\x00" + b"payload"
    header = parse_rtp(data)
    assert list(header.extensions) == [1]
    assert data[header.payload_offset :] == b"payload"


def test_an_unknown_extension_profile_is_stepped_over():
    data = b"\x90" + packet()[1:12] + b"\x12\x34\x00\x01abcd" + b"payload"
    header = parse_rtp(data)
    assert header.extensions == {}
    assert data[header.payload_offset :] == b"payload"


def test_sequence_numbers_compare_across_the_wrap():
    assert seq_diff(2, 65534) == 4
    assert seq_diff(65534, 2) == -4


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_the_way_from_one_sequence_number_to_another_is_the_shorter_one(a, b):
    assert -0x8000 <= seq_diff(a, b) <= 0x7FFF
    assert (b + seq_diff(a, b)) & 0xFFFF == a


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-30_000, 30_000), max_size=60))
def test_unwrapped_numbers_move_as_the_stream_does(first, steps):
    unwrapper = SequenceUnwrapper()
    position = first
    unwrapped = unwrapper.unwrap(first)
    for step in steps:
        position += step
        before, unwrapped = unwrapped, unwrapper.unwrap(position & 0xFFFF)
        assert unwrapped - before == step


def test_a_packet_from_just_before_the_first_is_not_negative():
    unwrapper = SequenceUnwrapper()
    first = unwrapper.unwrap(0)
    assert unwrapper.unwrap(65535) == first - 1 >= 0
