"""A class composed for real, from packet logs to MP4, and looked at frame by frame.

Tina (VP8) is there all the time and shares her screen from 8 to 11 s; Sam (H264) comes at 2 s, switches the camera off
from 5 to 7 s; Sue is there from 3 to 9 s and loses packets at 6 s; Olga comes without a camera at 10 s.
"""

from __future__ import annotations

import pytest

from recordings.composing.compose import compose
from recordings.composing.composition import FPS, grid, presentation
from tests.recordings.film import Film
from tests.recordings.synthetic import TONES, SyntheticClass, person

LENGTH = 12.4
LOST_AT, KEY_AT = 6.0, 6.8  # Sue's packets: lost, and the key frame that was asked for


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    world = SyntheticClass(tmp_path_factory.mktemp("class") / "recording", LENGTH)
    person(world, "Tina", 0.0, LENGTH, late=lambda number: 0.4 if number % 37 == 0 else 0.0)
    world.camera("Tina", 8.0, 11.0, size=(1280, 720), source="screen", fps=5)
    person(world, "Sam", 2.0, LENGTH, mime_type="video/H264", pauses=[(5.0, 7.0)], skew=-41.0, delay=0.2)
    person(
        world,
        "Sue",
        3.0,
        9.0,
        skew=900.0,
        keys=[KEY_AT],
        lost=lambda seconds, number: LOST_AT <= seconds < LOST_AT + 0.1,
    )
    world.join(10.0, "Olga")
    world.microphone("Olga", 10.0, LENGTH, skew=0.0, reports=False)
    folder = world.write()
    percents: list[int] = []
    out = tmp_path_factory.mktemp("out") / "720p.mp4"
    compose(folder, out, on_progress=lambda done, of: percents.append(100 * done // of))
    assert percents == sorted(percents)
    assert percents[-1] >= 90
    assert not list(folder.glob("compose-*"))
    return Film(out)


def test_it_is_720p_with_30_frames_a_second_in_h264_and_aac(film: Film) -> None:
    assert film.size == (1280, 720)
    assert film.codecs == ("h264", "aac")
    assert film.rate == 30


def test_it_lasts_as_long_as_the_class_to_the_frame(film: Film) -> None:
    assert len(film.pictures) == round(LENGTH * FPS)
    assert film.times == pytest.approx([index / FPS for index in range(len(film.pictures))], abs=1e-4)
    assert film.sound_begins + len(film.sound) / 48000 == pytest.approx(LENGTH, abs=0.05)


@pytest.mark.parametrize(
    ("seconds", "people"),
    [
        (1.0, ["Tina"]),
        (2.7, ["Tina", "Sam"]),
        (4.0, ["Tina", "Sam", "Sue"]),
        (6.0, ["Tina", None, "Sue"]),  # Sam's camera is off: his place shows his name
        (7.6, ["Tina", "Sam", "Sue"]),
        (12.0, ["Tina", "Sam", None]),  # Olga has no camera
    ],
)
def test_everybody_stands_in_their_place_at_their_time(film: Film, seconds: float, people: list[str | None]) -> None:
    picture = film.at(seconds)
    assert [picture.shows(rect) for rect in grid(len(people))] == people


def test_a_shared_screen_is_large_and_the_cameras_stand_beside_it(film: Film) -> None:
    for seconds in (8.6, 10.9):
        picture = film.at(seconds)
        beside = 3  # with Sue until 9 s, with Olga from 10 s
        screen, column = presentation(beside)
        assert picture.shows(screen) == "Tina", seconds
        assert [picture.shows(rect) for rect in column[:2]] == ["Tina", "Sam"], seconds
        assert picture.number(screen) == pytest.approx(seconds * 5, abs=1), seconds


def test_pictures_are_shown_when_they_were_taken(film: Film) -> None:
    """The number in each picture is its time in 15ths of a second; what lies in between is at most one picture off."""
    for index in range(15, int(1.9 * FPS)):
        number = film.pictures[index].number(grid(1)[0])
        assert number == pytest.approx((index + 0.5) / FPS * 15 - 0.03 * 15, abs=1.01), index


def test_no_picture_is_shown_between_a_loss_and_the_next_key_frame(film: Film) -> None:
    seen = {film.pictures[index].number(grid(3)[2]) for index in range(int(5.5 * FPS), int(7.5 * FPS))}
    broken = {number for number in range(256) if LOST_AT * 15 <= number < KEY_AT * 15}
    assert not seen & broken
    assert {round(LOST_AT * 15) - 1, round(KEY_AT * 15) + 1} <= seen


def test_a_camera_that_comes_back_shows_no_picture_from_before(film: Film) -> None:
    rect = grid(3)[1]
    for index in range(int(5.3 * FPS), int(8.0 * FPS)):
        picture = film.pictures[index]
        if picture.shows(rect) == "Sam":
            assert picture.number(rect) >= 7.0 * 15


def test_a_name_stands_on_each_picture_and_in_the_middle_of_each_empty_place(film: Film) -> None:
    tina, sam = grid(2)
    for rect in (tina, sam):
        label = film.at(2.8).tile(rect)[-28:, :60]
        assert label.min() < 40
        assert label.max() > 180
    away = film.at(6.0).tile(grid(3)[1])
    height, width = away.shape
    middle = away[height // 2 - 30 : height // 2 + 30, width // 4 : width * 3 // 4]
    assert middle.max() > 180
    assert away[: height // 4].max() < 80


@pytest.mark.parametrize(
    ("begin", "end", "people"),
    [
        (0.5, 1.8, {"Tina"}),
        (2.3, 2.9, {"Tina", "Sam"}),
        (4.3, 5.9, {"Tina", "Sam", "Sue"}),
        (9.3, 9.9, {"Tina", "Sam"}),
        (10.3, 11.9, {"Tina", "Sam", "Olga"}),
    ],
)
def test_everybody_is_heard_while_they_are_there(film: Film, begin: float, end: float, people: set[str]) -> None:
    assert film.heard(begin, end) == people


def test_a_voice_is_as_loud_among_many_as_alone(film: Film) -> None:
    alone, among = film.level(TONES["Tina"], 0.5, 1.8), film.level(TONES["Tina"], 4.3, 5.7)
    assert alone == pytest.approx(0.1, rel=0.2)
    assert among == pytest.approx(alone, rel=0.2)


def test_lips_and_voice_are_together_within_80_ms(film: Film) -> None:
    """Tina's and Sam's clocks differ by 44 s, their delays too; all of them flash and beep at the same moments."""
    beeps = film.beeps()
    for people, index, begin, end in ((2, 0, 2.2, 3.0), (3, 0, 3.3, 5.0), (3, 1, 3.3, 5.0), (3, 2, 3.3, 5.0)):
        for flash in film.flashes(grid(people)[index], begin, end):
            assert min(abs(beep - flash) for beep in beeps) < 0.08, (people, index, flash, beeps)
    assert film.flashes(grid(3)[0], 3.3, 5.0)
    assert film.flashes(grid(3)[1], 3.3, 5.0)
    assert film.flashes(grid(3)[2], 3.3, 5.0)
