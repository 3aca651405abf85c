"""Who is shown large while people speak in turn: the timeline's speakers, slowed down until a picture can follow. Pure.

The worker tells of every change of the floor within a fifth of a second; a large picture that did the same would
flicker wherever two people talk. So a speaker is large once he has held the floor for a while, and stays for a while;
silence changes nothing. What is decided for a moment depends on what came before it alone: a class is composed while
it goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from sfu.manifest import ENTRIES, ActiveSpeaker, Left, Started

SPEAKS_FOR = 1.0  # seconds that one holds the floor before he is large: a "yes" in between takes nobody's place
STAYS = 3.0  # seconds that one is large at the least


class Floor:
    """Takes a timeline's entries one by one, in the order of time, and gives back what the picture follows."""

    def __init__(self) -> None:
        self._large: str | None = None
        self._since = 0.0
        self._waiting: ActiveSpeaker | None = None  # its `at`: when it will be his turn

    def push(self, entry: ENTRIES) -> list[ENTRIES]:
        calm = self.until(entry.at)
        waiting = self._waiting
        if not isinstance(entry, ActiveSpeaker):
            calm.append(entry)
            if isinstance(entry, Left) and entry.peer == self._large:
                self._large = None
            if isinstance(entry, Started) or (isinstance(entry, Left) and waiting and entry.peer == waiting.peer):
                self._waiting = None
        elif entry.peer is None or entry.peer == self._large:
            self._waiting = None
        elif waiting is None or waiting.peer != entry.peer:
            turn = entry.at if self._large is None else max(entry.at + SPEAKS_FOR, self._since + STAYS)
            self._waiting = ActiveSpeaker(at=turn, peer=entry.peer)
        return calm

    def until(self, at: float) -> list[ENTRIES]:
        """Whose turn has come by then, seconds since the Unix epoch."""
        waiting = self._waiting
        if waiting is None or waiting.at > at:
            return []
        self._large, self._since, self._waiting = waiting.peer, waiting.at, None
        return [waiting]


def held(entries: Iterable[ENTRIES]) -> list[ENTRIES]:
    """The same timeline, in the order of time, with ActiveSpeaker only where another becomes large."""
    floor = Floor()
    return [calm for entry in entries for calm in floor.push(entry)] + floor.until(math.inf)
