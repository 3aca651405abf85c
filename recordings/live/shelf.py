"""The folder that viewers are served from: parts, segments and playlists of the last half minute.

    live.m3u8, live.mpd                     all qualities, for HLS and for DASH
    720p.m3u8, sound.m3u8                   one quality; the sound
    720p-init0.mp4                          the header for what the first start of the process made
    720p-17.m4s, 720p-17.2.m4s              a segment; its third part
    shelf.json                              what is there, for a process that goes on after one that was killed

Every file is written whole and then named, parts before the playlist that tells of them.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from recordings.live import playlist
from recordings.live.encode import PARTS, Part
from recordings.live.playlist import SOUND, Piece, Rendition, Segment

WINDOW = 30  # segments that are kept
STATE = "shelf.json"
MULTIVARIANT, MANIFEST = "live.m3u8", "live.mpd"
LATE = 10  # segments that lie on after they were told for the last time: who asked late still gets them


class Kept(msgspec.Struct):
    start: int
    segments: dict[str, list[Segment]]
    discontinuities: dict[str, int]


class Shelf:
    def __init__(self, folder: Path, began: float) -> None:
        """Goes on where an earlier process was killed."""
        self._folder = folder
        self._began = began
        self._renditions: dict[str, Rendition] = {}
        try:
            self._kept = msgspec.json.decode((folder / STATE).read_bytes(), type=Kept)
        except (FileNotFoundError, msgspec.DecodeError):
            self._kept = Kept(-1, {}, {})
        self.start = self._kept.start + 1

    def open(self, name: str, codec: str, bitrate: int, part_target: float, init: bytes) -> None:
        rendition = Rendition(name, codec, bitrate, part_target)
        rendition.segments = self._kept.segments.get(name, [])
        rendition.discontinuities = self._kept.discontinuities.get(name, 0)
        self._renditions[name] = rendition
        self._write(rendition.init(self.start), init)
        if rendition.segments and not rendition.segments[-1].complete:
            self._complete(rendition, rendition.segments[-1])  # viewers may have its parts: its number is used up

    @property
    def pictures(self) -> list[Rendition]:
        return [rendition for name, rendition in self._renditions.items() if name != SOUND]

    def put(self, name: str, part: Part) -> None:
        rendition = self._renditions[name]
        segment = self._segment(rendition, part)
        if segment is None:
            return
        self._write(rendition.part(segment.number, len(segment.parts)), part.data)
        segment.parts.append(Piece(part.duration, part.independent))
        segment.duration += part.duration
        if part.number == PARTS - 1:
            self._complete(rendition, segment)
        self._tell(rendition)

    def _segment(self, rendition: Rendition, part: Part) -> Segment | None:
        last = rendition.segments[-1] if rendition.segments else None
        if last is not None and not last.complete and last.second == part.segment:
            return last
        if part.number != 0:
            return None  # the process began in the middle of a second
        if last is not None and not last.complete:
            self._complete(rendition, last)
        segment = Segment(last.number + 1 if last else 0, part.segment, part.time, start=self.start)
        rendition.segments.append(segment)
        return segment

    def _complete(self, rendition: Rendition, segment: Segment) -> None:
        names = [rendition.part(segment.number, number) for number in range(len(segment.parts))]
        self._write(rendition.segment(segment.number), b"".join((self._folder / name).read_bytes() for name in names))
        segment.complete = True
        while len(rendition.segments) > WINDOW:
            gone = rendition.segments.pop(0)
            rendition.discontinuities += gone.start != rendition.segments[0].start
        self._clear(rendition)

    def _clear(self, rendition: Rendition) -> None:
        first = rendition.segments[0].number - LATE
        with contextlib.suppress(FileNotFoundError):
            (self._folder / rendition.segment(first)).unlink()
        first = rendition.segments[-1].number - playlist.TOLD_IN_PARTS - LATE
        for number in range(PARTS):
            (self._folder / rendition.part(first, number)).unlink(missing_ok=True)

    def _tell(self, rendition: Rendition) -> None:
        self._keep()  # before it is told: no number is used twice
        self._write(f"{rendition.name}.m3u8", playlist.media(rendition, self._began).encode())
        if rendition.name != SOUND or not rendition.segments[-1].complete:
            return
        sound, pictures = rendition, self.pictures
        self._write(MANIFEST, playlist.dash(pictures, sound, self._began, WINDOW).encode())
        if not (self._folder / MULTIVARIANT).exists() and all(one.segments for one in pictures):
            self._write(MULTIVARIANT, playlist.multivariant(pictures, sound).encode())

    def _keep(self) -> None:
        renditions = self._renditions.values()
        kept = Kept(
            self.start,
            {one.name: one.segments for one in renditions},
            {one.name: one.discontinuities for one in renditions},
        )
        self._write(STATE, msgspec.json.encode(kept))

    def end(self) -> None:
        """The stream is over: players are told that nothing follows."""
        for rendition in self._renditions.values():
            if rendition.segments and not rendition.segments[-1].complete:
                self._complete(rendition, rendition.segments[-1])
            rendition.ended = True
            self._tell(rendition)

    def _write(self, name: str, data: bytes) -> None:
        write(self._folder / name, data)


def close(folder: Path) -> None:
    """The stream is over, and its process may have been killed before it could tell players so. Twice does no harm."""
    for path in folder.glob("*.m3u8"):
        if path.name != MULTIVARIANT:
            write(path, playlist.media_without_end(path.read_text()).encode())
    manifest = folder / MANIFEST
    if manifest.exists():
        write(manifest, playlist.dash_without_end(manifest.read_text()).encode())


def write(path: Path, data: bytes) -> None:
    """Whole, or not at all."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(data)
    unfinished.replace(path)
