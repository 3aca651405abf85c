"""Draw a stretch of a composition's frames and encode them: `python -m recordings.render JOB NUMBER`.

A process of its own, without Django, so that several cores work on one class and a decoder that crashes on somebody's
packets takes nothing with it. It prints how many frames are done; when nobody listens any more, it ends.

Decoding and scaling are FFmpeg's (by PyAV), drawing is copying rows: only a tile with a new picture is touched.
That is why there is no filter graph here: one would scale and copy all tiles for all frames, and would have to decode
each camera from its last key frame, which may lie an hour back, for every scene again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import ffmpeg
import msgspec
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from recordings.composition import FPS, HD, Rect, Scene, Size, Tile
from recordings.names import Luma, draw
from recordings.pictures import Pictures
from recordings.programs import LOCAL, be_nice, command
from recordings.tracks import TrackFile

BACKGROUND, EMPTY_TILE = 20, 48  # luma, of 16 to 235
NEUTRAL = 128  # chroma
LABEL, LETTERS, SMALL_LETTERS = 18, 40, 22  # pixels at 720p: on a picture; in the middle of an empty tile
SMALL_TILE = 400  # pixels wide at 720p: a tile below it gets small letters
REPORT_EVERY = 15  # frames
PEAK_RATE = 3_000_000  # bits a second at 720p
KEY_EVERY = 5 * FPS  # frames: how exactly a player can jump


JOB = "job.json"


class Job(msgspec.Struct):
    """What all processes of one composition work from."""

    scenes: list[Scene]
    tracks: list[TrackFile]
    duration: float  # seconds
    parts: list[tuple[int, int]]  # frames [begin, end)
    folder: Path  # where the parts go
    preset: str = "veryfast"
    size: Size = HD

    def part_path(self, number: int) -> Path:
        return self.folder / f"part-{number:04}.mp4"

    @property
    def sound_path(self) -> Path:
        return self.folder / "sound.m4a"


def write_job(job: Job) -> None:
    (job.folder / JOB).write_bytes(msgspec.json.encode(job, enc_hook=str))


def read_job(path: Path) -> Job:
    return msgspec.json.decode(path.read_bytes(), type=Job, dec_hook=lambda kind, value: kind(value))


class Canvas:
    """One frame as yuv420p in one buffer."""

    def __init__(self, size: Size) -> None:
        width, height = size.width, size.height
        self.size = size
        self.buffer = bytearray(width * height * 3 // 2)
        whole = np.frombuffer(self.buffer, np.uint8)
        luma, quarter = width * height, width * height // 4
        self.planes: tuple[NDArray[np.uint8], ...] = (
            whole[:luma].reshape(height, width),
            whole[luma : luma + quarter].reshape(height // 2, width // 2),
            whole[luma + quarter :].reshape(height // 2, width // 2),
        )

    def fill(self, rect: Rect, luma: int) -> None:
        for plane, value in zip(self.planes, (luma, NEUTRAL, NEUTRAL), strict=True):
            scale = 1 if plane is self.planes[0] else 2
            top, left = rect.y // scale, rect.x // scale
            plane[top : top + rect.height // scale, left : left + rect.width // scale] = value

    def picture(self, frame: av.VideoFrame, x: int, y: int) -> None:
        """A yuv420p frame with even sides, its upper left corner at (x, y)."""
        for plane, source in zip(self.planes, frame.planes, strict=True):
            scale = 1 if plane is self.planes[0] else 2
            rows = np.frombuffer(memoryview(source), np.uint8).reshape(-1, source.line_size)
            height, width = frame.height // scale, frame.width // scale
            plane[y // scale : y // scale + height, x // scale : x // scale + width] = rows[:height, :width]

    def text(self, luma: Luma, rect: Rect, x: int, y: int) -> None:
        """Grey, cut to the rectangle."""
        height = min(luma.shape[0], rect.y + rect.height - y)
        width = min(luma.shape[1], rect.x + rect.width - x)
        self.planes[0][y : y + height, x : x + width] = luma[:height, :width]
        for plane in self.planes[1:]:
            plane[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2] = NEUTRAL


class TilePainter:
    """One tile of one scene."""

    def __init__(self, tile: Tile, size: Size, pictures: Pictures | None, names: dict[tuple[str, int], Luma]) -> None:
        self._tile = tile
        self._pictures = pictures
        self._label = names[tile.name, size.scaled(LABEL)] if pictures else None
        self._middle = names[tile.name, letters(tile, size)]
        self._painted: object = None  # what is to be seen: the frame, or "name"
        self._size = (0, 0)
        self._reformatter = VideoReformatter()

    def paint(self, canvas: Canvas, seconds: float) -> None:
        found = self._pictures.at(seconds) if self._pictures is not None else None
        if found is None or found[0] <= self._tile.since:
            self._name(canvas)
        elif found[1] is not self._painted:
            self._frame(canvas, found[1])

    def _name(self, canvas: Canvas) -> None:
        if self._painted == "name":
            return
        self._painted, self._size = "name", (0, 0)
        rect, luma = self._tile.rect, self._middle
        canvas.fill(rect, EMPTY_TILE)
        x = rect.x + max(0, (rect.width - luma.shape[1]) // 4 * 2)
        y = rect.y + max(0, (rect.height - luma.shape[0]) // 4 * 2)
        canvas.text(luma, rect, x, y)

    def _frame(self, canvas: Canvas, frame: av.VideoFrame) -> None:
        rect = self._tile.rect
        width, height = fit(frame.width, frame.height, rect)
        scaled = self._reformatter.reformat(
            frame, width, height, "yuv420p", interpolation=Interpolation.BILINEAR, threads=1
        )
        if self._size != (width, height):
            canvas.fill(rect, BACKGROUND)
            self._size = (width, height)
        self._painted = frame
        left, top = rect.x + (rect.width - width) // 4 * 2, rect.y + (rect.height - height) // 4 * 2
        canvas.picture(scaled, left, top)
        if self._label is not None:
            canvas.text(self._label, rect, left, top + height - min(self._label.shape[0], height))


def fit(width: int, height: int, rect: Rect) -> tuple[int, int]:
    """The largest even size of that shape inside the rectangle: nothing that a camera shows is cut off."""
    scale = min(rect.width / width, rect.height / height)
    across, down = max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)
    return min(across, rect.width), min(down, rect.height)


def letters(tile: Tile, size: Size) -> int:
    return size.scaled(SMALL_LETTERS if tile.rect.width < size.scaled(SMALL_TILE) else LETTERS)


def encoder(job: Job, number: int) -> Any:
    """H.264 as every browser plays it. Colours are those of the cameras' codecs (BT.601) and say so."""
    size = job.size
    peak = PEAK_RATE * size.height // HD.height
    pictures = ffmpeg.input(
        "pipe:0", f="rawvideo", pix_fmt="yuv420p", s=f"{size.width}x{size.height}", r=FPS, protocol_whitelist=LOCAL
    )
    return ffmpeg.output(
        pictures,
        str(job.part_path(number)),
        vcodec="libx264",
        preset=job.preset,
        crf=24,
        maxrate=peak,
        bufsize=2 * peak,
        g=KEY_EVERY,
        threads=1,
        pix_fmt="yuv420p",
        colorspace="smpte170m",
        color_primaries="smpte170m",
        color_trc="smpte170m",
        color_range="tv",
        video_track_timescale=FPS * 512,
    )


