"""The packets of one incoming stream that receivers may still ask for again."""

from __future__ import annotations

from collections import deque

from sfu.core.descriptor import Descriptor
from sfu.core.layout import payload_offset

MARKER_BIT = 0x80
VIDEO_AGE = 2.0  # seconds: later than this, a receiver has asked for a key frame
AUDIO_AGE = 1.0  # seconds: later than this, the silence was heard
MAX_PACKETS = 2500  # about 3 MB: 2 s at 10 Mbit/s


class Packet:
    """One packet as it came in, in the shape of `sfu.core.layout`; shared by all that send it."""

    __slots__ = (
        "arrived",
        "data",
        "dependencies",
        "descriptor",
        "key_frame",
        "marker",
        "sequence",
        "stamped",
        "timestamp",
    )

    def __init__(
        self,
        data: bytearray,
        sequence: int,
        timestamp: int,
        marker: bool,
        key_frame: bool,
        descriptor: Descriptor | None,
        arrived: float,
    ) -> None:
        self.data = data
        self.sequence = sequence  # the sender's, unwrapped
        self.timestamp = timestamp  # the sender's
        self.marker = marker
        self.key_frame = key_frame  # it begins one
        self.descriptor = descriptor  # None for a codec without one, and where it is malformed
        self.arrived = arrived
        self.dependencies = b""  # the dependency descriptor as it came: receivers do without, other workers do not
        self.stamped = False  # the send time is written

    def marked(self) -> Packet:
        """As the last one of its picture."""
        data = self.data.copy()
        data[1] |= MARKER_BIT
        return Packet(data, self.sequence, self.timestamp, True, self.key_frame, self.descriptor, self.arrived)

    def blank(self) -> Packet:
        """Nothing but a number: what stands in for a packet that is left out too late."""
        data = self.data[: payload_offset(self.data)]
        data[1] &= ~MARKER_BIT
        return Packet(data, self.sequence, self.timestamp, False, False, None, self.arrived)


class PacketCache:
    __slots__ = ("_by_arrival", "_by_sequence", "floor", "max_age")

    def __init__(self, max_age: float) -> None:
        self.max_age = max_age
        self.floor = -1  # the highest number that has left the cache: what is below it is too late
        self._by_sequence: dict[int, Packet] = {}
        self._by_arrival: deque[Packet] = deque()

    def __len__(self) -> int:
        return len(self._by_sequence)

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._by_sequence

    def get(self, sequence: int) -> Packet | None:
        return self._by_sequence.get(sequence)

    def add(self, packet: Packet) -> None:
        """The caller has looked that it is not there yet."""
        self.expire(packet.arrived)
        if len(self._by_arrival) >= MAX_PACKETS:
            self._drop_oldest()
        self._by_arrival.append(packet)
        self._by_sequence[packet.sequence] = packet

    def expire(self, now: float) -> None:
        oldest = now - self.max_age
        by_arrival = self._by_arrival
        while by_arrival and by_arrival[0].arrived < oldest:
            self._drop_oldest()

    def clear(self) -> None:
        while self._by_arrival:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        packet = self._by_arrival.popleft()
        del self._by_sequence[packet.sequence]
        if packet.sequence > self.floor:
            self.floor = packet.sequence
