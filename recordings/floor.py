"""Who is shown large while people speak in turn: the timeline's speakers, slowed down until a picture can follow. Pure.

The worker tells of every change of the floor within a fifth of a second; a large picture that did the same would
flicker wherever two people talk. So a speaker is large once he has held the floor for a while, and stays for a while;
silence changes nothing. What is decided for a moment depends on what came before it alone: a class is composed while
it goes on.
"""

from __future__ import annotations

from collections.abc import Iterable

from sfu.manifest import ENTRIES, ActiveSpeaker, Left, Started

SPEAKS_FOR = 1.0  # seconds that one holds the floor before he is large: a "yes" in between takes nobody's place
STAYS = 3.0  # seconds that one is large at the least


def held(entries: Iterable[ENTRIES]) -> list[ENTRIES]:
    """The same timeline, in the order of time, with ActiveSpeaker only where another becomes large."""
    calm: list[ENTRIES] = []
    large: str | None = None
    since = 0.0
    waiting: ActiveSpeaker | None = None  # its `at`: when it will be his turn

    for entry in entries:
        if waiting is not None and waiting.at <= entry.at:
            calm.append(waiting)
            large, since, waiting = waiting.peer, waiting.at, None
        if not isinstance(entry, ActiveSpeaker):
            calm.append(entry)
            if isinstance(entry, Left) and entry.peer == large:
                large = None
            if isinstance(entry, Started) or (isinstance(entry, Left) and waiting and entry.peer == waiting.peer):
                waiting = None
        elif entry.peer is None or entry.peer == large:
            waiting = None
        elif waiting is None or waiting.peer != entry.peer:
            turn = entry.at if large is None else max(entry.at + SPEAKS_FOR, since + STAYS)
            waiting = ActiveSpeaker(at=turn, peer=entry.peer)
    if waiting is not None:
        calm.append(waiting)
    return calm
