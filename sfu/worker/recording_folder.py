"""The files of one recording on the disk. Blocking; only the writer's thread calls it (sfu.worker.recorder).

What is written is whole chunks of records or lines, each by one `write`, so a worker killed at any moment leaves at
most one cut record at the end of a log. Nothing lies in buffers of ours: what `write` took survives the process.
"""

from __future__ import annotations

import errno
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sfu.manifest import LEASE, MANIFEST, TIMELINE, Manifest, Started, read_timeline

LEAST_FREE = 200 * 1000 * 1000  # bytes that a recording leaves free,
LEAST_FREE_SHARE = 0.05  # or this share of the disk where that is less
# Where so little is free hosts are told: time to make room, or to come to an end.
LITTLE_FREE = 2000 * 1000 * 1000  # bytes,
LITTLE_FREE_SHARE = 0.15  # or this share of the disk where that is less
FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,160}\.[A-Za-z0-9_-]{1,64}\.rtpdump")


class CannotRecord(Exception):
    """`reason` is `disk_full`, `folder` (it cannot be written), `complete` (it has its manifest)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Chunk:
    """What came together since the last one. The timeline first: a log without its `track` line would be lost."""

    timeline: bytes = b""
    logs: list[tuple[str, bytes]] = field(default_factory=list)  # (file, records)
    ended: list[str] = field(default_factory=list)  # files that get no more

    def __len__(self) -> int:
        return len(self.timeline) + sum(len(records) for _, records in self.logs)


class RecordingFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._timeline = -1
        self._logs: dict[str, int] = {}

    def open(self) -> None:
        """Make the folder, or go on in it."""
        try:
            self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
            if (self.path / MANIFEST).exists():
                raise CannotRecord("complete", "the recording is complete already")
            self.check_disk()
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._timeline = os.open(self.path / TIMELINE, flags, 0o640)
            self._end_cut_line()
            self.touch_lease()
        except CannotRecord:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise _cannot_record(error) from error

    def _end_cut_line(self) -> None:
        """A worker that was killed may have left half a line: the next one must not be glued to it."""
        size = os.fstat(self._timeline).st_size
        if size and os.pread(self._timeline, 1, size - 1) != b"\n":
            os.write(self._timeline, b"\n")

    def write(self, chunk: Chunk) -> None:
        try:
            if chunk.timeline:
                _append(self._timeline, chunk.timeline)
            for name, records in chunk.logs:
                _append(self._log(name), records)
            for name in chunk.ended:
                if (log := self._logs.pop(name, -1)) >= 0:
                    os.close(log)
        except OSError as error:
            raise _cannot_record(error) from error

    def _log(self, name: str) -> int:
        log = self._logs.get(name, -1)
        if log < 0:
            if FILE_NAME.fullmatch(name) is None:
                raise ValueError(f"not a log's name: {name!r}")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            log = self._logs[name] = os.open(self.path / name, flags, 0o640)
        return log

    def touch_lease(self) -> None:
        lease = os.open(self.path / LEASE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            os.utime(lease)
        finally:
            os.close(lease)

    def check_disk(self) -> int | None:
        """-> bytes that are free, if that is little.

        Stop while there is still room for the database, for the composition of other recordings, for a manifest.
        """
        disk = os.statvfs(self.path)
        free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        if free < min(LEAST_FREE, size * LEAST_FREE_SHARE):
            raise CannotRecord("disk_full", f"{free // 1_000_000} MB are free")
        return free if free < min(LITTLE_FREE, size * LITTLE_FREE_SHARE) else None

    def tend(self) -> int | None:
        """Once a second: say that we live, look at the disk."""
        try:
            self.touch_lease()
            return self.check_disk()
        except OSError as error:
            raise _cannot_record(error) from error

    def finish(self, recording: str, room: str, started_at: float) -> None:
        """Everything onto the disk, then the manifest by rename: who sees it sees all of the recording."""
        try:
            self._sync()
            first = next((entry for entry in read_timeline(self.path) if isinstance(entry, Started)), None)
            manifest = Manifest(
                recording=recording,
                room=room,
                started_at=first.at if first else started_at,
                stopped_at=time.time(),
                files=sorted(log.name for log in self.path.glob("*.rtpdump")),
            )
            unfinished = self.path / f".{MANIFEST}.part"
            with unfinished.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(manifest)))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path / MANIFEST)
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _cannot_record(error) from error
        finally:
            self.close()

    def _sync(self) -> None:
        # Logs that ended earlier are closed; opening them again to sync costs little at the end of a class.
        for file in (self.path / TIMELINE, *self.path.glob("*.rtpdump")):
            handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)

    def close(self) -> None:
        """Leave the folder without a manifest: another worker or the sweeper goes on. Twice does no harm."""
        logs = [*self._logs.values(), self._timeline]
        self._logs.clear()
        self._timeline = -1
        for log in logs:
            if log >= 0:
                os.close(log)


def _append(file: int, data: bytes) -> None:
    """All of it or nothing of it: a log ends with a whole record even on a full disk."""
    size = os.fstat(file).st_size
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
    except OSError:
        os.ftruncate(file, size)
        raise


def _cannot_record(error: OSError) -> CannotRecord:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return CannotRecord("disk_full" if full else "folder", f"{type(error).__name__}: {error.strerror}")


def is_complete(path: Path) -> bool:
    return (path / MANIFEST).exists()
