"""Make ordinary media files of a recording's packet logs: WebM for VP8, VP9, AV1 and Opus, MKV for H264, by copy.

Nothing is decoded or encoded. A producer gets several files when its picture changes size, and new ones from the
worker that went on after another died. Every offset counts from the recording's start, on the worker's clock.
"""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet

from recordings.clocks import Clock, TrackClock, align
from recordings.depayload import (
    DEPAYLOADERS,
    START_CODE,
    Frame,
    opus_duration,
    opus_frames,
    video_frames,
    vp8_size,
)
from recordings.errors import NothingRecorded
from recordings.layered_codecs import av1_size, vp9_size
from recordings.packets import PacketLog, RtpPacket, SenderReport, in_order
from sfu.manifest import ENTRIES, Started, Stopped, TrackStarted, read_manifest, read_timeline

log = logging.getLogger(__name__)

TRACKS = "tracks"  # the folder's subfolder for what is made here
MILLISECOND = Fraction(1, 1000)  # Matroska's clock
FRAME_SHOWN = 0.1  # seconds that a track's last picture counts
SIZES = {"video/vp8": vp8_size, "video/vp9": vp9_size, "video/av1": av1_size}  # of a key frame
MAX_CLASS = 24 * 3600.0  # seconds: beyond this a clock lied


@dataclass(frozen=True)
class TrackFile:
    producer_id: str
    peer: str
    kind: str
    source: str
    path: Path
    offset: float  # seconds after the recording's start
    duration: float  # seconds
    width: int = 0
    height: int = 0
    keys: tuple[float, ...] = ()  # seconds after the file's start: where decoding can begin


@dataclass
class Material:
    """A recording ready to be composed."""

    started_at: float  # seconds since the Unix epoch
    duration: float  # seconds
    entries: list[ENTRIES]
    tracks: list[TrackFile] = field(default_factory=list)
    last_packets: dict[str, float] = field(default_factory=dict)  # producer id: seconds since the Unix epoch


@dataclass
class Log:
    started: TrackStarted
    epoch: str
    packets: PacketLog
    clock: TrackClock


def make_tracks(folder: Path) -> Material:
    """Read a recording's folder and write its tracks beside the logs. May be repeated."""
    try:
        entries = read_timeline(folder)
    except FileNotFoundError:
        raise NothingRecorded("There is no timeline: the recording never began.") from None
    if not entries:
        raise NothingRecorded("The timeline is empty: the recording never began.")
    logs = _logs(folder, entries)
    started_at, stopped_at = _bounds(folder, entries, logs)
    material = Material(started_at, min(max(0.0, stopped_at - started_at), MAX_CLASS), entries)
    out = folder / TRACKS
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    clocks: dict[str, Clock] = {}
    for sender in {(one.epoch, one.started.peer) for one in logs}:
        own = {one.started.file: one.clock for one in logs if (one.epoch, one.started.peer) == sender}
        clocks.update(align(own))
    for number, one in enumerate(logs):
        if one.clock.packets:
            material.last_packets[one.started.producer_id] = one.clock.last
            material.tracks += _write(one, clocks[one.started.file], material, out / f"{number:04}")
    return material


def _logs(folder: Path, entries: list[ENTRIES]) -> list[Log]:
    logs: dict[str, Log] = {}
    epoch = ""
    for entry in entries:
        if isinstance(entry, Started):
            epoch = entry.epoch
        elif isinstance(entry, TrackStarted):
            path = folder / Path(entry.file).name  # a name in this folder, whatever it says
            mime_type = entry.mime_type.lower()
            if mime_type not in DEPAYLOADERS and mime_type != "audio/opus":
                log.warning("recording %s: %s is not supported, its track is left out", folder.name, entry.mime_type)
            elif entry.file not in logs and path.is_file() and 0 < entry.clock_rate <= 1_000_000:
                packets = PacketLog(path)
                logs[entry.file] = Log(entry, epoch, packets, TrackClock(entry.clock_rate).feed(_own(entry, packets)))
                if packets.bad:
                    log.warning("recording %s: %d bad packets in %s", folder.name, packets.bad, entry.file)
    return list(logs.values())


def _own(started: TrackStarted, packets: PacketLog) -> Iterator[RtpPacket | SenderReport]:
    """Retransmissions and redundancy bear other payload types and are not this track's."""
    return (item for item in packets if not isinstance(item, RtpPacket) or item.payload_type == started.payload_type)


def _bounds(folder: Path, entries: list[ENTRIES], logs: list[Log]) -> tuple[float, float]:
    """Start and end of the class on the worker's clock; without a proper end, the last sign of life."""
    started_at = next((entry.at for entry in entries if isinstance(entry, Started)), entries[0].at)
    borders = [entry for entry in entries if isinstance(entry, Started | Stopped)]
    if borders and isinstance(borders[-1], Stopped):
        return started_at, borders[-1].at
    if (manifest := read_manifest(folder)) is not None:
        return started_at, manifest.stopped_at
    return started_at, max([entry.at for entry in entries] + [one.clock.last for one in logs])


