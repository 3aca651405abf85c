"""One class composed in each quality, in which the layout changes as it goes: everybody stands where the layout says.

Tina, Sam and Sue are there all the time. Tina speaks from 0.5 s, Sam from 3 s on, who is large a second later. Tina
shares a screen from 5 to 7 s. The layout is `speaker`, from 6 s `presentation`, from 7.5 s `grid`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.composing.compose import compose
from recordings.composing.composition import FPS, SIZES, Rect, Size, grid, presentation
from sfu.manifest import ActiveSpeaker, Mark
from tests.recordings.film import Film
from tests.recordings.synthetic import SyntheticClass, person

LENGTH = 8.0


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = SyntheticClass(tmp_path_factory.mktemp("class") / "recording", LENGTH)
    for name in ("Tina", "Sam", "Sue"):
        person(world, name, 0.0, LENGTH)
    world.camera("Tina", 5.0, 7.0, size=(640, 360), source="screen", fps=5)
    for at, name in ((0.5, "Tina"), (3.0, "Sam")):
        world.note(ActiveSpeaker(at=at, peer=f"p-{name}"))
    for at, layout in ((6.0, "presentation"), (7.5, "grid")):
        world.note(Mark(at=at, mark={"kind": "layout", "layout": layout}))
    world.note(Mark(at=2.0, mark={"kind": "chapter", "title": "= ; # \\ Cells\r\n[CHAPTER]"}))
    return world.write()


@pytest.fixture(scope="module", params=list(SIZES))
def composed(request: pytest.FixtureRequest, recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Film:
    out = tmp_path_factory.mktemp("out") / f"{request.param}.mp4"
    compose(recorded, out, layout="speaker", quality=request.param)
    film = Film(out)
    assert film.size == (SIZES[request.param].width, SIZES[request.param].height)
    return film


def places(seconds: float, size: Size) -> list[tuple[Rect, str]]:
    """Who is where, as the layouts' table has it."""
    if seconds >= 7.5:
        return list(zip(grid(3, size), ("Tina", "Sam", "Sue"), strict=True))
    beside: tuple[str, ...]
    if seconds >= 7.0:
        beside = ("Tina", "Sue")
    elif seconds >= 6.0:
        beside = ("Tina", "Sam", "Sue")
    elif seconds >= 5.0:
        beside = ("Sam",)
    else:
        beside = ("Tina", "Sue") if seconds >= 4.0 else ("Sam", "Sue")
    large, column = presentation(len(beside), size)
    first = "Tina" if seconds < 4.0 or 5.0 <= seconds < 7.0 else "Sam"
    return [(large, first), *zip(column, beside, strict=True)]


def test_everybody_stands_in_the_layouts_place_at_every_moment(composed: Film) -> None:
    assert len(composed.pictures) == round(LENGTH * FPS)
    changes = (4.0, 5.0, 6.0, 7.0, 7.5)
    looked_at = 0
    for index in range(FPS // 2, len(composed.pictures), 5):
        seconds = index / FPS
        if any(-0.05 < seconds - change < 0.5 for change in changes):
            continue  # a camera's first picture, and what the network delays
        expected = places(seconds, Size(*composed.size))
        assert [composed.pictures[index].shows(rect) for rect, _ in expected] == [name for _, name in expected], seconds
        looked_at += 1
    assert looked_at > 20


def test_large_and_small_pictures_are_those_of_the_moment(composed: Film) -> None:
    size = Size(*composed.size)
    for seconds in (2.0, 4.6):
        for rect, name in places(seconds, size)[: 1 if size.height < 720 else 3]:
            number = composed.at(seconds).number(rect)
            assert number == pytest.approx(seconds * 15, abs=1.6), (seconds, name)


def test_chapters_stand_in_the_film_itself(composed: Film) -> None:
    assert composed.chapters == [(0.0, LENGTH, "= ; # \\ Cells [CHAPTER]")], "marked soon after the beginning"


def test_all_sizes_sound_the_same(composed: Film) -> None:
    assert composed.heard(1.0, 7.0) == {"Tina", "Sam", "Sue"}
    assert [round(at, 1) for at in composed.beeps()] == pytest.approx([2.0, 4.0, 6.0], abs=0.06)
