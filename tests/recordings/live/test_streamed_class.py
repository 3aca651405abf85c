"""A class goes on and is streamed: what viewers get is what happened, picture by picture and tone by tone.

Time is the test's: the class goes on as fast as the machine can, and no slower machine sees anything else.
"""

from __future__ import annotations

import io
import re
from concurrent.futures import wait
from pathlib import Path

import av
import numpy as np
import pytest

from recordings.composing.composition import Rect, grid, presentation
from recordings.live.job import Job
from recordings.live.show import Show, TooLate
from recordings.live.tail import PacketTail
from sfu.manifest import RTPDUMP_MAGIC
from tests.recordings.live.conftest import LENGTH
from tests.recordings.live.replay import FLUSH_EVERY, Replay
from tests.recordings.synthetic import BEEP, TONES, SyntheticClass, is_flash, read_bars

FPS = 15  # of the cameras
SETTLED = 0.8  # seconds after a change in which a picture may still be on its way


def decoded(out: Path, name: str, kind: str) -> list[tuple[float, np.ndarray]]:
    """(second of the stream, picture or samples) of all segments of a rendition."""
    segments = sorted(out.glob(f"{name}-*.m4s"), key=lambda path: [int(n) for n in path.stem.split("-")[1].split(".")])
    whole = [path for path in segments if path.name.count(".") == 1]
    data = (out / f"{name}-init0.mp4").read_bytes() + b"".join(path.read_bytes() for path in whole)
    found = []
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(**{kind: 0}):
            samples = frame.to_ndarray(format="gray") if isinstance(frame, av.VideoFrame) else frame.to_ndarray()
            found.append((float(frame.time or 0.0), samples))
    return found


def tile_of(luma: np.ndarray, rect: Rect) -> np.ndarray:
    return luma[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]


def onsets(times: list[float]) -> list[float]:
    return [at for index, at in enumerate(times) if index == 0 or at - times[index - 1] > 0.5]


def loudness(sound: np.ndarray, frequency: float) -> float:
    turn = np.exp(-2j * np.pi * frequency * np.arange(len(sound)) / 48000)
    return float(abs(np.dot(sound, turn)) * 2 / len(sound))


class Studio:
    """A class that is written, and a stream of it that is made, by one clock."""

    def __init__(self, made: Path, folder: Path, *, ahead: float = 1.5) -> None:
        """`ahead`: seconds that the stream runs before the class begins."""
        self.now = 1_800_000_000.0
        self.class_began = ahead  # second of the stream
        self.out = folder / "out"
        self.out.mkdir()
        self._began = self.now
        self._replay = Replay(made, folder / "logs", self.now + ahead)
        self._written = 0.0
        job = Job(logs=str(folder / "logs"), out=str(self.out), began=self.now, qualities=["720p", "360p"])
        self.show = Show(job, lambda: self.now)

    def run(self, until: float, *, stalls: float = 0.0) -> None:
        """`until`: second of the class. `stalls`: seconds that the machine stands still first."""
        self.now += stalls
        while self.show.second < self.class_began + until:
            self.now = max(self.now, self.now + self.show.due())
            if self.now - self._written >= FLUSH_EVERY:
                self._written = self.now
                self._replay.flush(self.now - self._began - self.class_began)
            self.show.step()
            if self.show.scene.drawing is not None:  # a name: another process's work, on another clock
                wait([self.show.scene.drawing])


def pictures_of(studio: Studio, name: str = "720p") -> list[tuple[float, np.ndarray]]:
    """(second of the class, luma)"""
    return [(at - studio.class_began, luma) for at, luma in decoded(studio.out, name, "video")]


