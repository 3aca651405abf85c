"""A class is recorded and downloaded: what is in the MP4 is what happened, frame by frame and tone by tone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import expect

from recordings.composing.composition import Rect, grid
from tests.browser.person import Look, Person
from tests.lectern import Lectern

MakePerson = Callable[..., Person]
SAMPLE_RATE = 48000
SETTLED = 2.5  # seconds after a join or leave in which the picture may still be on its way
PLAIN = (0.15, 0.3)  # where in a tile, as shares of its width and height, the ground colour stands bare


@dataclass
class Film:
    """The downloaded MP4, decoded."""

    path: Path
    frames: list[NDArray[np.uint8]] = field(default_factory=list)
    fps: float = 0.0
    sound: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @classmethod
    def open(cls, path: Path) -> Film:
        film = cls(path)
        with av.open(str(path)) as container:
            film.fps = float(container.streams.video[0].average_rate or 0)
            # A third of the height and width is enough to tell colours apart, and a class fits into memory.
            for frame in container.decode(video=0):
                small = frame.reformat(width=426, height=240, format="rgb24").to_ndarray()
                film.frames.append(small.astype(np.uint8))
        film.hear()
        return film

    def hear(self) -> None:
        with av.open(str(self.path)) as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            pieces = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
            self.sound = np.concatenate([piece.to_ndarray().reshape(-1) for piece in pieces])

    @property
    def duration(self) -> float:
        return len(self.frames) / self.fps

    def colour(self, at: float, rect: Rect, place: tuple[float, float] = PLAIN) -> tuple[int, int, int]:
        frame = self.frames[int(at * self.fps)]
        x = int((rect.x + rect.width * place[0]) / 1280 * 426)
        y = int((rect.y + rect.height * place[1]) / 720 * 240)
        red, green, blue = (int(value) for value in frame[y, x])
        return red, green, blue

    def loudness(self, tone: int, begin: float, end: float) -> float:
        """The amplitude of one frequency (Hz) between two times (seconds): Goertzel's one bin, by a dot product."""
        piece = self.sound[int(begin * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
        turn = np.exp(-2j * np.pi * tone * np.arange(len(piece)) / SAMPLE_RATE)
        return float(abs(np.dot(piece, turn)) * 2 / max(len(piece), 1))


def is_near(colour: tuple[int, int, int], look: Look, within: int = 60) -> bool:
    return all(abs(a - b) <= within for a, b in zip(colour, look.rgb, strict=True))


def onsets(levels: NDArray[np.float64], step: float) -> list[float]:
    """When a curve rises over the middle between its lowest and highest tenth (seconds)."""
    low, high = np.percentile(levels, 10), np.percentile(levels, 97)
    above = levels > (low + high) / 2
    return [float(index) * step for index in np.flatnonzero(above[1:] & ~above[:-1]) + 1]


def record_on_the_own_device(teacher: Person, others: tuple[Person, Person], folder: Path) -> None:
    """Everybody sees it, and the file has the stage's pictures and all tones."""
    teacher.page.evaluate("delete window.showSaveFilePicker")  # of which nobody but a person answers the dialog
    teacher.choose("record-here")
    for one in others:
        expect(one.testid("local-recording-state")).to_have_text(re.compile(r"\S records\s*$"))
    teacher.page.wait_for_timeout(4000)
    with teacher.page.expect_download() as caught:
        teacher.choose("record-here")
    caught.value.save_as(folder / "own.webm")
    for one in others:
        expect(one.testid("local-recording-state")).to_be_hidden()
    with av.open(str(folder / "own.webm")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) > 8  # in 4 s, by a machine that may do much else
    pixels = frames[-1].reformat(width=128, height=72, format="rgb24").to_ndarray().reshape(-1, 3).astype(int)
    people = (teacher, *others)
    # Twice encoded and decoded, colours are no longer quite themselves: each pixel is whose it is like the most.
    colours = np.array([*(one.look.rgb for one in people), (0, 0, 0), (255, 255, 255), (16, 24, 22)])
    nearest = np.argmin(((pixels[:, None] - colours) ** 2).sum(axis=2), axis=1)
    for number, one in enumerate(people):
        assert (nearest == number).mean() > 0.05, f"{one.username} is not in the picture"
    film = Film(folder / "own.webm")
    film.hear()
    for one in people:
        assert film.loudness(one.look.tone, 0.5, 3.5) > 0.02, f"{one.username} is not heard"


@pytest.mark.timeout(420)
def test_the_recording_shows_who_was_there_and_when(person: MakePerson, lectern: Lectern, tmp_path: Path) -> None:
    teacher, first, second = person("teacher", 0), person("student1", 1), person("student2", 2)
    teacher.enter()
    first.enter()
    first.wait_to_see(teacher)
    teacher.wait_to_see(first)

    teacher.testid("record").click()
    for one in (teacher, first):
        expect(one.testid("recording-state")).to_contain_text("REC", timeout=10_000)
    started = time.monotonic()
    assert first.page.get_by_role("alertdialog").get_attribute("data-testid") == "consent"
    for _ in range(2):
        first.page.keyboard.press("Escape")  # is no answer
    expect(first.testid("consent")).to_be_visible()
    teacher.testid("toggle-participants").click()
    expect(teacher.testid("recording-consents")).to_have_text("1 of 2 have agreed to be recorded")
    first.agree()
    agreed = time.monotonic() - started
    expect(teacher.testid("recording-consents")).to_have_text("2 of 2 have agreed to be recorded")
    teacher.testid("toggle-participants").click()
    teacher.page.wait_for_timeout(4000)

    second.enter()
    expect(second.testid("consent")).to_be_visible()
    assert not teacher.sees(second)  # nothing is sent before the answer
    second.agree()
    teacher.wait_to_see(second)
    joined = time.monotonic() - started
    expect(second.testid("recording-state")).to_contain_text("REC")  # latecomers, too
    record_on_the_own_device(teacher, (first, second), tmp_path)
    teacher.page.wait_for_timeout(2000)

    first_id = first.participant_id
    first.testid("leave").first.click()
    expect(teacher.page.locator(f'[data-testid="tile"][data-participant-id="{first_id}"]')).to_have_count(
        0, timeout=10_000
    )
    left = time.monotonic() - started
    teacher.page.wait_for_timeout(4000)

    teacher.choose("record-mark")
    expect(teacher.testid("notice").filter(has_text="Marked at")).to_be_visible()
    teacher.choose("record-pause")
    for one in (teacher, second):
        expect(one.testid("recording-state")).to_contain_text("paused", timeout=10_000)
    paused = time.monotonic() - started
    still = second.testid("recording-state").inner_text()
    teacher.look_otherwise()
    teacher.page.wait_for_timeout(3000)
    assert second.testid("recording-state").inner_text() == still
    teacher.look_otherwise(back=True)
    teacher.page.wait_for_timeout(1000)  # until no picture of the other colour is on its way
    teacher.choose("record-pause")
    expect(second.testid("recording-state")).to_contain_text("REC", timeout=10_000)
    cut = time.monotonic() - started - paused
    teacher.page.wait_for_timeout(5000)

    teacher.testid("record").click()
    expect(teacher.testid("recording-state")).not_to_contain_text("REC", timeout=10_000)
    length = time.monotonic() - started - cut
    stopped = time.monotonic()
    second.leave()
    first.leave()
    teacher.page.goto("about:blank")  # the composition gets the machine that a server would have

    # Staff follow the lesson's page, without reloading, until the recording is there.
    staff = person("staff", 3)
    staff.page.goto(f"{lectern.url}recordings/")
    staff.page.locator("[data-recording] a.row-title").first.click()
    download = staff.testid("recording-download").first
    expect(download).to_be_visible(timeout=(length + 60) * 1000)
    took = time.monotonic() - stopped
    print(f"ready {took:.1f} s after the stop of a class of {length:.1f} s")
    with staff.page.expect_download() as caught:
        download.click()
    path = tmp_path / "class.mp4"
    caught.value.save_as(path)
    assert took <= length + 20

    # What else is made of it follows.
    player = staff.testid("recording-player")
    while not (poster := str(player.evaluate("film => film.poster"))):
        assert time.monotonic() - stopped < took + 60
        staff.page.wait_for_timeout(500)
        staff.page.reload()
    given = staff.page.request.get(poster)
    assert (given.status, given.headers["content-type"]) == (200, "image/jpeg")

    film = Film.open(path)
    assert film.frames[0].shape == (240, 426, 3)
    assert abs(film.fps - 30) < 0.01
    assert abs(film.duration - length) <= 1.0
    assert abs(len(film.sound) / SAMPLE_RATE - film.duration) <= 0.1

    # Each at their place at the times they were there; the order is that of joining.
    stretches = [
        (agreed + SETTLED, joined - SETTLED, [teacher, first]),
        (joined + SETTLED, left - SETTLED, [teacher, first, second]),
        (left + SETTLED, film.duration - 0.2, [teacher, second]),
    ]
    for begin, end, people in stretches:
        rects = grid(len(people))
        for at in np.arange(begin, end, 0.1):
            for one, rect in zip(people, rects, strict=True):
                colour = film.colour(float(at), rect)
                assert is_near(colour, one.look), f"{one.username} at {at:.1f} s is {colour}, not {one.look.rgb}"
        # ... and each one's tone in the mix, nobody else's.
        for one in (teacher, first, second):
            loud = film.loudness(one.look.tone, begin, end)
            assert (loud > 0.02) == (one in people), f"{one.username}'s tone from {begin:.1f} s is {loud:.3f}"

    # The teacher's flash (picture) and the louder tone (sound) happen together.
    apart: list[float] = []
    for begin, end, people in stretches:
        rect = grid(len(people))[0]
        pictures = np.arange(begin, end, 1 / 30)
        flashes = np.array([sum(film.colour(float(at), rect, (0.5, 0.3))) for at in pictures], float)
        steps = np.arange(begin, end, 0.01)
        beeps = np.array([film.loudness(teacher.look.tone, at - 0.02, at + 0.02) for at in steps])
        heard = onsets(beeps, 0.01)
        apart += [min((sound - picture for sound in heard), key=abs) for picture in onsets(flashes, 1 / 30) if heard]
    print("sound after picture, ms:", [round(value * 1000) for value in apart])
    assert len(apart) >= 3
    assert abs(float(np.median(apart))) <= 0.080


@pytest.mark.timeout(300)
def test_a_media_workers_death_does_not_end_the_recording(person: MakePerson, lectern: Lectern, tmp_path: Path) -> None:
    teacher, student = person("teacher", 0), person("student1", 1)
    teacher.enter()
    student.enter()
    teacher.wait_to_see(student)
    teacher.testid("record").click()
    expect(teacher.testid("recording-state")).to_contain_text("REC", timeout=10_000)
    student.agree()
    started = time.monotonic()
    teacher.page.wait_for_timeout(4000)
    lectern.kill("-m sfu")
    killed = time.monotonic() - started
    teacher.page.wait_for_timeout(5000)
    teacher.wait_to_see(student, within=15)
    expect(teacher.testid("recording-state")).to_contain_text("REC")
    teacher.page.wait_for_timeout(6000)
    teacher.testid("record").click()
    expect(teacher.testid("recording-state")).not_to_contain_text("REC", timeout=10_000)
    length = time.monotonic() - started

    staff = person("staff", 3)
    staff.page.goto(f"{lectern.url}recordings/")
    staff.page.locator("[data-recording] a.row-title").first.click()
    download = staff.testid("recording-download").first
    expect(download).to_be_visible(timeout=(length + 60) * 1000)
    with staff.page.expect_download() as caught:
        download.click()
    path = tmp_path / "class.mp4"
    caught.value.save_as(path)
    film = Film.open(path)
    assert abs(film.duration - length) <= 1.0
    rect = grid(2)[1]
    lost = [
        at for at in np.arange(SETTLED, film.duration - 0.2, 0.1) if not is_near(film.colour(at, rect), student.look)
    ]
    print(f"the worker died at {killed:.1f} s; the student is missing at", [round(float(at), 1) for at in lost])
    assert len(lost) / 10 <= 10
    assert all(killed - 2 <= at <= killed + 15 for at in lost)
