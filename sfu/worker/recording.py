"""One recording as the media loop feeds it: a listener of a room that appends to buffers and never blocks."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sfu.manifest import (
    ENTRIES,
    ActiveSpeaker,
    Joined,
    Left,
    Mark,
    Paused,
    Resumed,
    Started,
    TrackEnded,
    TrackPaused,
    TrackResumed,
    TrackStarted,
)
from sfu.protocol import InvalidRequest, Json, ProducerInfo
from sfu.worker.recording_folder import Chunk, RecordingFolder
from sfu.worker.rtpdump import MAX_PACKET, append_rtcp, append_rtp, file_header

MAX_MARK = 16 * 1024  # bytes
MARKS_UNWRITTEN = 1024 * 1024  # bytes of marks between two writings
PRODUCER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_encoder = msgspec.json.Encoder()


class Track:
    """The log of one producer: what is not yet handed over, and when the file began (seconds, steady clock)."""

    __slots__ = ("began", "buffer", "file", "peer")

    def __init__(self, file: str, peer: str, began: float, wall: float) -> None:
        self.file = file
        self.peer = peer
        self.began = began
        self.buffer = bytearray(file_header(wall))


class Recording:
    """An `sfu.core.tap.Tap`. `now` is time.monotonic(); the files speak of seconds since the Unix epoch.

    The two clocks are compared once, at the start: a clock that is set during a class must not tear its tracks apart.
    """

    def __init__(
        self,
        *,
        room: str,
        recording_id: str,
        epoch: str,
        folder: RecordingFolder,
        on_bug: Callable[[Recording], None],
        paused: bool = False,
        peers: Iterable[str] | None = None,
    ) -> None:
        self.room = room
        self.id = recording_id
        self.epoch = epoch
        self.folder = folder
        self.opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.deaf = False
        self.paused = paused
        self.peers = None if peers is None else set(peers)  # who is recorded; None: everybody
        self.unwritten = 0  # bytes that the thread has not written yet
        self.warned_at = -math.inf  # of a disk that is nearly full
        self.lost: BaseException | None = None  # why something handed over was not written
        self._on_bug = on_bug
        self._wall_offset = time.time() - time.monotonic()
        self.started_at = self.wall()
        self._timeline = bytearray()
        self._present: set[str] = set()  # of those who are recorded
        self._logs: Counter[str] = Counter()  # begun, by producer
        self._tracks: dict[str, Track] = {}
        self._ended: list[Track] = []

    @property
    def opened(self) -> bool:
        return self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None

    def wall(self) -> float:
        return time.monotonic() + self._wall_offset

    def begin(self) -> None:
        self.note(Started(at=self.started_at, recording=self.id, room=self.room, epoch=self.epoch))
        if self.paused:
            self.note(Paused(at=self.started_at))

    def pause(self) -> bool:
        """False: it is paused already."""
        if self.paused:
            return False
        self.paused = True
        self.note(Paused(at=self.wall()))
        return True

    def resume(self) -> bool:
        """False: it is not paused."""
        if not self.paused:
            return False
        self.paused = False
        self.note(Resumed(at=self.wall()))
        return True

    def record_peer(self, peer: str, recorded: bool) -> bool:
        """False: that is so already. Who is recorded no more has left, for the recording; who is, joins."""
        if self.peers is None or recorded == (peer in self.peers):
            return False
        if recorded:
            self.peers.add(peer)
            return True
        self.peers.discard(peer)
        for producer_id in [id for id, track in self._tracks.items() if track.peer == peer]:
            self.producer_closed(producer_id)
        self.peer_closed(peer)
        return True

    def note(self, entry: ENTRIES) -> None:
        self._timeline += _encoder.encode(entry)
        self._timeline += b"\n"

    def add_mark(self, mark: Json) -> None:
        """Raises InvalidRequest: a mark too large or too deep, or too many at once."""
        line = _encoder.encode(Mark(at=self.wall(), mark=mark))
        if len(line) > MAX_MARK or len(self._timeline) > MARKS_UNWRITTEN:
            raise InvalidRequest("too_large", "marks are limited")
        self._timeline += line
        self._timeline += b"\n"

    def take(self) -> Chunk:
        """What came together since the last time. Records stay whole."""
        chunk = Chunk(timeline=bytes(self._timeline))
        self._timeline.clear()
        for track in (*self._ended, *self._tracks.values()):
            if track.buffer:
                chunk.logs.append((track.file, bytes(track.buffer)))
                track.buffer.clear()
        chunk.ended = [track.file for track in self._ended]
        self._ended.clear()
        return chunk

    # --- Tap ---

    def wants(self, peer: str) -> bool:
        return not self.paused and self._records(peer)

    def _records(self, peer: str) -> bool:
        return self.peers is None or peer in self.peers

    def peer_opened(self, peer: str, name: str) -> None:
        if not self.deaf and self._records(peer) and peer not in self._present:
            self._present.add(peer)
            self.note(Joined(at=self.wall(), peer=peer, name=name))

    def peer_closed(self, peer: str) -> None:
        if not self.deaf and peer in self._present:
            self._present.discard(peer)
            self.note(Left(at=self.wall(), peer=peer))

    def producer_added(
        self, info: ProducerInfo, codec: dict[str, Any], mime_type: str, payload_type: int, paused: bool
    ) -> None:
        if self.deaf or not self._records(info.peer) or info.producer_id in self._tracks:
            return
        try:
            if PRODUCER_ID.fullmatch(info.producer_id) is None:
                raise ValueError("a producer's id that is no file name")
            now = time.monotonic()
            wall = now + self._wall_offset
            self._logs[info.producer_id] += 1
            again = f"-{self._logs[info.producer_id]}" if self._logs[info.producer_id] > 1 else ""
            track = Track(f"{info.producer_id}{again}.{self.epoch}.rtpdump", info.peer, now, wall)
            self.note(
                TrackStarted(
                    at=wall,
                    producer_id=info.producer_id,
                    peer=info.peer,
                    kind=info.kind,
                    source=info.source,
                    file=track.file,
                    mime_type=mime_type,
                    payload_type=payload_type,
                    clock_rate=codec["clockRate"],
                    channels=codec.get("channels") or 0,
                    parameters=codec.get("parameters") or {},
                    paused=paused,
                )
            )
            self._tracks[info.producer_id] = track
        except Exception:
            # Raised on, it would only take us off the room, and nobody would know that nothing is recorded any more.
            self._on_bug(self)

    def producer_closed(self, producer_id: str) -> None:
        track = self._tracks.pop(producer_id, None)
        if track is not None and not self.deaf:
            self._ended.append(track)
            self.note(TrackEnded(at=self.wall(), producer_id=producer_id))

    def producer_paused(self, producer_id: str) -> None:
        if producer_id in self._tracks and not self.deaf:
            self.note(TrackPaused(at=self.wall(), producer_id=producer_id))

    def producer_resumed(self, producer_id: str) -> None:
        if producer_id in self._tracks and not self.deaf:
            self.note(TrackResumed(at=self.wall(), producer_id=producer_id))

    def speaker_changed(self, peer: str | None) -> None:
        if not self.deaf and (peer is None or self._records(peer)):
            self.note(ActiveSpeaker(at=self.wall(), peer=peer))

    def rtp(self, producer_id: str, packet: memoryview, now: float) -> None:
        track = self._tracks.get(producer_id)
        if track is None or self.deaf or self.paused or len(packet) > MAX_PACKET:
            return
        append_rtp(track.buffer, packet, now - track.began)

    def sender_report(self, producer_id: str, report: bytes) -> None:
        track = self._tracks.get(producer_id)
        if track is None or self.deaf or self.paused or len(report) > MAX_PACKET:
            return
        append_rtcp(track.buffer, report, time.monotonic() - track.began)
