"""A class that goes on: the folder of one that is over, written bit by bit as its media worker did."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import msgspec

from sfu.manifest import ENTRIES, LEASE, MANIFEST, RTPDUMP_MAGIC, TIMELINE
from tests.recordings.synthetic import BEGAN

HEADER = len(RTPDUMP_MAGIC) + 16
RECORD = struct.Struct(">HHI")


class Growing:
    def __init__(self, whole: Path, folder: Path) -> None:
        self.folder = folder
        self._whole = whole
        folder.mkdir(parents=True, exist_ok=True)

    def until(self, seconds: float) -> None:
        """All that happened in the first so many seconds, and nothing else, is written."""
        lines = (self._whole / TIMELINE).read_bytes().splitlines(keepends=True)
        at = [msgspec.json.decode(line, type=ENTRIES).at - BEGAN for line in lines]
        told = b"".join(line for line, moment in zip(lines, at, strict=True) if moment <= seconds)
        (self.folder / TIMELINE).write_bytes(told)
        for log in self._whole.glob("*.rtpdump"):
            data = log.read_bytes()
            if (end := _end(data, seconds)) > HEADER:
                (self.folder / log.name).write_bytes(data[:end])
        (self.folder / LEASE).touch()

    def stop(self) -> None:
        for path in self._whole.iterdir():
            if path.is_file():
                shutil.copy(path, self.folder / path.name)
        assert (self.folder / MANIFEST).exists()


def _end(log: bytes, seconds: float) -> int:
    at = HEADER
    while at + RECORD.size <= len(log):
        length, _, milliseconds = RECORD.unpack_from(log, at)
        if milliseconds > seconds * 1000:
            break
        at += length
    return at
