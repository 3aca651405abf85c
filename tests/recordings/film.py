"""Look into a film: its pictures as arrays, its sound as samples. Or shoot one, without the class that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from recordings.composing.composition import FPS, Rect
from tests.recordings.synthetic import BEEP, COLOURS, TONES, is_flash, picture, read_bars, sound

RATE = 48000


def sound_of(path: Path, **options: str) -> tuple[float, np.ndarray]:
    """(when it begins, samples of one channel)."""
    begins, pieces = 0.0, []
    with av.open(str(path), options=options) as container:
        for heard in container.decode(audio=0):
            if not pieces:
                begins = float(heard.time or 0.0)
            pieces.append(heard.to_ndarray().mean(axis=0))
    return begins, np.concatenate(pieces)


def shoot(path: Path, name: str, seconds: float, size: tuple[int, int]) -> Path:
    """An MP4 as composing leaves one: what the camera and the microphone of `name` took, with a key frame each 4 s."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        pictures = container.add_stream("libx264", rate=FPS, options={"preset": "superfast", "forced-idr": "1"})
        pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
        voice = container.add_stream("aac", rate=RATE, layout="stereo")
        for index in range(round(seconds * FPS)):
            taken = av.VideoFrame.from_ndarray(picture(name, (index + 0.5) / FPS, size), format="yuv420p")
            taken.pts = index
            taken.pict_type = PictureType.NONE if index % (4 * FPS) else PictureType.I
            container.mux(pictures.encode(taken))
        container.mux(pictures.encode(None))
        for begin in range(0, round(seconds * RATE), RATE // 10):
            samples = sound(name, begin / RATE, min(RATE // 10, round(seconds * RATE) - begin)).astype(np.float32)
            heard = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
            heard.sample_rate, heard.pts = RATE, begin
            container.mux(voice.encode(heard))
        container.mux(voice.encode(None))
    return path


@dataclass
class Picture:
    luma: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def tile(self, rect: Rect) -> np.ndarray:
        return self.luma[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]

    def shows(self, rect: Rect) -> str | None:
        """Whose colour fills the tile, judged beside the flash and below the bars; None: nobody's."""
        height, width = rect.height // 2, rect.width // 2
        top, left = rect.y // 2 + height * 40 // 100, rect.x // 2 + width * 12 // 100
        area = np.s_[top : top + height * 20 // 100, left : left + width * 20 // 100]
        u, v = float(self.u[area].mean()), float(self.v[area].mean())
        for name, (wanted_u, wanted_v) in COLOURS.items():
            if abs(u - wanted_u) < 14 and abs(v - wanted_v) < 14:
                return name
        return None

    def number(self, rect: Rect) -> int:
        return read_bars(self.tile(rect))

    def flashes(self, rect: Rect) -> bool:
        return is_flash(self.tile(rect))


class Film:
    def __init__(self, path: Path, **options: str) -> None:
        """`options`: of FFmpeg's demuxer."""
        self.pictures: list[Picture] = []
        self.times: list[float] = []
        with av.open(str(path), options=options) as container:
            stream = container.streams.video[0]
            self.size = (stream.width, stream.height)
            self.codecs = (stream.codec_context.name, container.streams.audio[0].codec_context.name)
            self.rate = stream.average_rate
            self.chapters = [
                (chapter["start"] / 1000, chapter["end"] / 1000, chapter["metadata"]["title"])
                for chapter in container.chapters()
            ]
            for frame in container.decode(video=0):
                planes = [
                    np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:, : plane.width].copy()
                    for plane in frame.planes
                ]
                self.pictures.append(Picture(*planes))
                self.times.append(float(frame.time or 0.0))
        self.sound_begins, self.sound = sound_of(path, **options)

    @property
    def duration(self) -> float:
        return len(self.pictures) / FPS

    def at(self, seconds: float) -> Picture:
        return self.pictures[int(seconds * FPS)]

    def _spectrum(self, begin: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        samples = self.sound[int((begin - self.sound_begins) * RATE) : int((end - self.sound_begins) * RATE)]
        levels = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) / len(samples) * 4
        return np.fft.rfftfreq(len(samples), 1 / RATE), levels

    def level(self, frequency: float, begin: float, end: float) -> float:
        """The amplitude of a tone, of full scale."""
        frequencies, levels = self._spectrum(begin, end)
        return float(levels[np.abs(frequencies - frequency) < 6].max())

    def heard(self, begin: float, end: float) -> set[str]:
        """Whose tones are in the mix."""
        return {name for name, tone in TONES.items() if self.level(tone, begin, end) > 0.03}

    def beeps(self) -> list[float]:
        """When beeps begin, exact to 5 ms."""
        step = RATE // 200
        wave = np.exp(-2j * np.pi * BEEP * np.arange(step) / RATE)
        count = len(self.sound) // step
        loud = np.abs(self.sound[: count * step].reshape(count, step) @ wave) / step * 2 > 0.12
        starts = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
        return [self.sound_begins + index / 200 for index in starts]

    def flashes(self, rect: Rect, begin: float, end: float) -> list[float]:
        """When flashes in that tile begin, exact to a frame."""
        lit = [self.pictures[index].flashes(rect) for index in range(int(begin * FPS), int(end * FPS))]
        return [begin + index / FPS for index in range(1, len(lit)) if lit[index] and not lit[index - 1]]
