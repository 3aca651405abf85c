"""RTCP: what a compound yields, what condemns it, and feedback that counts across the wrap."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.core.errors import ParseError
from sfu.core.rtcp import (
    Bye,
    ExtendedReport,
    FullIntraRequest,
    Nack,
    PictureLossIndication,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
    pack,
    parse_compound,
)
from sfu.core.transport_feedback import TransportFeedback

WORD = b"\0\0\0\1"
TRANSPORT_CC = pack(205, 15, WORD * 2 + struct.pack("!HHI", 10, 3, 1) + b"\x20\x03\1\2\3\0\0\0")

HOSTILE = {
    "nothing": b"",
    "half a header": b"\x80\xc8\0",
    "version 1": b"\x40\xc9\0\1" + WORD,
    "sender report of zero length": b"\x80\xc8\0\0",
    "receiver report of zero length": b"\x80\xc9\0\0",
    "picture loss of zero length": b"\x81\xce\0\0",
    "nack of zero length": b"\x81\xcd\0\0",
    "remb of zero length is another's feedback, but the padding bit": b"\xaf\xce\0\0",
    "source description of zero length": b"\x81\xca\0\0",
    "longer than the datagram": b"\x80\xc9\xff\xff" + WORD,
    "thirty-one blocks that are not there": b"\x9f\xc9\0\1" + WORD,
    "padding longer than the packet": b"\xa0\xc9\0\2" + WORD + b"\0\0\0\x0c",
    "padding of zero": b"\xa0\xc9\0\2" + WORD + b"\0\0\0\0",
    "padding that is no word": b"\xa0\xc9\0\2" + WORD + b"\0\0\0\3",
    "nack that asks for nothing": pack(205, 1, WORD * 2),
    "fir of half an entry": pack(206, 4, WORD * 3),
    "remb with 255 ssrcs": pack(206, 15, WORD * 2 + b"REMB\xff\0\0\1"),
    "remb with one ssrc too many": pack(206, 15, WORD * 2 + b"REMB\1\0\0\1" + WORD * 2),
    "remb without a bitrate": pack(206, 15, WORD * 2 + b"REMB"),
    "sdes that never ends": pack(202, 1, WORD + b"\1\0\1\0"),
    "sdes item beyond the packet": pack(202, 1, WORD + b"\1\xffab"),
    "sdes with more chunks than it has": pack(202, 31, WORD + b"\0\0\0\0"),
    "goodbye with more ssrcs than it has": pack(203, 31, WORD),
    "goodbye with a reason beyond the packet": pack(203, 1, WORD + b"\xffabc"),
    "transport feedback without chunks": pack(205, 15, WORD * 2 + struct.pack("!HHI", 10, 3, 1)),
    "transport feedback of 65535 arrivals and no times": pack(
        205, 15, WORD * 2 + struct.pack("!HHI", 10, 65535, 1) + b"\x3f\xff" * 10
    ),
    "transport feedback with a reserved symbol": pack(
        205, 15, WORD * 2 + struct.pack("!HHI", 10, 1, 1) + b"\x60\1\0\0"
    ),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_malformed_compound_is_a_parse_error(data):
    with pytest.raises(ParseError):
        parse_compound(data)


def with_hostile_examples(test):
    for data in HOSTILE.values():
        test = example(data)(test)
    return test


RTCP_LIKE = st.lists(
    st.builds(
        lambda kind, count, body: pack(kind, count, body + bytes(-len(body) % 4)),
        st.sampled_from([200, 201, 202, 203, 204, 205, 206, 207]),
        st.sampled_from([0, 1, 2, 4, 11, 15, 31]),
        st.binary(max_size=60) | st.binary(max_size=30).map(lambda tail: WORD * 2 + b"REMB" + tail),
    ),
    min_size=1,
    max_size=4,
).map(b"".join)


@given(st.binary(max_size=300) | RTCP_LIKE)
@with_hostile_examples
def test_arbitrary_bytes_are_parsed_or_refused(data):
    try:
        packets = parse_compound(data)
    except ParseError:
        return
    assert len(packets) <= len(data) // 4
    for packet in packets:
        assert parse_compound(packet.serialize())


ssrcs = st.integers(0, 0xFFFFFFFF)
words = st.integers(0, 0xFFFFFFFF)
blocks = st.lists(
    st.builds(
        ReportBlock,
        ssrc=ssrcs,
        fraction_lost=st.integers(0, 255),
        packets_lost=st.integers(-0x800000, 0x7FFFFF),
        highest_sequence=words,
        jitter=words,
        last_sr=words,
        delay_since_last_sr=words,
    ),
    max_size=31,
)
cnames = st.text(st.characters(codec="utf-8"), max_size=60)
feedback = st.builds(
    lambda sender, media, base, reference, number, gaps: TransportFeedback(
        sender_ssrc=sender,
        media_ssrc=media,
        base_sequence=base,
        count=sum(gap for gap, _ in gaps),
        reference_time=reference,
        feedback_count=number,
        received=[
            (base - 1 + sum(gap for gap, _ in gaps[: index + 1]), delta) for index, (_, delta) in enumerate(gaps)
        ],
    ),
    ssrcs,
    ssrcs,
    st.integers(0, 0xFFFF),
    st.integers(-0x800000, 0x7FFFFF),
    st.integers(0, 255),
    st.lists(
        st.tuples(
            st.just(1) | st.integers(1, 3) | st.integers(1, 9000), st.integers(0, 255) | st.integers(-0x8000, 0x7FFF)
        ),
        max_size=60,
    ).filter(lambda gaps: sum(gap for gap, _ in gaps) <= 0xFFFF),
)  # fmt: skip
packets = st.one_of(
    st.builds(SenderReport, ssrcs, st.integers(0, 2**64 - 1), words, words, words, blocks),
    st.builds(ReceiverReport, ssrcs, blocks),
    st.builds(ExtendedReport, ssrcs, st.integers(0, 2**64 - 1), st.lists(st.tuples(words, words, words), max_size=9)),
    st.builds(SourceDescription, st.lists(st.tuples(ssrcs, cnames), max_size=31)),
    st.builds(Bye, st.lists(ssrcs, max_size=31), st.binary(max_size=255)),
    st.builds(PictureLossIndication, ssrcs, ssrcs),
    st.builds(FullIntraRequest, ssrcs, st.lists(st.tuples(ssrcs, st.integers(0, 255)), max_size=20)),
    st.builds(Remb, ssrcs, st.integers(0, 0x3FFFF), st.lists(ssrcs, max_size=255)),
    feedback,
)


@given(st.lists(packets, min_size=1, max_size=4), st.sampled_from([bytes, bytearray, memoryview]))
def test_what_was_built_is_read_back_from_any_buffer(built, buffer):
    assert parse_compound(buffer(b"".join(packet.serialize() for packet in built))) == built


@given(ssrcs, ssrcs, st.sets(st.integers(0, 0xFFFF), min_size=1, max_size=200))
def test_a_nack_asks_for_exactly_the_lost_packets(sender, media, lost):
    [read] = parse_compound(Nack(sender, media, sorted(lost)).serialize())
    assert (read.sender_ssrc, read.media_ssrc) == (sender, media)
    assert len(read.lost) == len(lost)
    assert set(read.lost) == lost


def test_a_nack_across_the_wrap_is_one_pair_in_the_streams_order():
    nack = Nack(1, 2, [0, 1, 14, 65534, 65535])
    assert nack.pairs() == [(65534, 0b1000_0000_0000_0111)]
    assert parse_compound(nack.serialize())[0].lost == [65534, 65535, 0, 1, 14]


def test_a_nack_takes_unwrapped_numbers():
    assert Nack(1, 2, [0x1FFFE, 0x1FFFF, 0x20000]).pairs() == [(0xFFFE, 0b11)]


def test_a_nack_begins_a_new_pair_after_sixteen_numbers():
    assert Nack(1, 2, [100, 116, 117]).pairs() == [(100, 0x8000), (117, 0)]


def test_a_nack_whose_bits_wrap_is_read():
    data = pack(205, 1, WORD * 2 + struct.pack("!HH", 65535, 0x8001))
    assert parse_compound(data)[0].lost == [65535, 0, 15]


def test_a_sender_report_with_a_profile_extension_is_read():
    report = SenderReport(7, 1 << 40, 9, 10, 11, [ReportBlock(3)])
    data = report.serialize()
    extended = data[:2] + struct.pack("!H", len(data) // 4 - 1 + 2) + data[4:] + b"profiles"
    assert parse_compound(extended + PictureLossIndication(1, 2).serialize()) == [report, PictureLossIndication(1, 2)]


def test_types_that_are_not_ours_are_skipped():
    avb, app, ccfb = pack(208, 0, WORD), pack(204, 0, WORD + b"name"), pack(205, 11, WORD * 2)
    another = pack(206, 15, WORD * 2 + b"LERP" + WORD)
    assert parse_compound(avb + app + ccfb + another + Bye([5]).serialize()) == [Bye([5])]


def test_of_an_extended_report_the_blocks_for_the_round_trip_are_read():
    loss_runs = struct.pack("!BBH", 1, 0, 2) + WORD * 2
    ours = ExtendedReport(1, 5 << 32, [(2, 3, 4)]).serialize()[4:]
    cut_short = struct.pack("!BBHI", 5, 0, 1, 7)  # a delay of one word where three belong
    assert parse_compound(pack(207, 0, ours + loss_runs + cut_short)) == [ExtendedReport(1, 5 << 32, [(2, 3, 4)])]


def test_an_extended_report_whose_block_overruns_is_refused():
    with pytest.raises(ParseError):
        parse_compound(pack(207, 0, WORD + struct.pack("!BBH", 5, 0, 3) + WORD))


def test_padding_at_the_end_is_not_content():
    data = bytearray(Bye([5]).serialize() + b"\0\0\0\4")
    data[0] |= 0x20
    data[3] += 1
    assert parse_compound(data) == [Bye([5])]


def test_a_feedback_on_arrivals_is_padded_by_less_than_a_word():
    chromiums = bytes.fromhex("afcd0005000000014152aab600000001005615002001d301")
    [feedback] = parse_compound(chromiums)
    assert isinstance(feedback, TransportFeedback)
    assert [number for number, _ in feedback.received] == [0]


def test_items_beside_the_cname_are_read_over():
    data = pack(202, 1, WORD + b"\2\4name\1\3abc\6\1x" + bytes(2))
    assert parse_compound(data) == [SourceDescription([(1, "abc")])]


def test_a_cname_that_is_not_utf_8_is_no_reason_to_drop_a_report():
    assert parse_compound(pack(202, 1, WORD + b"\1\2\xff\xfe" + bytes(4))) == [SourceDescription([(1, "\ufffd\ufffd")])]


def test_more_sources_than_a_packet_can_count_make_two_packets():
    names = [(ssrc, f"peer{ssrc}") for ssrc in range(40)]
    first, second = parse_compound(SourceDescription(names).serialize())
    assert first.cnames + second.cnames == names
    assert len(first.cnames) == 31


def test_a_large_bitrate_keeps_its_upper_eighteen_bits():
    [read] = parse_compound(Remb(1, 123_456_789, [2]).serialize())
    assert 0 <= 123_456_789 - read.bitrate < 123_456_789 / 2**17


def test_what_was_lost_is_clamped_to_what_a_report_can_say():
    [read] = parse_compound(
        ReceiverReport(1, [ReportBlock(2, packets_lost=10**9), ReportBlock(3, packets_lost=-(10**9))]).serialize()
    )
    assert [block.packets_lost for block in read.blocks] == [0x7FFFFF, -0x800000]


def test_transport_feedback_of_another_implementation_is_read():
    [read] = parse_compound(TRANSPORT_CC)
    assert (read.base_sequence, read.count, read.reference_time, read.feedback_count) == (10, 3, 0, 1)
    assert read.received == [(10, 1), (11, 2), (12, 3)]
