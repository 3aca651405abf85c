"""Many files as one ZIP, written while it is sent: no temporary file, little memory, nothing compressed (films are)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from pathlib import PurePosixPath

from asgiref.sync import sync_to_async

MOST = 50  # recordings a ZIP
PIECE = 512 * 1024  # bytes given out at once


class _Pipe(io.RawIOBase):
    """What zipfile writes to: a file that cannot seek, and is emptied as it grows."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # whatever has a buffer
        self.waiting += piece
        return len(piece)

    def take(self) -> bytes:
        taken = bytes(self.waiting)
        self.waiting.clear()
        return taken


def unique(names: Iterable[str]) -> list[str]:
    """`class.mp4`, `class (2).mp4`: also for a file system that knows no capitals."""
    used: set[str] = set()
    found = []
    for name in names:
        path, number, free = PurePosixPath(name), 1, name
        while free.casefold() in used:
            number += 1
            free = f"{path.stem} ({number}){path.suffix}"
        used.add(free.casefold())
        found.append(free)
    return found


def zipped(files: Iterable[tuple[str, Iterable[bytes]]], at: datetime) -> Iterator[bytes]:
    """(name in the archive, its content in pieces) -> the archive in pieces. Above 4 GB it is ZIP64.

    `at`: the files' time by the clock of whoever unpacks them, as ZIP knows no time zones.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in files:
            entry = zipfile.ZipInfo(name, date_time=at.timetuple()[:6])
            with archive.open(entry, "w", force_zip64=True) as inside:
                for piece in pieces:
                    inside.write(piece)
                    if len(pipe.waiting) >= PIECE:
                        yield pipe.take()
    yield pipe.take()


async def in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """For a response under ASGI: each piece is made in a thread when the one before it has been taken."""
    end = b""
    while piece := await sync_to_async(lambda: next(pieces, end), thread_sensitive=False)():
        yield piece
