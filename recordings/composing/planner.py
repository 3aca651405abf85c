"""Plan a recording's segments, also while the class goes on: read each log once, keep little, write plans.

A segment is planned when the class is LOOKAHEAD past its end, by what had arrived until then and nothing later: so its
plan is the same whether it was made during the class or long afterwards. What the planner carries from one segment to
the next lies in a file beside the plans; where that is lost, the logs are read again from the start.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct, field

from recordings.composing.composition import FPS, LAYOUTS, SIZES, Scene, Size, frames_in, longest_gap, plan
from recordings.composing.segments import FRAMES, RATE, Camera, Segment, Segments, Voice, replace
from recordings.composing.tracks import EARLIER, SPILL, Track, TrackFile, usable
from recordings.errors import NothingRecorded
from recordings.logs.clocks import Clock, SenderClock, TrackClock
from recordings.logs.packets import PacketLog
from recordings.timeline import RecordedTime
from sfu.manifest import ENTRIES, Started, Stopped, read_manifest, read_timeline

LOOKAHEAD = 12.0  # seconds: a repaired packet is there by then, and a worker that replaces a dead one
WRITTEN_WITHIN = 3.0  # seconds: what arrived longer ago than the newest packet is on the disk, in whichever log
READY_AFTER = LOOKAHEAD + WRITTEN_WITHIN  # seconds after its end that a segment can be planned
MAX_CLASS = 24 * 3600.0  # seconds: beyond this a clock lied
FOR_EVER = 1e12  # seconds: JSON knows no infinity
STATE = "planner.json"


class State(Struct):
    planned: int = 0
    tracks: dict[str, Track] = field(default_factory=dict)  # by file
    senders: dict[str, SenderClock] = field(default_factory=dict)


class Planner:
    """Of one recording's folder. One process plans at a time: `Segments.claimed("planner")`."""

    def __init__(self, folder: Path, layout: str = LAYOUTS[0]) -> None:
        self.folder = folder
        self.layout = layout
        self.segments = Segments(folder)
        self.segments.path.mkdir(exist_ok=True)
        self._state = self._read_state()
        self._entries: list[ENTRIES] = []

    def _read_state(self) -> State:
        try:
            return msgspec.json.decode((self.segments.path / STATE).read_bytes(), type=State)
        except (FileNotFoundError, msgspec.DecodeError):
            return State()

    def advance(self, *, over: bool = False, at_most: int | None = None) -> int:
        """Plan what can be planned -> how many segments there are: so far, or (`over`) in all.

        Raises NothingRecorded where there is none yet.
        """
        self._entries = entries_of(self.folder)
        time = _finite(RecordedTime.of(self._entries))
        total = frames_in(self.duration()) if over else None
        while at_most is None or self._state.planned < at_most:
            begin = self._state.planned * FRAMES
            if total is not None and begin >= total:
                break
            end = begin + FRAMES if total is None else min(total, begin + FRAMES)
            begins, ends = _moment(time, begin / FPS), _moment(time, end / FPS)
            if total is None and not self._alive_at(ends + READY_AFTER):
                break
            self.segments.write(self._plan(begin, end, begins, ends, time))
            self._state.planned += 1
            replace(self.segments.path / STATE, msgspec.json.encode(self._state))
        return self._state.planned if total is None else -(-total // FRAMES)

    def duration(self) -> float:
        """Recorded seconds, once the class is over."""
        return min(max(0.0, RecordedTime.of(self._entries).at(ended_at(self.folder, self._entries))), MAX_CLASS)

    def tracks(self) -> list[TrackFile]:
        """Once all is planned."""
        return [file for track in self._state.tracks.values() if (file := track.file()) is not None]

    def gap(self) -> float:
        return longest_gap(self._entries, self._last_packets())

    def _alive_at(self, moment: float) -> bool:
        """Whether a worker wrote anything that happened at or after `moment`."""
        if self._entries[-1].at >= moment:
            return True
        logs = sorted((started.kind, started.file) for started, _ in usable(self.folder, self._entries))
        for _, file in logs:  # sound first, of which there is less to read
            track = self._state.tracks.get(file)
            packets = PacketLog(self.folder / file, track.position if track else 0)
            if any(item.arrival >= moment for item in packets):
                return True
        return False

    # --- one segment ---

    def _plan(self, begin: int, end: int, begins: float, ends: float, time: RecordedTime) -> Segment:
        tracks = self._state.tracks
        for started, sender in usable(self.folder, self._entries):
            track = tracks.setdefault(started.file, Track(started, sender, TrackClock(started.clock_rate)))
            track.read(self.folder, ends + LOOKAHEAD)
        clocks = self._clocks(begins, ends)
        for file, clock in clocks.items():
            tracks[file].lay_out(clock, time, ends + SPILL)
        scenes = {quality: self._scenes(begin, end, time, size) for quality, size in SIZES.items()}
        segment = Segment(
            number=begin // FRAMES,
            begin=begin,
            end=end,
            until=ends + LOOKAHEAD,
            time=time,
            scenes=scenes,
            cameras=self._cameras(next(iter(scenes.values())), clocks, time),
            voices=self._voices(clocks, begins, ends),
        )
        for file, clock in clocks.items():
            tracks[file].forget(ends, end * RATE // FPS)
            tracks[file].clock.next_segment(ends - clock.last - LOOKAHEAD)
        return segment

    def _clocks(self, begins: float, ends: float) -> dict[str, Clock]:
        """By file. Tracks with sender reports share their sender's clock, others have one of their own."""
        groups: dict[str, list[Track]] = {}
        for track in self._state.tracks.values():
            if track.first is not None:
                groups.setdefault(track.sender if track.clock.reports else track.started.file, []).append(track)
        clocks: dict[str, Clock] = {}
        for name, tracks in groups.items():
            sender = self._state.senders.setdefault(name, SenderClock())
            made = sender.advance([track.clock for track in tracks], begins, ends)
            clocks.update({track.started.file: clock for track, clock in zip(tracks, made, strict=False)})
        return clocks

    def _scenes(self, begin: int, end: int, time: RecordedTime, size: Size) -> list[Scene]:
        # All entries, also later ones: when a worker dies, its successor's first word tells of it.
        return plan(
            self._entries,
            time=time,
            duration=end / FPS,
            last_packets=self._last_packets(),
            begin=begin,
            size=size,
            layout=self.layout,
        )

    def _cameras(self, scenes: list[Scene], clocks: dict[str, Clock], time: RecordedTime) -> list[Camera]:
        shown: dict[str | None, int] = {}
        for scene in scenes:
            for tile in scene.tiles:
                shown.setdefault(tile.producer_id, scene.begin)
        return [
            Camera(
                producer_id=track.started.producer_id,
                file=file,
                mime_type=track.started.mime_type.lower(),
                payload_type=track.started.payload_type,
                starts=track.starts(_moment(time, shown[track.started.producer_id] / FPS)),
                clock=clocks[file],
            )
            for file, track in self._state.tracks.items()
            if track.is_video and track.started.producer_id in shown and file in clocks
        ]

    def _voices(self, clocks: dict[str, Clock], begins: float, ends: float) -> list[Voice]:
        return [
            Voice(file, track.started.payload_type, track.place(begins - SPILL - EARLIER), list(track.anchors))
            for file, track in self._state.tracks.items()
            if not track.is_video and track.anchors and file in clocks
            if track.first is not None and track.first < ends + SPILL and track.last > begins - SPILL
        ]

    def _last_packets(self) -> dict[str, float]:
        tracks = self._state.tracks.values()
        return {track.started.producer_id: track.last for track in tracks if track.first is not None}


def entries_of(folder: Path) -> list[ENTRIES]:
    """The timeline. Raises NothingRecorded."""
    try:
        entries = read_timeline(folder)
    except FileNotFoundError:
        raise NothingRecorded("There is no timeline: the recording never began.") from None
    if not entries:
        raise NothingRecorded("The timeline is empty: the recording never began.")
    return entries


def ended_at(folder: Path, entries: list[ENTRIES]) -> float:
    """The end of the class on the worker's clock; without a proper end, the last sign of life."""
    borders = [entry for entry in entries if isinstance(entry, Started | Stopped)]
    if borders and isinstance(borders[-1], Stopped):
        return borders[-1].at
    if (manifest := read_manifest(folder)) is not None:
        return manifest.stopped_at
    return last_sign_of_life(folder, entries)


def last_sign_of_life(folder: Path, entries: list[ENTRIES]) -> float:
    """When the last worker wrote for the last time, seconds since the Unix epoch."""
    last = max(entry.at for entry in entries)
    for started, _ in usable(folder, entries):
        last = max(last, max((item.arrival for item in PacketLog(folder / started.file)), default=last))
    return last


def _moment(time: RecordedTime, seconds: float) -> float:
    """When that recorded time was, seconds since the Unix epoch: at a pause, its end."""
    moment = time.started_at + seconds
    for since, until in time.pauses:
        if moment < since:
            break
        moment += until - since
    return moment


def _finite(time: RecordedTime) -> RecordedTime:
    return RecordedTime(time.started_at, tuple((since, min(until, FOR_EVER)) for since, until in time.pauses))
