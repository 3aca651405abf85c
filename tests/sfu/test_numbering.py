"""Numbers that receivers see: without a gap that is not a loss, and every one of them leads back to its packet."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sfu.core.layout import NUMBER_AT, canonical, mid_text, payload_offset, retransmission
from sfu.core.numbering import Numbering
from sfu.core.rtp import build_rtp, parse_rtp

LOW: Any = "low layer"
HIGH: Any = "high layer"


def test_numbers_go_on_over_a_change_of_layer() -> None:
    numbering = Numbering(5000)
    numbering.begin(LOW, 100)
    assert [numbering.number(n) for n in (100, 101, 102)] == [5000, 5001, 5002]
    numbering.begin(HIGH, 90000)
    assert [numbering.number(n) for n in (90000, 90001)] == [5003, 5004]
    assert numbering.number(89999) is None


def test_a_dropped_packet_leaves_no_gap_and_a_late_one_before_it_keeps_its_number() -> None:
    numbering = Numbering(5000)
    numbering.begin(LOW, 100)
    assert numbering.number(100) == 5000
    assert numbering.number(102) == 5002
    assert numbering.drop(103)
    assert numbering.number(104) == 5003
    assert numbering.number(101) == 5001
    assert not numbering.drop(104), "it went out already"


def test_a_number_leads_back_to_the_packet_that_had_it() -> None:
    numbering = Numbering(0x1FFFE)
    numbering.begin(LOW, 7)
    for sequence in range(7, 12):
        numbering.number(sequence)
    numbering.begin(HIGH, 400)
    numbering.number(400)
    found = [numbering.origin(n) for n in (0xFFFE, 0xFFFF, 0, 3, 4)]
    assert [(f[0].stream, f[1]) if f else None for f in found] == [(LOW, 7), (LOW, 8), (LOW, 9), (HIGH, 400), None]
    assert numbering.origin(0xFFFD) is None


@given(st.lists(st.sampled_from(["send", "drop", "switch"]), max_size=60), st.integers(0, 0x1FFFF))
def test_whatever_happens_numbers_are_consecutive_and_invertible(steps: list[str], first: int) -> None:
    numbering = Numbering(first)
    stream: Any = 0
    sequence = 1000
    numbering.begin(stream, sequence)
    sent: list[tuple[int, Any, int]] = []
    for step in steps:
        if step == "switch":
            stream += 1
            sequence += 5000
            numbering.begin(stream, sequence)
        elif step == "drop":
            assert numbering.drop(sequence)
            sequence += 1
        else:
            number = numbering.number(sequence)
            assert number is not None
            sent.append((number, stream, sequence))
            sequence += 1
    assert [number for number, _, _ in sent] == list(range(first, first + len(sent)))
    for number, stream, sequence in sent:
        origin = numbering.origin(number & 0xFFFF)
        assert origin is not None
        assert (origin[0].stream, origin[1], origin[2]) == (stream, sequence, number)


def test_the_layout_is_what_it_says() -> None:
    packet = build_rtp(
        payload_type=96,
        sequence_number=513,
        timestamp=7,
        ssrc=9,
        csrcs=[1, 2, 3],
        marker=True,
        payload=b"picture",
        extensions={3: b"\x05", 9: b"mid", 12: b"x" * 16},
        padding=7,
    )
    made = canonical(
        packet,
        parse_rtp(packet),
        payload_type=101,
        ssrc=77,
        mid=b"00a",
        numbered=True,
        passed_on=((3, 8), (12, 10), (14, 11)),
    )
    header = parse_rtp(made)
    assert (header.payload_type, header.ssrc, header.sequence_number, header.timestamp) == (101, 77, 513, 7)
    assert (header.marker, header.csrc_count, header.padding_length) == (True, 0, 0)
    assert made[header.payload_offset :] == b"picture"
    assert header.payload_offset == payload_offset(made)
    assert header.extensions[1] == (17, 3)
    assert made[17:20] == b"00a"
    assert header.extensions[5] == (NUMBER_AT, 2)
    assert header.extensions[4] == (24, 3)
    assert {i: bytes(made[o : o + s]) for i, (o, s) in header.extensions.items() if i in (8, 10, 11)} == {
        8: b"\x05",
        10: b"x" * 16,
    }


@given(st.binary(max_size=300), st.booleans())
def test_a_retransmission_holds_the_original(payload: bytes, marker: bool) -> None:
    packet = build_rtp(
        payload_type=96, sequence_number=513, timestamp=7, ssrc=9, marker=marker, payload=payload, extensions={}
    )
    made = canonical(packet, parse_rtp(packet), payload_type=101, ssrc=76, mid=b"00a", numbered=False, passed_on=())
    rtx = retransmission(made, payload_type=102, ssrc=77, sequence_number=4, original=513, timestamp=7)
    header = parse_rtp(rtx)
    assert (header.payload_type, header.ssrc, header.sequence_number, header.timestamp) == (102, 77, 4, 7)
    assert header.marker == marker
    assert rtx[header.payload_offset :] == b"\x02\x01" + payload


def test_mids_are_all_different_and_of_one_width() -> None:
    mids = {mid_text(number) for number in range(5000)}
    assert len(mids) == 5000
    assert {len(mid) for mid in mids} == {3}
