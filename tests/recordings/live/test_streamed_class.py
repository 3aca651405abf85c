"""A class goes on and is streamed: what viewers get is what happened, picture by picture and tone by tone."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import av
import numpy as np
import pytest

from recordings.composition import Rect, grid, presentation
from tests.recordings.live.conftest import Streamed
from tests.recordings.synthetic import BEEP, TONES, is_flash, read_bars

pytestmark = pytest.mark.service
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


@pytest.mark.timeout(120)
def test_every_picture_and_every_tone_is_at_its_time(streamed: Streamed) -> None:
    process = streamed.start()
    streamed.wait_for("live.m3u8")
    streamed.start_class()
    streamed.wait_for_second(7.8)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    for name in ("720p", "360p", "sound"):
        assert (streamed.out / f"{name}.m3u8").read_text().endswith("#EXT-X-ENDLIST\n")

    began = streamed.class_began
    pictures = decoded(streamed.out, "720p", "video")
    times = [at for at, _ in pictures]
    assert np.allclose(np.diff(times) * 30 % 1 % 0.999, 0, atol=0.01)  # whole frames, also of a busy machine
    assert times[0] == int(times[0])  # a segment begins with its second
    alone, large = grid(1)[0], presentation(1)[0]
    wrong = []
    flashes: list[float] = []
    for shown, luma in pictures:
        at = shown - began  # second of the class
        if at < 1.5 or abs(at - 3.0) < SETTLED or at > 7.5:
            continue
        tile = tile_of(luma, alone if at < 3 else large)
        expected = int(at * FPS) & 0xFF
        if (read_bars(tile) - expected + 2) % 256 > 3:
            wrong.append((round(at, 3), read_bars(tile), expected))
        if is_flash(tile):
            flashes.append(at)
    assert len(wrong) <= len(pictures) * 0.02, wrong

    sound = decoded(streamed.out, "sound", "audio")
    begin = sound[0][0]
    samples = np.concatenate([piece[0] for _, piece in sound])
    assert abs(len(samples) / 48000 - (times[-1] - times[0])) < 0.3

    def heard(frequency: float, first: float, last: float) -> float:
        """Between two seconds of the class."""
        return loudness(samples[int((began + first - begin) * 48000) : int((began + last - begin) * 48000)], frequency)

    assert heard(TONES["Tina"], 2.3, 2.9) > 0.05
    assert heard(TONES["Sam"], 2.3, 2.9) < 0.01
    assert heard(TONES["Sam"], 4.3, 4.9) > 0.05

    beeps = [at for at in np.arange(1.5, 7.5, 0.01) if heard(BEEP, at - 0.02, at + 0.02) > 0.1]
    apart = [min((beep - flash for beep in onsets(beeps)), key=abs) for flash in onsets(flashes)]
    print("sound after picture, ms:", [round(value * 1000) for value in apart])
    assert len(apart) >= 2
    assert abs(float(np.median(apart))) <= 0.080
