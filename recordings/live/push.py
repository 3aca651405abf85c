"""Push a stream to an RTMP server: `python -m recordings.live.push JOB PARENT`. One more viewer, which passes it on.

Nothing is encoded again. A process of its own: a server that takes nothing for a while holds up neither the class nor
those who watch the page. When the connection breaks it is made anew, after longer and longer waits, and goes on with
the newest key frame. What it does stands in the file `push` of the stream's folder, as one word.

The address is given to FFmpeg's library, not to a program: the stream key stands in no list of processes and no log.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import av
import msgspec
from av.container import OutputContainer

from recordings.live import address
from recordings.live.job import Job, read_job
from recordings.live.playlist import SOUND, Rendition, Segment
from recordings.live.shelf import STATE, Kept
from recordings.live.tunnel import Tunnel

log = logging.getLogger("recordings.live.push")

LOOK_EVERY = 0.05  # seconds
FIRST_WAIT, LAST_WAIT = 1.0, 30.0  # seconds before it is tried again
STEADY = 30.0  # seconds: a connection that lived so long starts the waits anew
STALLED = 10.0  # seconds in which the server takes nothing
FELL_BEHIND = 5.0  # seconds: then it goes on with the newest key frame
STATE_FILE = "push"


class Follower:
    """The parts of one rendition in their order, as they come."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.rendition = Rendition(name, "", 0, 0.0)
        self._begin = 0
        self._next: tuple[int, int] | None = None  # (segment, part); None: its first segment is still to come

    def begin(self, second: int) -> None:
        """Of the stream; what is there of one rendition may be still to come of another."""
        self._begin, self._next = second, None

    def parts(self, segments: list[Segment]) -> list[bytes]:
        """Each as a file of its own, its header in front."""
        if self._next is None:
            self._next = next(((one.number, 0) for one in segments if one.second >= self._begin), None)
        found: list[bytes] = []
        for segment in segments:
            while self._next is not None and self._next[0] == segment.number:
                number = self._next[1]
                if number >= len(segment.parts):
                    if segment.complete:
                        self._next = (segment.number + 1, 0)
                    break
                header = self._folder / self.rendition.init(segment.start)
                part = self._folder / self.rendition.part(segment.number, number)
                found.append(header.read_bytes() + part.read_bytes())
                self._next = (segment.number, number + 1)
        return found


