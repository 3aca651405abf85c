"""A bad link, as a process of its own: packets between two TUN devices, late, lost, or never.

Started by `link.py` as a script, with the two devices' descriptors as arguments; it is told what to do by JSON lines
on its standard input, answers each with a line, and ends when the input does. Imports nothing of ours: it starts fast.

Each way has, in this order, as `tc netem` has them: `loss` (0-1, at random); `rate` (bit/s) with a `queue` in front of
it that holds so many seconds, and drops what finds it full; `delay` and `jitter` (seconds): each packet is on its way
for delay ± jitter, so that packets overtake each other.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import random
import select
import sys
import time
from typing import Any

BATCH = 64  # packets read before others are written
LARGEST = 65_536
UDP = 17
FIRST_PORT, PORTS = 1024, 64_512  # what a NAT gives out
PORT_STEP = 7_001  # from one of its choices to the next


class Way:
    """From one device to the other."""

    def __init__(self, source: int, sink: int, chance: random.Random) -> None:
        self.source, self.sink = source, sink
        self.loss = self.rate = self.delay = self.jitter = 0.0
        self.queue = 1.0
        self._chance = chance
        self._free_at = 0.0  # when what waits before the bottleneck has passed it
        self._flying: list[tuple[float, int, bytes]] = []  # (arrives at, order, packet)
        self._order = itertools.count()
        self.forget()

    def forget(self) -> None:
        self.carried = self.bytes = self.lost = self.overflowed = 0
        self.waits: list[float] = []

    def take(self, packet: bytes, now: float) -> None:
        if self.loss and self._chance.random() < self.loss:
            self.lost += 1
            return
        left = now
        if self.rate:
            begins = max(self._free_at, now)
            if begins - now > self.queue:
                self.overflowed += 1
                return
            left = self._free_at = begins + len(packet) * 8 / self.rate
            self.waits.append(left - now)
        delay = self.delay + (self._chance.uniform(-self.jitter, self.jitter) if self.jitter else 0.0)
        heapq.heappush(self._flying, (left + max(0.0, delay), next(self._order), packet))

    def deliver(self, now: float) -> None:
        flying = self._flying
        while flying and flying[0][0] <= now:
            packet = heapq.heappop(flying)[2]
            with contextlib.suppress(OSError):  # the device is down, or nobody has that address any more
                os.write(self.sink, packet)
                self.carried += 1
                self.bytes += len(packet)

    @property
    def next_at(self) -> float | None:
        return self._flying[0][0] if self._flying else None

    def stats(self) -> dict[str, Any]:
        """Since the last time: packets and bytes carried, lost and overflowed, and the seconds that they waited."""
        waits = sorted(self.waits) or [0.0]
        told = {
            "packets": self.carried,
            "bytes": self.bytes,
            "lost": self.lost,
            "overflowed": self.overflowed,
            "waited": {"median": waits[len(waits) // 2], "p95": waits[len(waits) * 95 // 100], "most": waits[-1]},
        }
        self.forget()
        return told


class Nat:
    """Gives the client's UDP packets another source port, and another address if asked; takes none at the old ones."""

    def __init__(self) -> None:
        self.port = 0  # steps from the client's own
        self.address = 0  # to be added to the last part of it

    def outward(self, packet: bytes) -> bytes:
        return self._translate(packet, 0, self.port, self.address)

    def inward(self, packet: bytes) -> bytes:
        return self._translate(packet, 1, -self.port, -self.address)

    def _translate(self, packet: bytes, end: int, port_steps: int, address_steps: int) -> bytes:
        """`end`: 0 for the source, 1 for the destination."""
        if not (self.port or self.address) or not is_udp(packet):
            return packet
        data = bytearray(packet)
        is_ipv4 = data[0] >> 4 == 4
        udp = (data[0] & 15) * 4 if is_ipv4 else 40
        place = 14 + 4 * end if is_ipv4 else 22 + 16 * end  # the address's last two bytes
        port = int.from_bytes(data[udp + 2 * end : udp + 2 * end + 2], "big")
        address = int.from_bytes(data[place : place + 2], "big")
        new_port = FIRST_PORT + (port - FIRST_PORT + port_steps * PORT_STEP) % PORTS if port >= FIRST_PORT else port
        new_address = address + address_steps & 0xFFFF
        data[udp + 2 * end : udp + 2 * end + 2] = new_port.to_bytes(2, "big")
        data[place : place + 2] = new_address.to_bytes(2, "big")
        if is_ipv4:
            _correct(data, 10, (address, new_address))
        if not is_ipv4 or data[udp + 6] or data[udp + 7]:
            _correct(data, udp + 6, (address, new_address), (port, new_port))
        return bytes(data)


def is_multicast(packet: bytes) -> bool:
    return packet[16] >= 224 if packet[0] >> 4 == 4 else packet[24] == 0xFF


def is_udp(packet: bytes) -> bool:
    return packet[9 if packet[0] >> 4 == 4 else 6] == UDP


def _correct(data: bytearray, at: int, *changes: tuple[int, int]) -> None:
    """An Internet checksum after 16-bit words changed (RFC 1624)."""
    total = ~int.from_bytes(data[at : at + 2], "big") & 0xFFFF
    for old, new in changes:
        total += (~old & 0xFFFF) + new
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    data[at : at + 2] = (~total & 0xFFFF).to_bytes(2, "big")


class Relay:
    def __init__(self, client: int, server: int, seed: int) -> None:
        chance = random.Random(seed)
        self.up, self.down = Way(client, server, chance), Way(server, client, chance)
        self.nat = Nat()
        self.connected = self.udp = True

    def run(self) -> None:
        commands = sys.stdin.buffer
        while True:
            times = [at for at in (self.up.next_at, self.down.next_at) if at is not None]
            wait = max(0.0, min(times) - time.monotonic()) if times else None
            readable, _, _ = select.select([self.up.source, self.down.source, commands], [], [], wait)
            if commands in readable:
                line = commands.readline()
                if not line:
                    return
                sys.stdout.write(json.dumps(self.obey(json.loads(line))) + "\n")
                sys.stdout.flush()
            for way in (self.up, self.down):
                if way.source in readable:
                    self._read(way)
            now = time.monotonic()
            self.up.deliver(now)
            self.down.deliver(now)

    def _read(self, way: Way) -> None:
        for _ in range(BATCH):
            try:
                packet = os.read(way.source, LARGEST)
            except OSError:
                return
            if is_multicast(packet):
                continue  # the kernels' own chatter, of no use between two machines
            if not self.connected or (not self.udp and is_udp(packet)):
                way.lost += 1
                continue
            way.take(self.nat.outward(packet) if way is self.up else self.nat.inward(packet), time.monotonic())

    def obey(self, command: dict[str, Any]) -> Any:
        for name, way in (("up", self.up), ("down", self.down)):
            for key, value in command.get(name, {}).items():
                setattr(way, key, value)
        self.connected = command.get("connected", self.connected)
        self.udp = command.get("udp", self.udp)
        self.nat.port = command.get("nat_port", self.nat.port)
        self.nat.address = command.get("nat_address", self.nat.address)
        if command.get("stats"):
            return {"up": self.up.stats(), "down": self.down.stats()}
        return {}


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.nice(-10)  # a wire does not wait for a processor
    Relay(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).run()