def render(job: Job, number: int) -> None:
    begin, end = job.parts[number]
    scenes = [scene for scene in job.scenes if scene.begin < end and begin < scene.end]
    by_producer: dict[str, list[TrackFile]] = {}
    for track in job.tracks:
        if track.kind == "video":
            by_producer.setdefault(track.producer_id, []).append(track)
    sources = {producer_id: Pictures(files) for producer_id, files in by_producer.items()}
    tiles = [tile for scene in scenes for tile in scene.tiles]
    names = draw({(tile.name, size) for tile in tiles for size in (job.size.scaled(LABEL), letters(tile, job.size))})
    canvas = Canvas(job.size)
    with subprocess.Popen(command(encoder(job, number)), stdin=subprocess.PIPE) as program:
        assert program.stdin is not None
        for scene in scenes:
            canvas.fill(Rect(0, 0, job.size.width, job.size.height), BACKGROUND)
            painters = [
                TilePainter(tile, job.size, sources.get(tile.producer_id) if tile.producer_id else None, names)
                for tile in scene.tiles
            ]
            for frame in range(max(begin, scene.begin), min(end, scene.end)):
                for painter in painters:
                    painter.paint(canvas, (frame + 0.5) / FPS)
                program.stdin.write(canvas.buffer)
                if (frame - begin) % REPORT_EVERY == 0:
                    print(f"frames={frame - begin}", flush=True)
        program.stdin.close()
    if program.returncode != 0:
        raise SystemExit(f"FFmpeg ended with status {program.returncode}")
    print(f"frames={end - begin}", flush=True)


if __name__ == "__main__":
    be_nice()
    render(read_job(Path(sys.argv[1])), int(sys.argv[2]))
