"""A synthetic class as a media worker would write it while it goes on: the same logs, growing, at times of now."""

from __future__ import annotations

import struct
import threading
import time
from pathlib import Path

import msgspec

from recordings.logs.packets import RECORD, START
from sfu.manifest import RTPDUMP_MAGIC, TIMELINE, read_timeline
from tests.recordings.synthetic import BEGAN

HEADER = len(RTPDUMP_MAGIC) + START.size
FLUSH_EVERY = 0.25  # seconds, as the worker does


class Replay:
    """Writes what is due. `began`: when the class's second 0 is, seconds since the Unix epoch."""

    def __init__(self, made: Path, folder: Path, began: float) -> None:
        self.began = began
        self._folder = folder
        self._due: list[tuple[float, str, bytes]] = []  # (second of the class, file, bytes)
        folder.mkdir(parents=True)
        encoder = msgspec.json.Encoder()
        for entry in read_timeline(made):
            second = entry.at - BEGAN
            entry.at = began + second
            self._due.append((second, TIMELINE, encoder.encode(entry) + b"\n"))
        for log in made.glob("*.rtpdump"):
            data = log.read_bytes()
            position = HEADER
            header = RTPDUMP_MAGIC + struct.pack(">IIIHH", int(began), int(began % 1 * 1e6), 0, 0, 0)
            self._due.append((0.0, log.name, header))
            while position < len(data):
                length, _, milliseconds = RECORD.unpack_from(data, position)
                self._due.append((milliseconds / 1000, log.name, data[position : position + length]))
                position += length
        self._due.sort(key=lambda piece: piece[0])

    def flush(self, second: float) -> None:
        files: dict[str, list[bytes]] = {}
        while self._due and self._due[0][0] <= second:
            _, name, data = self._due.pop(0)
            files.setdefault(name, []).append(data)
        for name in sorted(files, key=lambda name: name != TIMELINE):
            with (self._folder / name).open("ab") as file:
                file.write(b"".join(files[name]))

    def start(self) -> threading.Thread:
        """In real time, until all is written."""

        def run() -> None:
            while self._due:
                self.flush(time.time() - self.began)
                time.sleep(FLUSH_EVERY)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread
