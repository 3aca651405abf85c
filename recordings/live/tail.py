"""Read packet logs and timelines while a media worker writes them: whatever came since the last look, never waiting.

What was read is given back to the disk: a hole is punched behind the reader, so that hours of a class take no more
place than the last seconds of it. Where the file system cannot do that, the logs grow until the stream ends.
"""

from __future__ import annotations

import ctypes
import logging
import os
from pathlib import Path

import msgspec

from recordings.logs.packets import PacketLog, RtpPacket, SenderReport
from sfu.manifest import ENTRIES, TIMELINE

log = logging.getLogger(__name__)

PUNCH_EVERY = 1024 * 1024  # bytes
KEEP_SIZE, PUNCH_HOLE = 0x01, 0x02  # fallocate(2)

_libc = ctypes.CDLL(None, use_errno=True)


class PacketTail:
    """One producer's log. `PacketLog` reads on; here what it has read goes."""

    def __init__(self, path: Path) -> None:
        self._log = PacketLog(path)
        self._size = 0  # as it was when it was read for the last time
        self._punched = 0
        self._punches = True

    def read(self) -> list[RtpPacket | SenderReport]:
        try:
            size = self._log.path.stat().st_size
        except FileNotFoundError:
            return []
        if size == self._size:
            return []
        self._size = size
        found = list(self._log)
        if self._punches and self._log.position - self._punched > PUNCH_EVERY:
            self._punch()
        return found

    def _punch(self) -> None:
        end = self._log.position // PUNCH_EVERY * PUNCH_EVERY
        offset, length = ctypes.c_int64(self._punched), ctypes.c_int64(end - self._punched)
        file = os.open(self._log.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if _libc.fallocate(file, KEEP_SIZE | PUNCH_HOLE, offset, length) != 0:
                self._punches = False
                log.warning("the disk does not give back what was read: %s", os.strerror(ctypes.get_errno()))
        finally:
            os.close(file)
        self._punched = end


class TimelineTail:
    def __init__(self, folder: Path) -> None:
        self._path = folder / TIMELINE
        self._position = 0
        self._decoder = msgspec.json.Decoder(ENTRIES)

    def read(self) -> list[ENTRIES]:
        try:
            if self._path.stat().st_size == self._position:
                return []
        except FileNotFoundError:
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            whole, _, _ = file.read().rpartition(b"\n")
        self._position += len(whole) + 1 if whole else 0
        entries: list[ENTRIES] = []
        for line in whole.splitlines():
            try:
                entries.append(self._decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # only a crash leaves such a line, and the next worker's entries follow it
        return entries
