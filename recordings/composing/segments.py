"""A recording in segments: how long they are, what the plan of one says, and where its files lie.

    <recording's folder>/segments/
        planner.json          how far planning has come (recordings.composing.planner)
        segment-0007.json     the plan of a segment: all that drawing and mixing it need to know, but for the logs
        720p-0007.mp4         its pictures in one size
        sound-0007.m4a        its sound

Each file appears by rename: where it exists, it is whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, field

from recordings.composing.composition import FPS, Scene
from recordings.logs.clocks import Clock
from recordings.timeline import RecordedTime

SECONDS = 32  # the shortest that is whole in frames (960) and in AAC frames (1,500): joined by copy without a seam
FRAMES = SECONDS * FPS
RATE = 48000  # samples a second, Opus's own
AAC_FRAME = 1024  # samples
SAMPLES = SECONDS * RATE
SEGMENTS = "segments"  # the folder's subfolder


class Start(Struct, frozen=True):
    """A place in a log where reading may begin."""

    arrival: float  # of the packet that made it one, seconds since the Unix epoch
    position: int  # bytes
    timestamp: int  # without wrap, of a packet nearby


class Camera(Struct, frozen=True):
    """One log of pictures."""

    producer_id: str
    file: str
    mime_type: str
    payload_type: int
    starts: list[Start]  # the best first; the others where its key frame turns out to be broken
    clock: Clock


class Voice(Struct, frozen=True):
    """One log of sound."""

    file: str
    payload_type: int
    start: Start
    anchors: list[tuple[int, int]]  # (timestamp without wrap, sample after the recording's start), in order

    def position(self, timestamp: int) -> int:
        """The place of a packet's first sample. A run stays in one piece: only the anchors follow the clock."""
        index = max(0, bisect_right(self.anchors, timestamp, key=lambda anchor: anchor[0]) - 1)
        anchor, position = self.anchors[index]
        return position + timestamp - anchor


class Segment(Struct, frozen=True):
    number: int
    begin: int  # frames after the recording's start
    end: int  # the first frame that is no longer in it
    until: float  # seconds since the Unix epoch: what arrived later is of no use to it
    time: RecordedTime
    scenes: dict[str, list[Scene]]  # by quality; they cover its frames
    cameras: list[Camera] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)

    @property
    def samples(self) -> tuple[int, int]:
        """Begin and end of its sound; the last segment's is filled up to a whole AAC frame."""
        begin = self.number * SAMPLES
        frames = -(-(self.end - self.begin) * RATE // (FPS * AAC_FRAME))
        return begin, begin + frames * AAC_FRAME


class Segments:
    """The segments of the recording in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.recording = folder
        self.path = folder / SEGMENTS

    def plan_path(self, number: int) -> Path:
        return self.path / f"segment-{number:04}.json"

    def pictures_path(self, number: int, quality: str) -> Path:
        return self.path / f"{quality}-{number:04}.mp4"

    def sound_path(self, number: int) -> Path:
        return self.path / f"sound-{number:04}.m4a"

    def planned(self) -> int:
        return sum(1 for _ in self.path.glob("segment-*.json"))

    def undone(self, quality: str) -> list[int]:
        """Those that are planned and not composed in that quality."""
        done = {path.name for path in self.path.glob("*.m*")} if self.path.is_dir() else set()
        return [
            number
            for number in range(self.planned())
            if not {self.pictures_path(number, quality).name, self.sound_path(number).name} <= done
        ]

    def read(self, number: int) -> Segment:
        return msgspec.json.decode(self.plan_path(number).read_bytes(), type=Segment)

    def write(self, segment: Segment) -> None:
        """A plan that is there stays as it is: somebody may have begun by it."""
        path = self.plan_path(segment.number)
        if not path.exists():
            replace(path, msgspec.json.encode(segment))

    @contextlib.contextmanager
    def claimed(self, name: str, *, wait: bool = False) -> Iterator[bool]:
        """Whether the work of that name is ours. The system takes the claim from a process that is killed."""
        self.path.mkdir(exist_ok=True)
        lock = os.open(self.path / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(lock)


def replace(path: Path, data: bytes) -> None:
    with becoming(path, path.with_name(f".{path.name}.{os.getpid()}")) as unfinished:
        unfinished.write_bytes(data)


@contextlib.contextmanager
def becoming(path: Path, unfinished: Path) -> Iterator[Path]:
    """What is written to `unfinished` becomes `path` once it is whole. Else nothing stays: the disk may be full."""
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