def last_sign_of_life(folder: Path, entries: list[ENTRIES]) -> float:
    """When the last worker wrote for the last time, seconds since the Unix epoch."""
    logs = _logs(folder, entries)
    return max([entry.at for entry in entries] + [one.clock.last for one in logs])


def _write(one: Log, clock: Clock, material: Material, stem: Path) -> list[TrackFile]:
    packets = in_order(_own(one.started, PacketLog(one.packets.path)))
    depayloader = DEPAYLOADERS.get(one.started.mime_type.lower())
    frames = opus_frames(packets) if depayloader is None else video_frames(packets, depayloader())
    writer = Writer(one.started, stem)
    for frame in frames:
        seconds = clock(frame.timestamp, frame.arrival) - material.started_at
        if -1.0 < seconds < material.duration + 1.0:
            writer.write(frame, max(0.0, seconds))
    writer.close()
    return writer.files


class Writer:
    """One log's files. A new one begins with a key frame of another size."""

    def __init__(self, started: TrackStarted, stem: Path) -> None:
        self.files: list[TrackFile] = []
        self._started = started
        self._stem = stem
        self._mime_type = started.mime_type.lower()
        self._container: av.container.OutputContainer | None = None
        self._shape: object = None  # what a key frame says of the stream; another shape needs another file
        self._size = (0, 0)
        self._first = self._last = 0  # milliseconds after the recording's start
        self._keys: list[float] = []
        self._path = stem
        self._shown = FRAME_SHOWN

    def write(self, frame: Frame, seconds: float) -> None:
        milliseconds = round(seconds * 1000)
        shape = self._shape_of(frame) if frame.key else self._shape
        if self._container is None or shape != self._shape:
            self.close()
            if shape is None or not self._open(frame, shape, milliseconds):
                return
        elif milliseconds <= self._last:
            milliseconds = self._last + 1  # Matroska's clock is too coarse for two frames at once
        packet = Packet(frame.data)
        packet.stream = self._container.streams[0]  # type: ignore[union-attr]  # opened above
        packet.time_base = MILLISECOND
        packet.pts = packet.dts = milliseconds - self._first
        packet.is_keyframe = frame.key
        self._container.mux(packet)  # type: ignore[union-attr]
        self._last = milliseconds
        if frame.key and self._started.kind == "video":
            self._keys.append((milliseconds - self._first) / 1000)
        if self._mime_type == "audio/opus":
            self._shown = opus_duration(frame.data)

    def _shape_of(self, frame: Frame) -> object:
        if self._mime_type in SIZES:
            return SIZES[self._mime_type](frame.data)
        if self._mime_type == "video/h264":
            parameters = [nal for nal in frame.data.split(START_CODE)[1:] if nal[0] & 0x1F in (7, 8)]
            return tuple(parameters) or self._shape
        return "opus"

    def _open(self, frame: Frame, shape: object, milliseconds: int) -> bool:
        h264 = self._mime_type == "video/h264"
        self._path = self._stem.with_name(f"{self._stem.name}-{len(self.files)}.{'mkv' if h264 else 'webm'}")
        template = None
        if h264:
            try:
                template = av.open(io.BytesIO(frame.data), format="h264")
                self._size = (template.streams.video[0].width, template.streams.video[0].height)
            except (av.FFmpegError, IndexError):
                return False  # no decoder would take it either; the next key frame may be better
            if not all(self._size):
                return False
        container = av.open(str(self._path), "w", format="matroska" if h264 else "webm")
        if template is not None:
            container.add_stream_from_template(template.streams.video[0]).time_base = MILLISECOND
            template.close()
        elif self._mime_type in SIZES:
            self._size = SIZES[self._mime_type](frame.data) or (0, 0)
            codec = self._mime_type.removeprefix("video/")
            container.add_mux_stream(codec, width=self._size[0], height=self._size[1], time_base=MILLISECOND)
        else:  # the encoder writes the OpusHead that WebM asks for, and encodes nothing
            container.add_stream("libopus", rate=48000, layout="stereo")
        self._container, self._shape = container, shape
        self._first = self._last = milliseconds
        self._shown, self._keys = FRAME_SHOWN, []
        return True

    def close(self) -> None:
        """Finish the file that is open. Twice does no harm."""
        if self._container is None:
            return
        self._container.close()
        self._container, self._shape = None, None
        started = self._started
        self.files.append(
            TrackFile(
                producer_id=started.producer_id,
                peer=started.peer,
                kind=started.kind,
                source=started.source,
                path=self._path,
                offset=self._first / 1000,
                duration=(self._last - self._first) / 1000 + self._shown,
                width=self._size[0],
                height=self._size[1],
                keys=tuple(self._keys),
            )
        )
