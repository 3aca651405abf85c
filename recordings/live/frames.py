"""From a log's packets to whole frames, as they come. What is late is waited for a little, and then it is lost.

The rules are those of `recordings.logs.packets.in_order` and `recordings.logs.depayload.video_frames`, which may look
two seconds ahead. Here time goes on.
"""

from __future__ import annotations

import heapq

from recordings.logs.depayload import MAX_FRAME, Depayloader, Frame
from recordings.logs.packets import Numbered, PacketError, RtpPacket, Unwrapper

PATIENCE = 0.35  # seconds that a packet before the others may be late: two round trips to ask for it again
MOST_WAITING = 1024  # packets


class Order:
    """Packets in their order. `now` is on the clock of their arrival."""

    def __init__(self) -> None:
        self._sequences, self._timestamps = Unwrapper(16), Unwrapper(32)
        self._waiting: list[tuple[int, int, int, RtpPacket]] = []
        self._expected: int | None = None
        self._count = 0

    def push(self, packet: RtpPacket) -> None:
        self._count += 1
        place = (self._sequences(packet.sequence_number), self._count, self._timestamps(packet.timestamp), packet)
        heapq.heappush(self._waiting, place)

    def pop(self, now: float) -> list[Numbered]:
        found = []
        waiting = self._waiting
        while waiting and (
            waiting[0][0] <= (self._expected if self._expected is not None else waiting[0][0])
            or now - waiting[0][3].arrival > PATIENCE
            or len(waiting) > MOST_WAITING
        ):
            sequence, _, timestamp, packet = heapq.heappop(waiting)
            if self._expected is not None and sequence < self._expected:
                continue  # a double, or too late
            gap = self._expected is not None and sequence != self._expected
            self._expected = sequence + 1
            found.append(Numbered(sequence, timestamp, gap, packet))
        return found


class Frames:
    """Puts frames together. The first one, and the first after each loss, is a key frame."""

    def __init__(self, codec: Depayloader) -> None:
        self._codec = codec
        self._timestamp: int | None = None
        self._size = 0
        self.wants_key = True

    def push(self, numbered: Numbered) -> Frame | None:
        packet = numbered.packet
        if numbered.gap:
            self._lose()
        if not packet.payload:
            return None  # a probe, made of padding
        try:
            if self._timestamp is not None and numbered.timestamp != self._timestamp:
                self._lose()  # the frame before never had its marker
            if self._timestamp is None:
                if not self._codec.begins(packet.payload):
                    self._lose()
                    return None
                self._timestamp, self._size = numbered.timestamp, 0
            self._size += len(packet.payload)
            if self._size > MAX_FRAME:
                raise PacketError("a frame without an end")
            self._codec.add(packet.payload)
            if not packet.marker:
                return None
            data, key = self._codec.finish()
        except PacketError:
            self._lose()
            return None
        timestamp, self._timestamp = self._timestamp, None
        if not data or (self.wants_key and not key):
            return None
        self.wants_key = False
        return Frame(timestamp, packet.arrival, data, key)

    def _lose(self) -> None:
        self._codec.clear()
        self._timestamp, self.wants_key = None, True
