"""The pictures of one producer by time: the last one made at or before a moment, decoded only when asked for.

Time only goes forward. What lies between two questions is decoded only as far as needed: a jump begins at the key
frame before its aim, when that is nearer than where decoding stands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import av

from recordings.tracks import TrackFile


class Pictures:
    def __init__(self, files: Sequence[TrackFile]) -> None:
        self._files = sorted(files, key=lambda file: file.offset)
        self._index = -1  # of the file that is open
        self._container: av.container.InputContainer | None = None
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._next: tuple[float, av.VideoFrame] | None = None
        self._shown: tuple[float, av.VideoFrame] | None = None

    def at(self, seconds: float) -> tuple[float, av.VideoFrame] | None:
        """(when it was made, the picture), seconds after the recording's start."""
        while (following := self._file_at(seconds)) > self._index:
            self._open(following)
        self._jump(seconds)
        while self._next is not None and self._next[0] <= seconds:
            self._shown = self._next
            self._next = self._decode()
        return self._shown

    def _file_at(self, seconds: float) -> int:
        return bisect_right(self._files, seconds, key=lambda file: file.offset) - 1

    def _open(self, index: int) -> None:
        self.close()
        self._index = index
        container = av.open(str(self._files[index].path), options={"protocol_whitelist": "file"})
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # the composer has a process a core already
        self._container = container
        self._frames = _readable(container, stream)
        self._next = self._decode()

    def _jump(self, seconds: float) -> None:
        if self._next is None or self._container is None:
            return
        file = self._files[self._index]
        index = bisect_right(file.keys, seconds - file.offset) - 1
        if index < 0 or file.offset + file.keys[index] <= self._next[0]:
            return
        stream = self._container.streams.video[0]
        self._container.seek(round(file.keys[index] * 1000), stream=stream, backward=True)
        self._frames = _readable(self._container, stream)
        self._next = self._decode()

    def _decode(self) -> tuple[float, av.VideoFrame] | None:
        frame = next(self._frames, None)
        return None if frame is None else (self._files[self._index].offset + float(frame.time or 0.0), frame)

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container, self._frames, self._next = None, iter(()), None


def _readable(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Every frame that can be decoded; one that cannot leaves the picture before it standing."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue
