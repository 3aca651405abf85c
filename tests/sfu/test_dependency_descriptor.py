"""The dependency descriptor, written here by the specification's syntax and read back; structures are its examples."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sfu.core.dependency_descriptor import DependencyDescriptors
from sfu.core.errors import ParseError


class Writer:
    def __init__(self):
        self.bits = ""

    def put(self, count: int, value: int) -> "Writer":
        assert 0 <= value < 1 << count
        self.bits += f"{value:0{count}b}" if count else ""
        return self

    def put_one_of(self, values: int, value: int) -> "Writer":
        """write_ns of the specification."""
        width = values.bit_length()
        shorter = (1 << width) - values
        return self.put(width - 1, value) if value < shorter else self.put(width, value + shorter)

    def data(self) -> bytes:
        size = -(-len(self.bits) // 8)
        return int(self.bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")


class Row(NamedTuple):
    """A template as the specification's tables have it."""

    spatial: int
    temporal: int
    diffs: Sequence[int]
    chains: Sequence[int]
    dtis: str


L1T3 = [
    Row(0, 0, [], [0], "SSS"),
    Row(0, 0, [4], [4], "SSS"),
    Row(0, 1, [2], [2], "SD-"),
    Row(0, 2, [1], [1], "D--"),
    Row(0, 2, [1], [3], "D--"),
]
L2T1 = [
    Row(0, 0, [], [0, 0], "SS"),
    Row(0, 0, [2], [2, 1], "SR"),
    Row(1, 0, [1], [1, 1], "-S"),
    Row(1, 0, [2, 1], [1, 1], "-R"),
]
DTI = {"-": 0, "D": 1, "S": 2, "R": 3}


def put_structure(
    writer: Writer, rows: Sequence[Row], protected_by: Sequence[int], offset: int, sizes: Sequence[tuple[int, int]]
) -> None:
    targets, chains = len(rows[0].dtis), len(rows[0].chains)
    writer.put(6, offset).put(5, targets - 1)
    for row, following in pairwise(rows):
        writer.put(2, 2 if following.spatial > row.spatial else int(following.temporal > row.temporal))
    writer.put(2, 3)
    for row in rows:
        for symbol in row.dtis:
            writer.put(2, DTI[symbol])
    for row in rows:
        for diff in row.diffs:
            writer.put(1, 1).put(4, diff - 1)
        writer.put(1, 0)
    writer.put_one_of(targets + 1, chains)
    if chains:
        for chain in protected_by:
            writer.put_one_of(chains, chain)
        for row in rows:
            for diff in row.chains:
                writer.put(4, diff)
    writer.put(1, bool(sizes))
    for width, height in sizes:
        writer.put(16, width - 1).put(16, height - 1)


