"""Who is shown, when and where: a timeline in, scenes out, no file touched."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from recordings.composing.composition import (
    FPS,
    HD,
    MAX_TILES,
    SIZES,
    Rect,
    Scene,
    Size,
    grid,
    longest_gap,
    plan,
    presentation,
)
from recordings.composing.floor import SPEAKS_FOR, STAYS
from recordings.timeline import RecordedTime
from sfu.manifest import (
    ENTRIES,
    ActiveSpeaker,
    Joined,
    Left,
    Mark,
    Started,
    TrackEnded,
    TrackPaused,
    TrackResumed,
    TrackStarted,
)
from sfu.protocol import Source

T = 1000.0  # the start, seconds since the epoch


def start(at: float, epoch: str = "e1") -> Started:
    return Started(at=T + at, recording="r", room="demo", epoch=epoch)


def join(at: float, name: str) -> Joined:
    return Joined(at=T + at, peer=name, name=name)


def leave(at: float, name: str) -> Left:
    return Left(at=T + at, peer=name)


def track(at: float, name: str, source: Source = "camera", *, paused: bool = False, epoch: str = "") -> TrackStarted:
    return TrackStarted(
        at=T + at,
        producer_id=f"{name}-{source}{epoch}",
        peer=name,
        kind="audio" if source == "microphone" else "video",
        source=source,
        file="x",
        mime_type="video/VP8",
        payload_type=101,
        clock_rate=90000,
        paused=paused,
    )


def speaks(at: float, name: str | None) -> ActiveSpeaker:
    return ActiveSpeaker(at=T + at, peer=name)


def scenes(
    entries: list[ENTRIES], duration: float = 10.0, last: dict[str, float] | None = None, layout: str = "grid"
) -> list[Scene]:
    last_packets = {producer_id: T + at for producer_id, at in (last or {}).items()}
    planned = plan(entries, time=RecordedTime(T), duration=duration, last_packets=last_packets, layout=layout)
    covered = list(itertools.chain.from_iterable(range(scene.begin, scene.end) for scene in planned))
    assert covered == list(range(round(duration * FPS)))
    return planned


def shown(planned: list[Scene], seconds: float) -> list[tuple[str, str | None]]:
    frame = int(seconds * FPS)
    [scene] = [scene for scene in planned if scene.begin <= frame < scene.end]
    return [(tile.name, tile.producer_id) for tile in scene.tiles]


def overlap(one: Rect, other: Rect) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def inside(rect: Rect, size: Size = HD) -> bool:
    return rect.x >= 0 and rect.y >= 0 and rect.x + rect.width <= size.width and rect.y + rect.height <= size.height


def test_a_scene_begins_when_somebody_comes_and_when_somebody_goes() -> None:
    planned = scenes([start(0), join(0, "Tina"), track(0, "Tina"), join(3, "Sam"), track(3, "Sam"), leave(6, "Sam")])
    assert [(scene.begin, scene.end) for scene in planned] == [(0, 90), (90, 180), (180, 300)]
    assert shown(planned, 4) == [("Tina", "Tina-camera"), ("Sam", "Sam-camera")]
    assert shown(planned, 7) == [("Tina", "Tina-camera")]


def test_a_camera_that_is_off_leaves_the_name_in_its_place() -> None:
    planned = scenes(
        [
            start(0),
            join(0, "Tina"),
            track(0, "Tina"),
            join(0, "Sam"),
            track(0, "Sam", paused=True),
            TrackPaused(at=T + 2, producer_id="Tina-camera"),
            TrackResumed(at=T + 4, producer_id="Tina-camera"),
            TrackEnded(at=T + 6, producer_id="Tina-camera"),
        ]
    )
    assert shown(planned, 1) == [("Tina", "Tina-camera"), ("Sam", None)]
    assert shown(planned, 3) == [("Tina", None), ("Sam", None)]
    assert shown(planned, 5)[0] == ("Tina", "Tina-camera")
    assert shown(planned, 7)[0] == ("Tina", None)
    [again] = [scene for scene in planned if scene.begin == 4 * FPS]
    assert again.tiles[0].since == pytest.approx(2.0)  # what was shown up to the pause is stale


def test_a_shared_screen_is_large_until_it_ends() -> None:
    planned = scenes(
        [
            start(0),
            join(0, "Tina"),
            track(0, "Tina"),
            join(0, "Sam"),
            track(2, "Tina", "screen"),
            TrackEnded(at=T + 5, producer_id="Tina-screen"),
        ]
    )
    assert shown(planned, 3) == [("Tina (screen)", "Tina-screen"), ("Tina", "Tina-camera"), ("Sam", None)]
    large, beside = planned[1].tiles[0].rect, [tile.rect for tile in planned[1].tiles[1:]]
    assert all(large.width > 4 * rect.width for rect in beside)
    assert shown(planned, 6) == [("Tina", "Tina-camera"), ("Sam", None)]


def test_what_is_asked_for_from_a_frame_on_is_the_same_as_of_the_whole() -> None:
    entries: list[ENTRIES] = [start(0), join(0, "A"), join(2, "B"), track(2, "B"), join(4, "C"), leave(6, "B")]
    whole = scenes(entries)
    for begin in range(0, 10 * FPS, 7):
        part = plan(entries, time=RecordedTime(T), duration=10.0, last_packets={}, begin=begin)
        assert part[0].begin == begin
        assert [scene.tiles for scene in part] == [scene.tiles for scene in whole if scene.end > begin]
        assert [scene.end for scene in part] == [scene.end for scene in whole if scene.end > begin]


def test_of_two_screens_the_last_is_shown() -> None:
    planned = scenes([start(0), join(0, "A"), join(0, "B"), track(1, "A", "screen"), track(2, "B", "screen")])
    assert shown(planned, 3)[0] == ("B (screen)", "B-screen")


def test_microphones_change_no_picture() -> None:
    assert len(scenes([start(0), join(0, "Tina"), track(0, "Tina"), track(4, "Tina", "microphone")])) == 1


def test_people_keep_their_places_when_cameras_come_and_go() -> None:
    planned = scenes([start(0), join(0, "A"), join(0, "B"), join(0, "C"), track(2, "C"), track(4, "B"), track(6, "A")])
    assert {tuple(name for name, _ in shown(planned, at)) for at in (1, 3, 5, 7)} == {("A", "B", "C")}


def test_of_more_than_fit_those_with_cameras_are_shown_and_the_others_counted() -> None:
    entries: list[ENTRIES] = [start(0), *(join(0, f"P{number}") for number in range(40)), track(1, "P39")]
    tiles = shown(scenes(entries), 2)
    assert len(tiles) == MAX_TILES
    assert tiles[0] == ("P39", "P39-camera")
    assert tiles[-1] == ("+ 16", None)
    beside = shown(scenes([*entries, track(2, "P0", "screen")]), 3)
    assert len(beside) == 6
    assert beside[-1] == ("+ 36", None)


def test_after_a_workers_death_people_stay_and_their_cameras_are_off_until_they_are_back() -> None:
    planned = scenes(
        [
            start(0),
            join(0, "Tina"),
            track(0, "Tina"),
            join(0, "Gone"),
            start(5, "e2"),
            join(6, "Tina"),
            track(6, "Tina", epoch="2"),
        ],
        last={"Tina-camera": 3.0, "Tina-camera2": 10.0},
    )
    assert shown(planned, 2) == [("Tina", "Tina-camera"), ("Gone", None)]
    assert shown(planned, 4) == [("Tina", None), ("Gone", None)]
    assert shown(planned, 5.5) == [("Tina", None)]
    assert shown(planned, 7) == [("Tina", "Tina-camera2")]


def test_a_class_that_nobody_came_to_is_a_picture_of_nothing() -> None:
    assert [scene.tiles for scene in scenes([start(0)])] == [()]


def test_entries_before_the_start_and_after_the_end_count_at_the_edges() -> None:
    planned = scenes([join(-5, "Tina"), start(0), track(-1, "Tina"), leave(99, "Tina")])
    assert shown(planned, 0) == shown(planned, 9.9) == [("Tina", "Tina-camera")]


# --- layouts ---------------------------------------------------------------------------------------------------------

THREE: list[ENTRIES] = [
    start(0), join(0, "A"), track(0, "A"), join(0, "B"), track(0, "B"), join(0, "C"),
]  # fmt: skip


def large(planned: list[Scene], seconds: float) -> str:
    [scene] = [scene for scene in planned if scene.begin <= int(seconds * FPS) < scene.end]
    biggest = max(scene.tiles, key=lambda tile: tile.rect.width)
    assert all(biggest.rect.width > 3 * tile.rect.width for tile in scene.tiles if tile is not biggest)
    return biggest.name


@pytest.mark.parametrize("layout", ["speaker", "presentation"])
def test_who_speaks_is_large_and_the_others_stand_beside(layout: str) -> None:
    planned = scenes([*THREE, speaks(1, "A"), speaks(5, "B")], layout=layout)
    assert [name for name, _ in shown(planned, 3)] == ["A", "B", "C"]
    assert [name for name, _ in shown(planned, 7)] == ["B", "A", "C"]
    assert [large(planned, at) for at in (0.5, 3, 7)] == ["A", "A", "B"]


def test_alone_one_fills_the_picture() -> None:
    [scene] = scenes([start(0), join(0, "A"), track(0, "A")], layout="speaker")
    assert [tile.rect for tile in scene.tiles] == grid(1)


def test_before_anybody_spoke_the_first_to_be_seen_is_large() -> None:
    planned = scenes([start(0), join(0, "C"), join(0, "A"), track(4, "A")], layout="speaker")
    assert [large(planned, at) for at in (1, 5)] == ["C", "A"]


def test_with_a_screen_the_speaker_stands_beside_it() -> None:
    shared = [*THREE, track(2, "A", "screen"), speaks(3, "B"), TrackEnded(at=T + 8, producer_id="A-screen")]
    planned = scenes(shared, layout="speaker")
    assert shown(planned, 2.5) == [("A (screen)", "A-screen"), ("A", "A-camera")]
    assert shown(planned, 5) == [("A (screen)", "A-screen"), ("B", "B-camera")]
    assert large(planned, 9) == "B"
    in_presentation = scenes(shared, layout="presentation")
    assert [name for name, _ in shown(in_presentation, 5)] == ["A (screen)", "A", "B", "C"]
    assert large(in_presentation, 5) == "A (screen)"


def test_beside_a_screen_who_speaks_is_always_to_be_seen() -> None:
    many: list[ENTRIES] = [start(0), *(join(0, f"P{number}") for number in range(20)), track(1, "P0", "screen")]
    entries = [*many, speaks(2, "P17"), speaks(6, "P1")]
    beside = [[name for name, _ in shown(scenes(entries, layout="presentation"), at)][1:] for at in (1.5, 5, 9.5)]
    assert beside[0] == beside[2] == ["P0", "P1", "P2", "P3", "+ 16"]
    assert beside[1] == ["P0", "P1", "P2", "P17", "+ 16"]
    assert len(scenes(entries, layout="grid")) == 2, "in the grid nobody moves for it"


def test_a_mark_changes_the_layout_and_a_wrong_one_changes_nothing() -> None:
    wrong: list[dict[str, Any]] = [
        {"kind": "layout", "layout": "../x"},
        {"kind": "layout"},
        {"kind": "layout", "layout": 7},
        {"x": []},
    ]
    marks = [
        Mark(at=T + 3, mark={"kind": "layout", "layout": "speaker"}),
        *(Mark(at=T + 5, mark=mark) for mark in wrong),
    ]
    planned = scenes([*THREE, *marks])
    assert [scene.begin for scene in planned] == [0, 3 * FPS]
    assert [tile.rect for tile in planned[0].tiles] == grid(3)
    assert large(planned, 9) == "A"


def test_two_who_talk_in_turn_make_no_flicker() -> None:
    turns: list[ENTRIES] = [speaks(2 + index * 0.4, "AB"[index % 2]) for index in range(20)]
    planned = scenes([*THREE, speaks(1, "A"), *turns], duration=12, layout="speaker")
    assert [large(planned, scene.begin / FPS) for scene in planned] == ["A", "B"], "the last of them kept the floor"
    assert planned[1].begin == pytest.approx((2 + 19 * 0.4 + SPEAKS_FOR) * FPS, abs=1)


def test_one_stays_large_for_a_while_and_silence_takes_nobody_away() -> None:
    entries = [*THREE, speaks(2, "B"), speaks(2.5, None), speaks(3, "C"), speaks(4.8, None), speaks(7, "C")]
    planned = scenes(entries, layout="speaker")
    assert large(planned, 2 + STAYS - 0.2) == "B", "C has the floor, but B came only now"
    assert [large(planned, at) for at in (4.9, 5.2, 9)] == ["B", "B", "C"], "when it was his turn, C spoke no more"


def test_when_the_large_one_leaves_another_is_large_at_once() -> None:
    planned = scenes([*THREE, speaks(1, "B"), leave(4, "B"), speaks(4.2, "C")], layout="speaker")
    assert [large(planned, at) for at in (3, 4.1, 4.3)] == ["B", "A", "C"]


def test_what_is_large_does_not_depend_on_what_comes_later() -> None:
    """A class is composed while it goes on, from as much of the timeline as is written."""
    later = [
        speaks(index * 0.7, "ABC"[index % 3]) if index % 4 else speaks(index * 0.7, None) for index in range(1, 14)
    ]
    entries = [*THREE, *later, leave(9.5, "A")]
    whole = scenes(entries, layout="speaker")
    for count in range(len(THREE), len(entries)):
        known = entries[count].at - T
        part = scenes(entries[:count], duration=known, layout="speaker")
        assert [shown(part, at / 10) for at in range(int(known * 10) - 1)] == [
            shown(whole, at / 10) for at in range(int(known * 10) - 1)
        ]


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
@pytest.mark.parametrize("count", range(1, MAX_TILES + 1))
def test_tiles_lie_inside_do_not_overlap_and_are_even(count: int, size: Size) -> None:
    rects = grid(count, size)
    assert len(rects) == count
    assert all(inside(rect, size) for rect in rects)
    assert not any(overlap(one, other) for one, other in itertools.combinations(rects, 2))
    assert all(side % 2 == 0 for rect in rects for side in (rect.x, rect.y, rect.width, rect.height))
    assert all(rect.width / rect.height == pytest.approx(16 / 9, rel=0.03) for rect in rects)
    assert len({(rect.width, rect.height) for rect in rects}) == 1


@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
@pytest.mark.parametrize("count", range(6))
def test_a_screen_and_its_column_fit(count: int, size: Size) -> None:
    screen, column = presentation(count, size)
    rects = [screen, *column]
    assert len(column) == count
    assert all(inside(rect, size) for rect in rects)
    assert not any(overlap(one, other) for one, other in itertools.combinations(rects, 2))
    assert all(side % 2 == 0 for rect in rects for side in (rect.x, rect.y, rect.width, rect.height))


def test_a_gap_is_as_long_as_no_worker_was_there() -> None:
    whole: list[ENTRIES] = [start(0), join(0, "Tina"), track(1, "Tina")]
    assert longest_gap(whole, {"Tina-camera": T + 60}) == 0.0
    resumed: list[ENTRIES] = [*whole, start(64, "e2"), track(65, "Tina", epoch="e2"), start(80, "e3")]
    last = {"Tina-camera": T + 60, "Tina-camerae2": T + 79}
    assert longest_gap(resumed, last) == pytest.approx(4.0)
    assert longest_gap(resumed, {}) == pytest.approx(63.0), "nothing was sent: the timeline's last word counts"


def test_a_packet_that_the_old_worker_still_got_is_no_gap() -> None:
    assert longest_gap([start(0), track(1, "Tina"), start(5, "e2")], {"Tina-camera": T + 9}) == 0.0
