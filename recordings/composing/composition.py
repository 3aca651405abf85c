"""Decide what a composition shows, and where: timeline in, scenes with rectangles out. Pure: no files, no FFmpeg.

A scene is a stretch of frames in which nobody comes or goes and no camera or screen is switched. What is large, and who
stands beside it, is the layout's to say:

    layout        without a screen share                 with one
    grid          all in tiles as large as fit           the screen large, people beside
    speaker       who speaks large, others beside        the screen large, who speaks beside
    presentation  who speaks large, others beside        the screen large, people beside

A mark in the timeline (`{"kind": "layout", "layout": ...}`) changes the layout from there on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from recordings.composing.floor import held
from recordings.timeline import RecordedTime
from sfu.manifest import (
    ENTRIES,
    ActiveSpeaker,
    Joined,
    Left,
    Mark,
    Started,
    TrackEnded,
    TrackPaused,
    TrackResumed,
    TrackStarted,
)

FPS = 30
GAP = 8  # pixels around tiles, at 720p
MAX_TILES = 25  # a page of the classroom's own grid
LARGE = 0.8  # of the width and of the height, for what has others beside it
MAX_BESIDE = 5  # tiles
LAYOUTS = ("grid", "speaker", "presentation")
REJOIN_WITHIN = 15.0  # seconds that people have to come back to a worker that replaced a dead one


@dataclass(frozen=True)
class Size:
    """Of the whole picture in pixels, both even. All sizes show the same at the same places."""

    width: int
    height: int

    def scaled(self, pixels: float) -> int:
        """So many pixels at 720p, in this size; even."""
        return max(2, _even(pixels * self.height / 720))


SIZES = {"360p": Size(640, 360), "720p": Size(1280, 720), "1080p": Size(1920, 1080)}
HD = SIZES["720p"]  # what is made first


@dataclass(frozen=True)
class Rect:
    """Pixels, all even: chroma has half the resolution."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Tile:
    rect: Rect
    name: str
    peer: str = ""
    source: str = "camera"
    producer_id: str | None = None  # None: the camera is off, the name stands alone
    since: float = 0.0  # seconds after the start: pictures up to then are from before a pause, and stale


@dataclass(frozen=True)
class Scene:
    begin: int  # frames after the start
    end: int  # the first frame that is no longer in it
    tiles: tuple[Tile, ...]


@dataclass
class _Track:
    producer_id: str
    peer: str
    source: str
    paused: bool
    since: float = 0.0


@dataclass
class Room:
    """Who and what is there at one moment of the timeline; times are seconds after the start."""

    people: dict[str, str] = field(default_factory=dict)  # peer: name, in the order of joining
    tracks: dict[str, _Track] = field(default_factory=dict)  # video only, by producer id
    layout: str = LAYOUTS[0]
    speaker: str | None = None  # the last to be so; may have left

    def apply(self, entry: ENTRIES, seconds: float) -> None:
        match entry:
            case Joined():
                self.people[entry.peer] = entry.name
            case Left():
                self.people.pop(entry.peer, None)
                self.tracks = {key: track for key, track in self.tracks.items() if track.peer != entry.peer}
            case TrackStarted(kind="video"):
                self.people.setdefault(entry.peer, "")
                self.tracks[entry.producer_id] = _Track(entry.producer_id, entry.peer, entry.source, entry.paused)
            case TrackPaused() if entry.producer_id in self.tracks:
                self.tracks[entry.producer_id].paused = True
                self.tracks[entry.producer_id].since = seconds
            case TrackResumed() if entry.producer_id in self.tracks:
                self.tracks[entry.producer_id].paused = False
            case TrackEnded():
                self.tracks.pop(entry.producer_id, None)
            case ActiveSpeaker():
                self.speaker = entry.peer
            case Mark(mark={"kind": "layout", "layout": str(layout)}) if layout in LAYOUTS:
                self.layout = layout

    def tiles(self, size: Size) -> tuple[Tile, ...]:
        live = [track for track in self.tracks.values() if not track.paused]
        cameras = {track.peer: track for track in live if track.source == "camera"}
        screens = [track for track in live if track.source == "screen"]
        people = [_Person(peer, name, cameras.get(peer)) for peer, name in self.people.items()]
        speaker = self._large(people)
        if screens:
            screen = screens[-1]  # the last to be shared, as in the classroom
            if self.layout == "speaker" and speaker is not None:
                beside = [speaker]
            else:
                beside = _fitting(people, MAX_BESIDE, speaker if self.layout == "presentation" else None)
            large, column = presentation(len(beside), size)
            name = f"{self.people[screen.peer]} (screen)"
            return (
                Tile(large, name, screen.peer, "screen", screen.producer_id, screen.since),
                *(person.tile(rect) for rect, person in zip(column, beside, strict=True)),
            )
        if self.layout == "grid" or speaker is None or len(people) == 1:
            shown = _fitting(people, MAX_TILES)
            return tuple(person.tile(rect) for rect, person in zip(grid(len(shown), size), shown, strict=True))
        beside = _fitting([person for person in people if person is not speaker], MAX_BESIDE)
        large, column = presentation(len(beside), size)
        return (speaker.tile(large), *(person.tile(rect) for rect, person in zip(column, beside, strict=True)))

    def _large(self, people: list[_Person]) -> _Person | None:
        """Who speaks, or spoke last; before anybody did, the first to be seen."""
        speaks = [person for person in people if person.peer == self.speaker]
        return next(iter(speaks or [person for person in people if person.camera] or people), None)


