"""Draw and encode the pictures of one segment, and mix its sound.

    python -m recordings.composing.render FOLDER NUMBER QUALITY NICENESS

A process of its own, without Django, so that several cores work on one class and a decoder that crashes on somebody's
packets takes nothing with it. It prints how many frames are done, and ends when whoever started it is gone.

Decoding and scaling are FFmpeg's (by PyAV), drawing is copying rows: only a tile with a new picture is touched.
That is why there is no filter graph here: one would scale and copy all tiles for all frames, and would have to decode
each camera from its last key frame, which may lie far back, for every scene again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

import av
import ffmpeg
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from recordings.composing.composition import FPS, HD, SIZES, Rect, Size, Tile
from recordings.composing.mix import mix
from recordings.composing.names import Luma, draw
from recordings.composing.pictures import Pictures
from recordings.composing.segments import Camera, Segment, Segments, becoming
from recordings.programs import LOCAL, be_nice, command, killed_with_parent

BACKGROUND, EMPTY_TILE = 20, 48  # luma, of 16 to 235
NEUTRAL = 128  # chroma
LABEL, LETTERS, SMALL_LETTERS = 18, 40, 22  # pixels at 720p: on a picture; in the middle of an empty tile
SMALL_TILE = 400  # pixels wide at 720p: a tile below it gets small letters
SMALLEST = 12  # pixels, whatever the size: below it letters cannot be read
LETTER_WIDTH = 0.7  # of its height, as a letter is on average
REPORT_EVERY = 15  # frames
PEAK_RATE = 3_000_000  # bits a second at 720p
PRESET = "veryfast"
KEY_EVERY = 4  # seconds: how exactly a player can jump, and where a stream of files can be cut
TIMESCALE = FPS * 512  # of the pictures' track


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


class HasPictures(Protocol):
    """`Pictures` of a recording, or a camera that is live."""

    def at(self, seconds: float) -> tuple[float, av.VideoFrame] | None: ...


class TilePainter:
    """One tile of one scene."""

    def __init__(
        self, tile: Tile, size: Size, pictures: HasPictures | None, names: dict[tuple[str, int], Luma]
    ) -> None:
        self._tile = tile
        self._pictures = pictures
        self._label = names[tile.name, label(size)] if pictures else None
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


def label(size: Size) -> int:
    return max(SMALLEST, size.scaled(LABEL))


def letters(tile: Tile, size: Size) -> int:
    """In the middle of an empty tile; smaller where a long name would be cut."""
    wanted = size.scaled(SMALL_LETTERS if tile.rect.width < size.scaled(SMALL_TILE) else LETTERS)
    fitting = int(tile.rect.width / (LETTER_WIDTH * len(tile.name) + 1)) // 2 * 2
    return max(SMALLEST, min(wanted, fitting))


def encoder(path: Path, size: Size) -> Any:
    """H.264 as every browser plays it. Colours are those of the cameras' codecs (BT.601) and say so."""
    peak = PEAK_RATE * size.height // HD.height
    pictures = ffmpeg.input(
        "pipe:0", f="rawvideo", pix_fmt="yuv420p", s=f"{size.width}x{size.height}", r=FPS, protocol_whitelist=LOCAL
    )
    return ffmpeg.output(
        pictures,
        str(path),
        f="mp4",
        vcodec="libx264",
        preset=PRESET,
        crf=24,
        maxrate=peak,
        bufsize=2 * peak,
        g=KEY_EVERY * FPS,
        force_key_frames=f"expr:gte(t,n_forced*{KEY_EVERY})",
        threads=1,
        pix_fmt="yuv420p",
        colorspace="smpte170m",
        color_primaries="smpte170m",
        color_trc="smpte170m",
        color_range="tv",
        video_track_timescale=TIMESCALE,
    )


def sources(folder: Path, segment: Segment) -> dict[str, Pictures]:
    cameras: dict[str, list[Camera]] = {}
    for camera in segment.cameras:
        cameras.setdefault(camera.producer_id, []).append(camera)
    return {producer_id: Pictures(folder, segment, some) for producer_id, some in cameras.items()}


def render(segments: Segments, segment: Segment, quality: str) -> None:
    """Write a segment's pictures."""
    size = SIZES[quality]
    scenes = segment.scenes[quality]
    pictures = sources(segments.recording, segment)
    tiles = [tile for scene in scenes for tile in scene.tiles]
    names = draw({(tile.name, height) for tile in tiles for height in (label(size), letters(tile, size))})
    canvas = Canvas(size)
    path = segments.pictures_path(segment.number, quality)
    with (
        becoming(path, path.with_name(f".{path.name}.part")) as unfinished,
        # Who draws the segment after us writes to the same file: nobody else shall by then.
        subprocess.Popen(
            command(encoder(unfinished, size)), stdin=subprocess.PIPE, preexec_fn=killed_with_parent
        ) as program,
    ):
        assert program.stdin is not None
        for scene in scenes:
            canvas.fill(Rect(0, 0, size.width, size.height), BACKGROUND)
            painters = [
                TilePainter(tile, size, pictures.get(tile.producer_id) if tile.producer_id else None, names)
                for tile in scene.tiles
            ]
            for frame in range(scene.begin, scene.end):
                for painter in painters:
                    painter.paint(canvas, (frame + 0.5) / FPS)
                program.stdin.write(canvas.buffer)
                if (frame - segment.begin) % REPORT_EVERY == 0:
                    print(f"frames={frame - segment.begin}", flush=True)
        program.stdin.close()
        if program.wait() != 0:
            raise SystemExit(f"FFmpeg ended with status {program.returncode}")


def main(folder: str, number: str, quality: str) -> None:
    segments = Segments(Path(folder))
    segment = segments.read(int(number))
    if not segments.sound_path(segment.number).exists():
        mix(segments, segment)
    if not segments.pictures_path(segment.number, quality).exists():
        render(segments, segment, quality)


def end_with_parent() -> None:
    """Nothing ever comes by the standard input, until its other end closes with the process that holds it."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    be_nice(int(sys.argv[4]))
    main(*sys.argv[1:4])