def test_every_picture_and_every_tone_is_at_its_time(synthetic_class: Path, tmp_path: Path) -> None:
    studio = Studio(synthetic_class, tmp_path)
    studio.run(LENGTH)
    studio.show.end()
    for name in ("720p", "360p", "sound"):
        assert (studio.out / f"{name}.m3u8").read_text().endswith("#EXT-X-ENDLIST\n")

    pictures = pictures_of(studio)
    times = np.array([at for at, _ in pictures])
    assert np.allclose(np.diff(times), 1 / 30, atol=0.001)
    assert len(pictures_of(studio, "360p")) == len(pictures)
    alone, large = grid(1)[0], presentation(1)[0]
    wrong = []
    flashes: list[float] = []
    for at, luma in pictures:
        if at < 1.0 or abs(at - 3.0) < SETTLED or at > LENGTH - 0.5:
            continue
        tile = tile_of(luma, alone if at < 3 else large)
        expected = int(at * FPS) & 0xFF
        # On its way for 0.12 s, two pictures; the worker's clock is all that there is to go by.
        if (expected + 1 - read_bars(tile)) % 256 > 5:
            wrong.append((round(at, 3), read_bars(tile), expected))
        if is_flash(tile):
            flashes.append(at)
    assert wrong == []

    sound = decoded(studio.out, "sound", "audio")
    begin = sound[0][0]
    samples = np.concatenate([piece[0] for _, piece in sound])
    assert abs(len(samples) / 48000 - (times[-1] - times[0])) < 0.1

    def heard(frequency: float, first: float, last: float) -> float:
        """Between two seconds of the class."""
        offset = studio.class_began - begin
        return loudness(samples[int((offset + first) * 48000) : int((offset + last) * 48000)], frequency)

    assert heard(TONES["Tina"], 2.3, 2.9) > 0.05
    assert heard(TONES["Sam"], 2.3, 2.9) < 0.01
    assert heard(TONES["Sam"], 4.3, 4.9) > 0.05

    beeps = [at for at in np.arange(1.5, LENGTH - 0.5, 0.01) if heard(BEEP, at - 0.02, at + 0.02) > 0.1]
    apart = [min((beep - flash for beep in onsets(beeps)), key=abs) for flash in onsets(flashes)]
    print("sound after picture, ms:", [round(value * 1000) for value in apart])
    assert len(apart) >= 2
    assert abs(float(np.median(apart))) <= 0.080


def test_what_is_lost_never_stops_the_stream(tmp_path: Path) -> None:
    """A camera whose packets are lost for a while: time goes on, its picture stands until its next key frame."""
    world = SyntheticClass(tmp_path / "made", 6.0)
    world.join(0.0, "Tina")
    world.camera("Tina", 0.1, 6.0, lost=lambda seconds, packet: 2.0 <= seconds < 2.5, keys=[4.0])
    world.microphone("Tina", 0.1, 6.0)
    studio = Studio(world.write(), tmp_path)
    studio.run(6.0)
    studio.show.close()
    pictures = pictures_of(studio)
    assert np.allclose(np.diff([at for at, _ in pictures]), 1 / 30, atol=0.001)
    rect = grid(1)[0]
    seen = {round(at, 2): read_bars(tile_of(luma, rect)) for at, luma in pictures if 1.0 < at < 5.3}
    standing = {bars for at, bars in seen.items() if 2.1 < at < 3.9}
    assert len(standing) == 1
    assert standing <= {28, 29, 30}
    assert max(bars for at, bars in seen.items() if at > 4.2) >= 70


def test_a_machine_that_stood_still_leaves_out_pictures_and_no_segment(synthetic_class: Path, tmp_path: Path) -> None:
    studio = Studio(synthetic_class, tmp_path)
    studio.run(2.0)
    studio.run(6.0, stalls=2.5)
    studio.show.close()
    told = (studio.out / "720p.m3u8").read_text()
    assert set(re.findall(r"#EXTINF:(.*),", told)) == {"1.00000"}
    pictures = [at for at, _ in pictures_of(studio)]
    assert max(np.diff(pictures)) < 0.34
    assert len([at for at in pictures if 4.45 < at < 5.45]) == 30  # and then every picture comes again


def test_one_that_stood_still_for_long_begins_anew(synthetic_class: Path, tmp_path: Path) -> None:
    studio = Studio(synthetic_class, tmp_path)
    studio.run(0.5)
    with pytest.raises(TooLate):
        studio.run(1.0, stalls=11.0)
    studio.show.close()


def test_what_was_read_of_a_log_is_given_back_to_the_disk(tmp_path: Path) -> None:
    world = SyntheticClass(tmp_path / "made", 1.0)
    world.camera("Tina", 0.0, 1.0)
    (log,) = world.write().glob("*.rtpdump")
    tail, whole = PacketTail(log), log.read_bytes()
    assert len(tail.read()) > 10
    record = whole[len(RTPDUMP_MAGIC) + 16 :]
    for _ in range(4 * 1024 * 1024 // len(record)):
        with log.open("ab") as file:
            file.write(record)
        tail.read()
    assert log.stat().st_size > 3 * 1024 * 1024
    assert log.stat().st_blocks * 512 < 2.2 * 1024 * 1024