@dataclass(frozen=True)
class _Person:
    peer: str
    name: str
    camera: _Track | None

    def tile(self, rect: Rect) -> Tile:
        if self.camera is None:
            return Tile(rect, self.name, self.peer)
        return Tile(rect, self.name, self.peer, "camera", self.camera.producer_id, self.camera.since)


def _fitting(people: list[_Person], most: int, speaker: _Person | None = None) -> list[_Person]:
    """As many as there is room for, those with cameras first where not all fit; then how many others there are.

    `speaker` is among them in any case.
    """
    if len(people) <= most:
        return people
    first = sorted(people, key=lambda person: person.camera is None)
    if speaker is not None and speaker not in first[: most - 1]:
        first.remove(speaker)
        first.insert(most - 2, speaker)
    return [*first[: most - 1], _Person("", f"+ {len(people) - (most - 1)}", None)]


def _even(value: float) -> int:
    return int(value) // 2 * 2


def grid(count: int, size: Size = HD) -> list[Rect]:
    """The largest tiles of 16:9 that fit, row by row, each row in the middle."""
    if count == 0:
        return []
    gap = size.scaled(GAP)

    def tile_width(columns: int) -> float:
        rows = math.ceil(count / columns)
        return min((size.width - gap * (columns + 1)) / columns, (size.height - gap * (rows + 1)) / rows * 16 / 9)

    columns = max(range(1, count + 1), key=tile_width)
    width = _even(tile_width(columns))
    height = _even(width * 9 / 16)
    rows = math.ceil(count / columns)
    top = (size.height - rows * height - (rows - 1) * gap) / 2
    rects = []
    for index in range(count):
        row, column = divmod(index, columns)
        in_row = min(columns, count - row * columns)
        left = (size.width - in_row * width - (in_row - 1) * gap) / 2
        rects.append(Rect(_even(left + column * (width + gap)), _even(top + row * (height + gap)), width, height))
    return rects


def presentation(beside: int, size: Size = HD) -> tuple[Rect, list[Rect]]:
    """A large rectangle for a screen or a speaker, and a column of small ones at its right."""
    gap = size.scaled(GAP)
    screen_width, screen_height = _even(size.width * LARGE), _even(size.height * LARGE)
    screen = Rect(0, _even((size.height - screen_height) / 2), screen_width, screen_height)
    width = _even(size.width - screen_width - 2 * gap)
    height = _even(width * 9 / 16)
    top = (size.height - beside * height - (beside - 1) * gap) / 2
    column = [Rect(screen_width + gap, _even(top + row * (height + gap)), width, height) for row in range(beside)]
    return screen, column


def settle(entries: Sequence[ENTRIES], last_packets: dict[str, float]) -> list[ENTRIES]:
    """Write down what a dead worker could not: its tracks ended with their last packet, some people never came back."""
    settled: list[ENTRIES] = []
    tracks: set[str] = set()
    people: set[str] = set()
    began = False
    for index, entry in enumerate(entries):
        if isinstance(entry, Started):
            if began:
                settled += [
                    TrackEnded(at=min(entry.at, last_packets.get(producer_id, entry.at)), producer_id=producer_id)
                    for producer_id in sorted(tracks)
                ]
                back = _joined(entries[index:], until=entry.at + REJOIN_WITHIN)
                settled += [Left(at=entry.at, peer=peer) for peer in sorted(people - back)]
                tracks, people = set(), people & back
            began = True
        elif isinstance(entry, TrackStarted):
            tracks.add(entry.producer_id)
            people.add(entry.peer)
        elif isinstance(entry, TrackEnded):
            tracks.discard(entry.producer_id)
        elif isinstance(entry, Joined):
            people.add(entry.peer)
        elif isinstance(entry, Left):
            people.discard(entry.peer)
        settled.append(entry)
    return sorted(settled, key=lambda entry: entry.at)


def _joined(entries: Iterable[ENTRIES], until: float) -> set[str]:
    return {entry.peer for entry in entries if isinstance(entry, Joined | TrackStarted) and entry.at <= until}


def longest_gap(entries: Sequence[ENTRIES], last_packets: dict[str, float]) -> float:
    """Seconds from the last sign of a worker that died until another went on, the longest of them; else 0."""
    longest, seen = 0.0, math.inf
    tracks: list[str] = []
    for entry in entries:
        if isinstance(entry, Started):
            signs = [seen, *(last_packets.get(producer_id, seen) for producer_id in tracks)]
            longest, tracks = max(longest, entry.at - max(signs)), []
        elif isinstance(entry, TrackStarted):
            tracks.append(entry.producer_id)
        seen = entry.at
    return longest


def frames_in(seconds: float) -> int:
    return max(1, round(seconds * FPS))


def plan(
    entries: Sequence[ENTRIES],
    *,
    time: RecordedTime,
    duration: float,
    last_packets: dict[str, float],
    begin: int = 0,
    size: Size = HD,
    layout: str = LAYOUTS[0],
) -> list[Scene]:
    """Scenes that cover every frame from `begin` to the end of `duration` (recorded seconds), each once.

    `last_packets`: producer id to seconds since the epoch.
    """
    total = frames_in(duration)
    room = Room(layout=layout)
    scenes: list[Scene] = []

    def show(begin: int, end: int) -> None:
        if begin >= end:
            return
        tiles = room.tiles(size)
        if scenes and scenes[-1].tiles == tiles:
            scenes[-1] = Scene(scenes[-1].begin, end, tiles)
        else:
            scenes.append(Scene(begin, end, tiles))

    position = begin
    for entry in held(settle(entries, last_packets)):
        seconds = time.at(entry.at)
        frame = min(max(position, round(seconds * FPS)), total)
        if frame > position:
            show(position, frame)
            position = frame
        room.apply(entry, seconds)
    show(position, total)
    return scenes