def written(
    template: int,
    frame: int,
    *,
    first: bool = True,
    last: bool = True,
    rows: Sequence[Row] = (),
    protected_by: Sequence[int] = (0, 0, 0),
    offset: int = 0,
    sizes: Sequence[tuple[int, int]] = (),
    active: tuple[int, int] | None = None,
    dtis: str = "",
    diffs: Sequence[int] | None = None,
    chains: Sequence[int] = (),
) -> bytes:
    """`active` is (how many bits, the bits); the rest is as in the specification."""
    writer = Writer().put(1, first).put(1, last).put(6, template).put(16, frame)
    if rows or active or dtis or diffs is not None or chains:
        writer.put(1, bool(rows)).put(1, bool(active)).put(1, bool(dtis)).put(1, diffs is not None).put(1, bool(chains))
        if rows:
            put_structure(writer, rows, protected_by, offset, sizes)
        if active:
            writer.put(*active)
        for symbol in dtis:
            writer.put(2, DTI[symbol])
        if diffs is not None:
            for diff in diffs:
                nibbles = -(-(diff - 1).bit_length() // 4) or 1
                writer.put(2, nibbles).put(4 * nibbles, diff - 1)
            writer.put(2, 0)
        for diff in chains:
            writer.put(8, diff)
    return writer.data()


def read(reader: DependencyDescriptors, data: bytes):
    return reader.parse(data, 0, len(data))


def symbols(dtis: Sequence[int]) -> str:
    return "".join("-DSR"[dti] for dti in dtis)


def reader_of(rows: Sequence[Row], protected_by: Sequence[int] = (0, 0, 0), offset: int = 0, frame: int = 100):
    reader = DependencyDescriptors()
    read(reader, written(offset, frame, rows=rows, protected_by=protected_by, offset=offset))
    return reader


# --- what a key frame brings ---


def test_a_key_frame_brings_the_structure():
    reader = DependencyDescriptors()
    assert reader.structure is None
    found = read(reader, written(0, 100, last=False, rows=L1T3, sizes=[(1280, 720)]))
    assert (found.key_frame, found.first_in_frame, found.last_in_frame, found.frame_number) == (True, True, False, 100)
    structure = reader.structure
    assert found.structure is structure
    assert (structure.decode_targets, structure.chains, structure.protected_by) == (3, 1, (0, 0, 0))
    assert structure.resolutions == ((1280, 720),)
    assert structure.target_layers == ((0, 2), (0, 1), (0, 0))
    read_back = [
        (t.spatial_id, t.temporal_id, t.frame_diffs, t.chain_diffs, symbols(t.dtis)) for t in structure.templates
    ]
    assert read_back == [(r.spatial, r.temporal, tuple(r.diffs), tuple(r.chains), r.dtis) for r in L1T3]
    assert found.active == 0b111


def test_the_spatial_layers_of_one_picture_are_frames_of_their_own():
    reader = reader_of(L2T1, protected_by=(0, 1))
    found = read(reader, written(3, 102))
    assert (found.spatial_id, found.frame_diffs, found.chain_diffs) == (1, (2, 1), (1, 1))
    assert (found.needed_for(0), found.needed_for(1)) == (False, True)
    assert reader.structure.target_layers == ((0, 0), (1, 0))


def test_a_structure_without_chains_or_sizes():
    rows = [Row(0, 0, [], [], "S"), Row(0, 0, [1], [], "S")]
    reader = reader_of(rows, protected_by=())
    assert (reader.structure.chains, reader.structure.resolutions) == (0, ())
    assert read(reader, written(1, 101)).previous_in_chain(0) is None


# --- what follows it ---


@pytest.mark.parametrize(
    ("template", "temporal", "dtis", "previous"),
    [(1, 0, "SSS", 100), (2, 1, "SD-", 102), (3, 2, "D--", 103), (4, 2, "D--", 101)],
)
def test_three_bytes_name_a_template_and_it_tells_all(template, temporal, dtis, previous):
    data = written(template, 104, last=False)
    assert len(data) == 3
    found = read(reader_of(L1T3), data)
    assert (found.key_frame, found.temporal_id, symbols(found.dtis)) == (False, temporal, dtis)
    assert found.previous_in_chain(0) == previous
    assert [found.needed_for(target) for target in range(3)] == [symbol != "-" for symbol in dtis]
    assert [found.can_switch_to(target) for target in range(3)] == [symbol == "S" for symbol in dtis]
    assert [found.discardable_for(target) for target in range(3)] == [symbol == "D" for symbol in dtis]


def test_a_chain_that_begins_here_needs_no_earlier_frame():
    assert read(DependencyDescriptors(), written(0, 100, rows=L1T3)).previous_in_chain(0) is None


def test_frame_numbers_wrap():
    reader = reader_of(L1T3, frame=0xFFFE)
    assert read(reader, written(1, 2)).previous_in_chain(0) == 0xFFFE


def test_template_ids_begin_anywhere_and_wrap():
    reader = reader_of(L1T3, offset=62)
    assert [read(reader, written(template, 101)).temporal_id for template in (63, 0, 1, 2)] == [0, 1, 2, 2]
    for stranger in (3, 61):
        with pytest.raises(ParseError):
            read(reader, written(stranger, 101))


def test_a_frame_may_differ_from_its_template():
    """Frame 108 of the specification's dynamic prediction structure, and one that differs in everything."""
    reader = reader_of(L2T1, protected_by=(0, 1))
    found = read(reader, written(1, 108, diffs=[5], chains=[5, 1]))
    assert (found.frame_diffs, found.chain_diffs, symbols(found.dtis)) == ((5,), (5, 1), "SR")
    assert found.previous_in_chain(0) == 103
    found = read(reader, written(1, 109, dtis="D-", diffs=[1, 17, 257, 4096], chains=[255, 0]))
    assert (found.frame_diffs, found.chain_diffs, symbols(found.dtis)) == ((1, 17, 257, 4096), (255, 0), "D-")
    assert read(reader, written(1, 110)).frame_diffs == (2,)


def test_a_frame_may_refer_to_none_though_its_template_does():
    assert read(reader_of(L1T3), written(1, 108, diffs=[])).frame_diffs == ()


# --- which decode targets there are ---


def test_targets_that_are_not_produced_any_more_stay_so_until_told():
    reader = reader_of(L2T1, protected_by=(0, 1))
    assert read(reader, written(1, 101, active=(2, 0b01))).active == 0b01
    assert read(reader, written(1, 103)).active == 0b01
    assert read(reader, written(1, 105, active=(2, 0b11))).active == 0b11
    read(reader, written(1, 107, active=(2, 0b01)))
    assert read(reader, written(0, 109, rows=L2T1, protected_by=(0, 1))).active == 0b11


def test_a_key_frame_may_begin_with_fewer_targets():
    reader = DependencyDescriptors()
    read(reader, written(0, 100, rows=L2T1, protected_by=(0, 1), active=(2, 0b01)))
    assert read(reader, written(1, 101)).active == 0b01


def test_what_came_late_does_not_change_what_is_produced_now():
    reader = reader_of(L2T1, protected_by=(0, 1))
    read(reader, written(1, 120, active=(2, 0b01)))
    assert read(reader, written(1, 110, active=(2, 0b11))).active == 0b11
    assert read(reader, written(1, 122)).active == 0b01


@pytest.mark.parametrize(
    ("spatial", "temporal", "active", "target"),
    [
        (0, 2, 0b111, 0),
        (0, 1, 0b111, 1),
        (0, 0, 0b111, 2),
        (3, 7, 0b111, 0),
        (0, 2, 0b110, 1),
        (0, 0, 0b011, None),
    ],
)
def test_the_best_target_is_the_highest_that_is_wanted_and_produced(spatial, temporal, active, target):
    assert reader_of(L1T3).structure.best_target(spatial, temporal, active) == target


# --- key frames that are lost, late, or new ---


def test_nothing_is_understood_before_the_first_key_frame():
    for data in (written(0, 1), written(0, 1, diffs=[1])):
        with pytest.raises(ParseError):
            read(DependencyDescriptors(), data)


def test_a_new_key_frame_replaces_the_structure():
    reader = reader_of(L1T3)
    read(reader, written(10, 200, rows=L2T1, protected_by=(0, 1), offset=10))
    assert read(reader, written(12, 201)).spatial_id == 1
    with pytest.raises(ParseError):
        read(reader, written(1, 120))  # of the old one, and late


def test_a_key_frame_that_came_late_is_read_but_does_not_replace_a_newer_one():
    reader = reader_of(L1T3, frame=200)
    found = read(reader, written(10, 190, rows=L2T1, protected_by=(0, 1), offset=10))
    assert found.key_frame
    assert found.structure.decode_targets == 2
    assert reader.structure.decode_targets == 3
    assert read(reader, written(2, 201)).temporal_id == 1


def test_a_sender_that_counts_anew_is_followed():
    reader = reader_of(L1T3, frame=20_000)
    read(reader, written(10, 7, rows=L2T1, protected_by=(0, 1), offset=10))
    assert reader.structure.decode_targets == 2


def test_what_is_refused_leaves_no_trace():
    reader = reader_of(L1T3)
    before = reader.structure
    whole = written(40, 200, rows=L2T1, protected_by=(0, 1), offset=10)  # names a template that it does not have
    with pytest.raises(ParseError):
        read(reader, whole)
    assert reader.structure is before
    assert read(reader, written(1, 101)).active == 0b111


# --- bounds ---


WHOLE = written(0, 100, rows=L2T1, protected_by=(0, 1), sizes=[(640, 360), (1280, 720)], active=(2, 3), dtis="SS",
                diffs=[300], chains=[1, 2])  # fmt: skip


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_what_is_cut_short_is_refused(length):
    with pytest.raises(ParseError):
        DependencyDescriptors().parse(WHOLE, 0, length)


def test_a_descriptor_is_read_at_its_offset_and_not_beyond_its_buffer():
    reader = DependencyDescriptors()
    assert reader.parse(b"\xff\xff" + WHOLE + b"\xff", 2, len(WHOLE)).frame_diffs == (300,)
    with pytest.raises(ParseError):
        reader.parse(WHOLE, 1, len(WHOLE))


def test_layers_that_no_codec_has_are_refused():
    for row, many in ((Row(1, 0, [], [0], "S"), 5), (Row(0, 1, [], [0], "S"), 9), (Row(0, 0, [], [0], "S"), 65)):
        rows = [Row(row.spatial * n, row.temporal * n, [], [0], "S") for n in range(many)]
        with pytest.raises(ParseError):
            read(DependencyDescriptors(), written(0, 1, rows=rows, protected_by=[0]))
        assert read(DependencyDescriptors(), written(0, 1, rows=rows[:-1], protected_by=[0])).key_frame


def test_a_frame_that_refers_to_too_many_is_refused():
    reader = reader_of(L1T3)
    assert len(read(reader, written(1, 108, diffs=range(1, 9))).frame_diffs) == 8
    with pytest.raises(ParseError):
        read(reader, written(1, 108, diffs=range(1, 10)))


def test_more_than_a_header_extension_holds_is_refused():
    with pytest.raises(ParseError):
        DependencyDescriptors().parse(WHOLE + bytes(300), 0, 256)


@given(st.lists(st.binary(max_size=60), max_size=4))
@example([b"\xc0\x00\x01\x80" + bytes(50)])
@example([b"\xc0\x00\x01\x80\x0f" + b"\xff" * 60])
def test_arbitrary_bytes_are_a_descriptor_or_refused(packets):
    reader = reader_of(L1T3)
    for data in packets:
        for buffer in (data, bytearray(data), memoryview(data)):
            try:
                found = reader.parse(buffer, 0, len(buffer))
            except ParseError:
                continue
            structure = found.structure
            assert len(found.dtis) == structure.decode_targets <= 32
            assert len(found.chain_diffs) == structure.chains <= structure.decode_targets
            assert found.active < 1 << structure.decode_targets
            for target in range(structure.decode_targets):
                found.previous_in_chain(target)
            structure.best_target(3, 7, found.active)


@given(st.data())
def test_any_structure_that_was_written_is_read(data):
    targets = data.draw(st.integers(1, 32))
    chains = data.draw(st.integers(0, min(targets, 4)))
    places = sorted(data.draw(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1)))
    # Templates go up one temporal or one spatial layer at a time, each spatial layer from its lowest on.
    places = [
        (s, t) for s in range(places[-1][0] + 1) for t in range(max([t for a, t in places if a == s], default=0) + 1)
    ]
    rows = [
        Row(
            spatial,
            temporal,
            data.draw(st.lists(st.integers(1, 16), max_size=3)),
            data.draw(st.lists(st.integers(0, 15), min_size=chains, max_size=chains)),
            data.draw(st.text("-DSR", min_size=targets, max_size=targets)),
        )
        for spatial, temporal in places
    ]
    protected_by = data.draw(st.lists(st.integers(0, chains - 1), min_size=targets, max_size=targets)) if chains else []
    sizes = data.draw(st.just([]) | st.just([(1920, 65_536)] * (places[-1][0] + 1)))
    offset = data.draw(st.integers(0, 63))
    whole = written(offset, 9, rows=rows, protected_by=protected_by, offset=offset, sizes=sizes)
    reader = DependencyDescriptors()
    if len(whole) > 255:
        with pytest.raises(ParseError):
            read(reader, whole)
        return
    structure = read(reader, whole).structure
    assert structure.protected_by == tuple(protected_by)
    assert structure.resolutions == tuple(sizes)
    for index, row in enumerate(rows):
        found = read(reader, written(offset + index & 63, 10 + index))
        assert (found.spatial_id, found.temporal_id, symbols(found.dtis)) == (row.spatial, row.temporal, row.dtis)
        assert (found.frame_diffs, found.chain_diffs) == (tuple(row.diffs), tuple(row.chains))