class Push:
    """One connection."""

    def __init__(self, job: Job) -> None:
        self._out = Path(job.out)
        self._job = job
        self._state = Path(job.out) / STATE
        self._pictures = Follower(self._out, job.qualities[0])
        self._sound = Follower(self._out, SOUND)
        self._container: OutputContainer | None = None
        self._tunnel: Tunnel | None = None  # of rtmps alone
        self._streams: dict[str, Any] = {}
        self._begin: float | None = None  # seconds of the stream's own time
        self._last: dict[str, int] = {}  # milliseconds

    def segments(self) -> dict[str, list[Segment]]:
        return msgspec.json.decode(self._state.read_bytes(), type=Kept).segments

    def can_begin(self) -> bool:
        """Whether there is something of pictures and of sound: only then is it known what they are like."""
        if not self._state.exists():
            return False
        segments = self.segments()
        followed = (self._pictures, self._sound)
        return all(any(one.parts for one in segments.get(each.rendition.name, [])) for each in followed)

    def connect(self) -> None:
        """When it `can_begin`. Raises BadAddress, OSError and av.FFmpegError."""
        # To the very machine that was looked at; the server hears the name that the host gave.
        parts = address.split(self._job.push)
        found = address.resolve(self._job.push, private=self._job.push_private)
        host, port = f"[{found}]" if ":" in found else found, parts.port or address.SCHEMES[parts.scheme]
        if parts.scheme == "rtmps":
            assert parts.hostname is not None
            self._tunnel = Tunnel(found, port, parts.hostname)
            host, port = "127.0.0.1", self._tunnel.port
        url = f"rtmp://{host}:{port}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        options = {
            "rw_timeout": str(int(STALLED * 1_000_000)),
            "flvflags": "no_duration_filesize",
            "rtmp_tcurl": f"{parts.scheme}://{parts.netloc}{parts.path.rpartition('/')[0]}",
        }
        segments = self.segments()
        newest = max(one.second for one in segments[self._pictures.rendition.name] if one.parts)
        self._pictures.begin(newest)
        self._sound.begin(newest)
        self._container = av.open(url, "w", format="flv", container_options=options)
        for name, follower in (("video", self._pictures), (SOUND, self._sound)):
            start = segments[follower.rendition.name][-1].start
            with av.open(io.BytesIO((self._out / follower.rendition.init(start)).read_bytes())) as header:
                self._streams[name] = self._container.add_stream_from_template(header.streams[0])

    def step(self) -> bool:
        """Pass on what came -> whether anything did. Raises av.FFmpegError."""
        segments = self.segments()
        packets: list[tuple[float, str, Any]] = []
        for name, follower in (("video", self._pictures), (SOUND, self._sound)):
            for part in follower.parts(segments[follower.rendition.name]):
                with av.open(io.BytesIO(part), "r") as container:
                    for packet in container.demux(container.streams[0]):
                        if packet.pts is not None and packet.time_base is not None:
                            packets.append((float(packet.pts * packet.time_base), name, packet))
        for seconds, name, packet in sorted(packets, key=lambda one: one[0]):
            self._send(seconds, name, packet)
        return bool(packets)

    def _send(self, seconds: float, name: str, packet: Any) -> None:
        assert self._container is not None
        if self._begin is None:
            self._begin = seconds
        stream = self._streams[name]
        milliseconds = round((seconds - self._begin) * 1000)
        if milliseconds <= self._last.get(name, -1):
            return
        self._last[name] = milliseconds
        packet.stream = stream
        packet.pts = packet.dts = round(milliseconds / 1000 / stream.time_base) if stream.time_base else milliseconds
        self._container.mux(packet)

    def close(self) -> None:
        container, self._container = self._container, None
        tunnel, self._tunnel = self._tunnel, None
        try:
            if container is not None:
                container.close()
        finally:
            if tunnel is not None:
                tunnel.close()


def say(folder: Path, word: str) -> None:
    unfinished = folder / f".{STATE_FILE}.part"
    unfinished.write_text(word)
    unfinished.replace(folder / STATE_FILE)


def push_once(job: Job, alive: Any) -> str:
    """Until the connection breaks -> what is to be said of that."""
    folder = Path(job.out)
    push = Push(job)
    where = address.without_key(job.push)
    say(folder, "connecting")
    try:
        while not push.can_begin():
            if not alive():
                return "ended"
            time.sleep(LOOK_EVERY)
        push.connect()
        said, last = False, time.monotonic()
        while alive():
            if push.step():
                last = time.monotonic()
                if not said:
                    said = True
                    say(folder, "sending")
                    log.info("%s receives the stream", where)
            elif time.monotonic() - last > FELL_BEHIND:
                return "retrying"  # the stream's process was started again, and its numbers went on without us
            else:
                time.sleep(LOOK_EVERY)
    except address.BadAddress as error:
        log.warning("%s: %s", where, error)
        return "refused"
    except (av.FFmpegError, OSError, ValueError, msgspec.DecodeError) as error:
        # Not its message: FFmpeg's has the whole address.
        log.warning("%s cannot be reached: %s", where, type(error).__name__)
        return "retrying"
    finally:
        try:
            push.close()
        except (av.FFmpegError, OSError, ValueError):
            log.info("%s: the connection broke before its end", where)
    return "ended"


def main(path: Path, parent: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    av.logging.set_level(None)
    job = read_job(path)

    def alive() -> bool:
        return os.getppid() == parent

    wait = FIRST_WAIT
    while alive():
        began = time.monotonic()
        word = push_once(job, alive)
        say(Path(job.out), word)
        wait = FIRST_WAIT if time.monotonic() - began > STEADY else min(LAST_WAIT, wait * 2)
        until = time.monotonic() + wait
        while alive() and time.monotonic() < until:
            time.sleep(LOOK_EVERY * 4)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
