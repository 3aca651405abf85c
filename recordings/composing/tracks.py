"""Read a recording's tracks, one producer's packet log each, once from start to end, and keep what plans are made of.

Little is kept, whatever the length of a class: the last key frames, a place to begin reading for each of the last
seconds, what the clock needs, and where the voice lies. The log itself stays where it is.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, field

from recordings.composing.segments import RATE, Start
from recordings.logs.clocks import Clock, TrackClock
from recordings.logs.depayload import DEPAYLOADERS, Depayloader, opus_duration
from recordings.logs.packets import REORDER_WAIT, PacketError, PacketLog, RtpPacket, SenderReport
from recordings.timeline import RecordedTime
from sfu.manifest import ENTRIES, Started, TrackStarted

log = logging.getLogger(__name__)

SLIP = RATE // 50  # samples: 20 ms, a packet. A voice further off its place is moved: a gap, or a clock that drifted
CHECKED_EVERY = RATE  # samples between two looks whether a voice is still in its place
SPILL = 1.0  # seconds around a segment for which its voices are laid out, too: encoders need neighbours
EARLIER = REORDER_WAIT + 0.5  # seconds: packets of a frame may have come before the one that it seemed to begin with
KEYS_KEPT = 3  # key frames before a segment; the nearest may be broken
KEYS_APART = 1.0  # seconds; one that follows closer adds nothing
LAST_SHOWN = {"video": 0.1, "audio": 0.02}  # seconds that a track's last packet counts


class TrackFile(Struct, frozen=True):
    """What the recording's page tells of a track."""

    producer_id: str
    peer: str
    kind: str
    source: str
    file: str
    offset: float  # seconds after the recording's start
    duration: float  # seconds


