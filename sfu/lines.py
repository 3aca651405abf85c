"""Cut a stream of bytes into lines of bounded length: the framing of the control connection, on both its ends."""

from __future__ import annotations


class LineParser:
    """Feed what arrived, get the whole lines in it (without their newline).

    What comes out does not depend on how the bytes were cut on their way. Once a line is longer than `limit` bytes,
    `overflowed` is true and nothing more comes out: there is no telling where the next line begins.
    """

    __slots__ = ("_buffer", "_searched", "limit", "overflowed")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.overflowed = False
        self._buffer = bytearray()
        self._searched = 0  # bytes known to hold no newline: a line that comes byte by byte is searched once

    def feed(self, data: bytes) -> list[bytes]:
        if self.overflowed:
            return []
        buffer = self._buffer
        buffer += data
        lines = []
        start = 0
        search = self._searched
        while (end := buffer.find(b"\n", search)) >= 0:
            if end - start > self.limit:
                break
            lines.append(bytes(buffer[start:end]))
            start = search = end + 1
        if start:
            del buffer[:start]
        if (end - start if end >= 0 else len(buffer)) > self.limit:
            self.overflowed = True
            buffer.clear()
        self._searched = len(buffer)
        return lines
