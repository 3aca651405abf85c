"""Which layer of each camera recorders get: as much as the film that is composed of it can show, and no more.

Decoding is most of the work of composing. Of 25 people in a film of 1920x1080 each has a tile of 384 pixels; to decode
1280x720 for it takes sixteen times as long as what is to be seen takes.

Layouts are the composer's (`recordings.composing.composition`), and may change at any moment. So a camera is recorded
as large as any of them shows it, in the best layer of whoever may be shown large. That is the speaker, and he is large
only after a second in which he went on: his key frame is there by then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sfu.core.layers import BEST, Preference, Rung, useful_layer

if TYPE_CHECKING:
    from sfu.core.router import Router

WIDTH, HEIGHT = 1920, 1080  # pixels of the largest film
MAX_TILES = 25
BESIDE = 0.2  # of the width: what stands in a column beside something large
SURELY_LARGE = 3.0  # seconds that somebody holds the floor until he is large, whoever was so before
SPOKE_WITHIN = 30.0  # seconds: each change takes a key frame, and people who talk take turns


def tile(people: int, *, beside: bool) -> Preference:
    """The most pixels that somebody has who is not large, in a class of so many; `beside` a screen."""
    share = BESIDE if beside else 1 / math.ceil(math.sqrt(max(1, min(people, MAX_TILES))))
    return Preference(round(WIDTH * share), round(HEIGHT * share))


class Spotlight:
    """Who may be large in a picture that follows the speaker. Silence changes nothing: the last one stays."""

    def __init__(self) -> None:
        self._holds: tuple[str, float] | None = None  # who has the floor, and since when
        self._since: list[str] = []  # who had it last for so long that he was large, and all who had it after him
        self._spoke: dict[str, float] = {}  # when they had it last

    def turn(self, peer: str | None, now: float) -> None:
        if self._holds is not None:
            before, since = self._holds
            self._spoke[before] = now
            if now - since >= SURELY_LARGE:
                self._since = [before]
        self._holds = None if peer is None else (peer, now)
        if peer is not None and peer not in self._since:
            self._since.append(peer)

    def may_be_large(self, now: float) -> set[str]:
        self._spoke = {peer: at for peer, at in self._spoke.items() if now - at < SPOKE_WITHIN}
        return {*self._since, *self._spoke}


def aim_taps(router: Router, now: float) -> None:
    """Give the room's recorders the layer of each picture that they can use."""
    recorded = [producer for producer in router.producers.values() if producer.taps and producer.is_video]
    cameras = [producer for producer in recorded if producer.source == "camera" and not producer.paused]
    screen = any(producer.source == "screen" and not producer.paused for producer in recorded)
    names = [*router.peers, *router.far_peers]
    people = min((count for tap in router.taps if (count := sum(map(tap.wants, names)))), default=0)
    large = router.spotlight.may_be_large(now)
    if cameras and all(camera.owner.id not in large for camera in cameras):
        large = {cameras[0].owner.id}  # until somebody speaks, who came first
    shown = tile(people, beside=screen)
    for producer in recorded:
        small = producer.source == "camera" and producer.owner.id not in large
        producer.aim_taps(Rung(useful_layer(producer.layers, shown)) if small else BEST, now)