class Track(Struct):
    """How far one log is read, and what of it is still of use."""

    started: TrackStarted
    sender: str  # whose clock it goes by: tracks of one person, written by one worker
    clock: TrackClock
    position: int = 0  # bytes
    first: float | None = None  # arrivals
    last: float = 0.0
    seconds: list[Start] = field(default_factory=list)  # one a second
    newest: int = 0  # timestamp without wrap
    keys: list[Start] = field(default_factory=list)  # video: where key frames begin
    checks: list[tuple[int, float]] = field(
        default_factory=list
    )  # sound: (timestamp, arrival) of what has no place yet
    checked: int | None = None  # sound: the timestamp of the last of these that there was
    following: int = 0  # sound: the timestamp that would continue the run
    anchors: list[tuple[int, int]] = field(default_factory=list)  # of the voice
    begins: float | None = None  # seconds after the recording's start
    ends: float = 0.0

    @property
    def is_video(self) -> bool:
        return self.started.kind == "video"

    def read(self, folder: Path, until: float) -> None:
        packets = PacketLog(folder / self.started.file, self.position)
        codec = DEPAYLOADERS.get(self.started.mime_type.lower())
        for item in own(self.started.payload_type, packets.read(until)):
            if isinstance(item, SenderReport):
                self.clock.report(item)
                continue
            timestamp = self.newest = self.clock.packet(item)
            if self.first is None:
                self.first = item.arrival
                self.seconds.append(Start(item.arrival, 0, timestamp))
            elif item.arrival >= self.seconds[-1].arrival + 1.0:
                self.seconds.append(Start(item.arrival, packets.position, timestamp))
            self.last = max(self.last, item.arrival)
            if codec is None:
                self._heard(timestamp, item)
            else:
                self._seen(item, codec)
        self.position = packets.position
        if packets.bad:
            log.warning("recording %s: %d bad packets in %s", folder.name, packets.bad, self.started.file)

    def _heard(self, timestamp: int, packet: RtpPacket) -> None:
        try:
            duration = round(opus_duration(packet.payload) * RATE)
        except PacketError:
            return
        if (
            self.checked is None
            or (timestamp != self.following and timestamp > self.checked)
            or (timestamp >= self.checked + CHECKED_EVERY)
        ):
            self.checks.append((timestamp, packet.arrival))
            self.checked = timestamp
        self.following = max(self.following, timestamp + duration)

    def _seen(self, packet: RtpPacket, codec: type[Depayloader]) -> None:
        try:
            if not packet.payload or not codec.begins_key(packet.payload):
                return
        except PacketError:
            return
        if not self.keys or packet.arrival > self.keys[-1].arrival + KEYS_APART:
            place = self.place(packet.arrival - EARLIER)
            self.keys.append(Start(packet.arrival, place.position, place.timestamp))

    def place(self, moment: float) -> Start:
        """Where to begin reading for what arrived from `moment` on, as far back as is kept."""
        return self.seconds[max(0, bisect_right(self.seconds, moment, key=lambda start: start.arrival) - 1)]

    def starts(self, moment: float) -> list[Start]:
        """Where decoding can begin to have a picture at `moment`, the nearest first."""
        before = bisect_right(self.keys, moment, key=lambda start: start.arrival)
        return self.keys[max(0, before - KEYS_KEPT) : before][::-1] or [self.place(moment - EARLIER)]

    def lay_out(self, clock: Clock, time: RecordedTime, until: float) -> None:
        """Find its place in recorded time. Where the voice lies up to `until` is where it stays."""
        if self.begins is None and self.first is not None:
            self.begins = max(0.0, time.at(clock(self.seconds[0].timestamp, self.first)))
        self.ends = time.at(clock(self.newest, self.last))
        done = 0
        for timestamp, arrival in self.checks:
            made = clock(timestamp, arrival)
            if made > until:
                break
            done += 1
            sample = round(time.at(made) * RATE)
            expected = self.anchors[-1][1] + timestamp - self.anchors[-1][0] if self.anchors else None
            if expected is None or abs(sample - expected) > SLIP:
                self.anchors.append((timestamp, sample))
        del self.checks[:done]

    def forget(self, moment: float, sample: int) -> None:
        """What a segment that begins at `moment`, with `sample`, has no use for."""
        needed = moment - SPILL - EARLIER
        del self.seconds[: max(0, bisect_right(self.seconds, needed, key=lambda start: start.arrival) - 1)]
        del self.keys[: max(0, bisect_right(self.keys, moment, key=lambda start: start.arrival) - KEYS_KEPT)]
        while len(self.anchors) > 1 and self.anchors[1][1] <= sample - SPILL * RATE:
            del self.anchors[0]

    def file(self) -> TrackFile | None:
        """None: nothing came."""
        if self.begins is None:
            return None
        about = self.started
        duration = max(0.0, self.ends - self.begins) + LAST_SHOWN[about.kind]
        return TrackFile(about.producer_id, about.peer, about.kind, about.source, about.file, self.begins, duration)


def own(payload_type: int, items: Iterator[RtpPacket | SenderReport]) -> Iterator[RtpPacket | SenderReport]:
    """Retransmissions and redundancy bear other payload types and are not this track's."""
    return (item for item in items if not isinstance(item, RtpPacket) or item.payload_type == payload_type)


def usable(folder: Path, entries: list[ENTRIES]) -> Iterator[tuple[TrackStarted, str]]:
    """The logs that can be read: what the timeline says of each, and the sender by whose clock it goes."""
    epoch, seen = "", set()
    for entry in entries:
        if isinstance(entry, Started):
            epoch = entry.epoch
        elif isinstance(entry, TrackStarted) and entry.file not in seen and 0 < entry.clock_rate <= 1_000_000:
            seen.add(entry.file)
            # A name in this folder, whatever the timeline says.
            inside = Path(entry.file).name == entry.file and (folder / entry.file).is_file()
            if inside and (entry.mime_type.lower() in DEPAYLOADERS or entry.mime_type.lower() == "audio/opus"):
                yield entry, f"{epoch} {entry.peer}"
