"""A class whose recording rested for a while, composed: of what went on meanwhile the film has nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.composing.compose import compose
from recordings.composing.composition import FPS, grid
from tests.recordings.film import Film
from tests.recordings.synthetic import SyntheticClass, person

LENGTH = 5.0
RESTS, GOES_ON = 1.5, 2.6  # Tina's flash and beep of second 2 lie in between
ON_ITS_WAY = 0.2  # seconds: what was taken before the pause, and came when it had begun


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    world = SyntheticClass(tmp_path_factory.mktemp("class") / "recording", LENGTH)
    world.rest(RESTS, GOES_ON)
    person(world, "Tina", 0.0, LENGTH)
    out: Path = tmp_path_factory.mktemp("out") / "720p.mp4"
    compose(world.write(), out)
    return Film(out)


def test_the_film_is_shorter_by_the_pause_to_the_frame(film: Film) -> None:
    length = LENGTH - (GOES_ON - RESTS)
    assert len(film.pictures) == round(length * FPS)
    assert film.sound_begins + len(film.sound) / 48000 == pytest.approx(length, abs=0.05)


def test_no_picture_of_the_pause_is_shown_and_each_other_at_its_time(film: Film) -> None:
    """The number in each picture is its time in 15ths of a second."""
    rect = grid(1)[0]
    taken = {index / FPS: film.pictures[index].number(rect) / 15 for index in range(15, len(film.pictures))}
    assert not [at for at in taken.values() if RESTS < at < GOES_ON - ON_ITS_WAY]
    for shown, at in taken.items():
        if shown < RESTS:
            assert at == pytest.approx(shown, abs=0.2), shown
        elif shown > RESTS + ON_ITS_WAY:
            assert at == pytest.approx(shown + GOES_ON - RESTS, abs=0.2), shown


def test_no_sound_of_the_pause_is_heard_and_lips_and_voice_are_together_after_it(film: Film) -> None:
    [beep], [flash] = film.beeps(), film.flashes(grid(1)[0], 0.5, 3.5)
    assert beep == pytest.approx(flash, abs=0.08)
    assert beep == pytest.approx(4.0 - (GOES_ON - RESTS), abs=0.2)
    assert film.heard(RESTS + ON_ITS_WAY, 2.7) == {"Tina"}
