"""A class whose cameras were recorded as large as the film could show them (docs/decisions/0024), small beside whoever
spoke. Where a camera's pictures change their size, none is missing, none comes twice, and none stands still.

Tina speaks from 0.2 s, Sam from 2.2 s, Tina again from 5.2 s on: large a second later, but for the first one. Each is
recorded in the best layer half a second after he began to speak, and in a small one soon after another is large.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from recordings.composing.compose import compose
from recordings.composing.composition import FPS, presentation
from sfu.manifest import ActiveSpeaker
from tests.recordings.film import Film
from tests.recordings.synthetic import SyntheticClass, person

LENGTH = 7.0
SMALL, BEST = (320, 180), (640, 360)
CAMERA = 15  # pictures a second
SPEAKS = [(0.2, "Tina"), (2.2, "Sam"), (5.2, "Tina")]  # from when
LARGE = [(0.2, "Tina"), (3.2, "Sam"), (6.2, "Tina")]
BEST_LAYER = {"Tina": ((0.0, 4.2), (5.7, LENGTH)), "Sam": ((2.7, 6.6),)}  # from, until


@pytest.fixture(scope="module", params=["video/VP8", pytest.param("video/H264", marks=pytest.mark.nightly)])
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Film:
    world = SyntheticClass(tmp_path_factory.mktemp("class") / "recording", LENGTH)
    for name in ("Tina", "Sam"):

        def size(at: float, name: str = name) -> tuple[int, int]:
            return BEST if any(begin <= at < end for begin, end in BEST_LAYER[name]) else SMALL

        person(world, name, 0.0, LENGTH, sizes=size, fps=CAMERA, mime_type=request.param)
    for at, name in SPEAKS:
        world.note(ActiveSpeaker(at=at, peer=f"p-{name}"))
    out: Path = tmp_path_factory.mktemp("out") / "720p.mp4"
    compose(world.write(), out, layout="speaker")
    return Film(out)


def numbers(film: Film, name: str) -> list[int | None]:
    """Of the camera, in each picture of the film after the first half second, wherever it stands; None: nowhere."""
    large, (beside,) = presentation(1)
    found = []
    for picture in film.pictures[FPS // 2 :]:
        place = next((rect for rect in (large, beside) if picture.shows(rect) == name), None)
        found.append(None if place is None else picture.number(place))
    return found


@pytest.mark.parametrize("name", ["Tina", "Sam"])
def test_no_picture_is_missing_doubled_or_frozen_where_the_layer_changes(film: Film, name: str) -> None:
    shown = numbers(film, name)
    runs = [(number, len(list(same))) for number, same in itertools.groupby(shown)]
    inner = runs[1:-1]
    assert [number for number, _ in inner] == list(range(inner[0][0] or 0, (inner[0][0] or 0) + len(inner)))
    assert {length for _, length in inner} <= {1, 2, 3}, "15 pictures a second in 30"
    assert len(inner) >= (LENGTH - 0.5) * CAMERA - 5


def test_who_speaks_is_large_in_the_layer_that_came_for_it(film: Film) -> None:
    large, (beside,) = presentation(1)
    for (begin, speaker), (end, _) in itertools.pairwise([*LARGE, (LENGTH, "")]):
        other = "Sam" if speaker == "Tina" else "Tina"
        for index in range(max(FPS // 2, round(begin * FPS) + 1), round(end * FPS) - 1):
            picture = film.pictures[index]
            assert (picture.shows(large), picture.shows(beside)) == (speaker, other), index / FPS
