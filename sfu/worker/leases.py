"""Who holds which peer, and how long a peer outlives its holder.

A peer belongs to the control connection that opened it last. When that connection dies or releases it, the media go
on: another web process takes the peer over when its browser comes back. A peer that nobody claimed for `lease` seconds
is due to be closed. No clock in here: `now` is seconds of any steady clock.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from sfu.protocol import LEASE


class PeerKey(NamedTuple):
    room: str
    peer: str


class Leases:
    def __init__(self, lease: float = LEASE) -> None:
        self.lease = lease
        self._holders: dict[PeerKey, Hashable] = {}
        # Unclaimed ones in the order of their release, which is the order of their end, too.
        self._ends: dict[PeerKey, float] = {}

    def claim(self, room: str, peer: str, holder: Hashable) -> None:
        key = PeerKey(room, peer)
        self._holders[key] = holder
        self._ends.pop(key, None)

    def release(self, room: str, peer: str, holder: Hashable, now: float) -> bool:
        """False if another holds the peer by now: what a slow web process lets go is no longer its own."""
        key = PeerKey(room, peer)
        if self._holders.get(key) is not holder:
            return False
        del self._holders[key]
        self._ends[key] = now + self.lease
        return True

    def release_all(self, holder: Hashable, now: float) -> list[PeerKey]:
        """The holder is gone. Gives the peers that it held."""
        held = [key for key, other in self._holders.items() if other is holder]
        for key in held:
            self.release(key.room, key.peer, holder, now)
        return held

    def forget(self, room: str, peer: str) -> None:
        """The peer is closed. Twice does no harm."""
        key = PeerKey(room, peer)
        self._holders.pop(key, None)
        self._ends.pop(key, None)

    def forget_room(self, room: str) -> None:
        for key in [key for key in (*self._holders, *self._ends) if key.room == room]:
            self.forget(*key)

    def holder(self, room: str, peer: str) -> Hashable | None:
        return self._holders.get(PeerKey(room, peer))

    def has_peers(self, room: str) -> bool:
        return any(key.room == room for key in self._holders) or any(key.room == room for key in self._ends)

    def due(self, now: float) -> list[PeerKey]:
        """The peers whose lease has run out, each told once."""
        over = []
        for key, end in self._ends.items():
            if end > now:
                break
            over.append(key)
        for key in over:
            del self._ends[key]
        return over
