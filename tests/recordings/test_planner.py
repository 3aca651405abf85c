"""Segments are planned while the class goes on, and it makes no difference that they are."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from recordings.composing.compose import plan, plan_along
from recordings.composing.planner import READY_AFTER, STATE
from recordings.composing.segments import SECONDS, SEGMENTS, Segments
from tests.recordings.growing import Growing
from tests.recordings.synthetic import SyntheticClass, person

LENGTH = 110.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sam's network is bad and his clock runs fast; Tina shares her screen over a border, and comes back."""
    world = SyntheticClass(tmp_path_factory.mktemp("class") / "recording", LENGTH)
    person(world, "Tina", 0.0, LENGTH, size=(160, 90), pauses=[(40.0, 50.0)], keys=[20.0, 60.0, 80.0, 100.0])
    world.camera("Tina", 60.0, 70.0, size=(320, 180), source="screen", fps=5)
    world.join(3.0, "Sam")
    world.microphone("Sam", 3.0, 90.0, drift=2e-4, reports=False)
    world.camera("Sam", 3.0, 90.0, size=(160, 90), late=lambda number: number % 41 / 50, keys=[31.0, 62.0])
    world.leave(90.2, "Sam")
    return world.write()


def plans(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((folder / SEGMENTS).glob("segment-*.json"))]


@pytest.fixture(scope="module")
def afterwards(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    growing = Growing(whole, tmp_path_factory.mktemp("afterwards"))
    growing.stop()
    assert plan(growing.folder).segments == 4
    return plans(growing.folder)


@pytest.mark.parametrize("forgets", [False, True], ids=["", "with its state lost each time"])
def test_plans_made_along_the_class_are_those_made_afterwards(
    whole: Path, afterwards: list[bytes], tmp_path: Path, forgets: bool
) -> None:
    growing = Growing(whole, tmp_path)
    made = []
    for second in range(1, int(LENGTH), 6):
        growing.until(second)
        made.append(plan_along(tmp_path))
        if forgets:
            (tmp_path / SEGMENTS / STATE).unlink(missing_ok=True)
    growing.stop()
    assert made == sorted(made)
    assert made[-1] == 2, "the third ends at 96 s, and the class is at 109 s"
    plan(tmp_path)
    assert plans(tmp_path) == afterwards


def test_a_segment_is_planned_once_the_class_is_long_enough_past_it(whole: Path, tmp_path: Path) -> None:
    growing = Growing(whole, tmp_path)
    growing.until(SECONDS + READY_AFTER - 0.1)
    assert plan_along(tmp_path) == 0
    growing.until(SECONDS + READY_AFTER + 0.1)
    assert plan_along(tmp_path) == 1


def test_what_is_kept_does_not_grow_with_the_class(tmp_path: Path) -> None:
    world = SyntheticClass(tmp_path / "recording", 230.0)
    world.join(0.0, "Tina")
    world.microphone("Tina", 0.0, 230.0)
    world.camera("Tina", 0.0, 230.0, size=(32, 18), fps=2, keys=range(20, 230, 20))
    folder = world.write()
    growing = Growing(folder, tmp_path / "growing")
    sizes = []
    for border in (2, 6):
        growing.until(border * SECONDS + READY_AFTER + 1)
        assert plan_along(growing.folder) == border
        sizes.append((growing.folder / SEGMENTS / STATE).stat().st_size)
    assert sizes[1] < sizes[0] * 1.2
    segments = [Segments(growing.folder).read(number) for number in (2, 5)]
    assert [len(segment.cameras[0].starts) for segment in segments] == [3, 3]
    assert segments[1].voices[0].start.position > segments[0].voices[0].start.position * 2


def test_a_voice_lies_on_one_line_over_a_border(whole: Path, afterwards: list[bytes], tmp_path: Path) -> None:
    growing = Growing(whole, tmp_path)
    growing.stop()
    plan(tmp_path)
    segments = [Segments(tmp_path).read(number) for number in range(4)]
    for before, after in itertools.pairwise(segments):
        voices = {voice.file: voice for voice in before.voices}
        for voice in after.voices:
            border = after.number * SECONDS * 48000
            timestamp = voice.anchors[0][0] + border - voice.anchors[0][1]
            for near in range(-40_000, 40_001, 20_000):  # 0.8 s around it, as encoders need
                assert voice.position(timestamp + near) == voices[voice.file].position(timestamp + near)
