"""Draw the class as it is now: who is in the room, where everybody stands, and their newest pictures.

Names are drawn by a process of FFmpeg. That is waited for by nobody: a scene stands until the names of the next one are
there.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor

from recordings.composing.composition import REJOIN_WITHIN, Rect, Room, Size, Tile
from recordings.composing.floor import Floor
from recordings.composing.names import Luma, draw
from recordings.composing.render import BACKGROUND, Canvas, TilePainter, label, letters
from recordings.live.sources import Camera
from sfu.manifest import ENTRIES, Joined, Started, TrackStarted

log = logging.getLogger(__name__)

MOST_NAMES = 500  # drawn names that are kept


class Scene:
    def __init__(self, size: Size, cameras: dict[str, Camera], began: float) -> None:
        """`cameras`, by producer id, is its owner's and changes. `began`: see `Job`."""
        self._began = began
        self._floor = Floor()
        self.canvas = Canvas(size)
        self._cameras = cameras
        self._room = Room(layout="speaker")
        self._shown: tuple[Tile, ...] | None = None
        self._painters: list[TilePainter] = []
        self._names: dict[tuple[str, int], Luma] = {}
        self.drawing: Future[dict[tuple[str, int], Luma]] | None = None
        self._artist = ThreadPoolExecutor(1, thread_name_prefix="names")
        self._missed: tuple[float, set[str]] = (0.0, set())  # people who have so long to come back to another worker

    def apply(self, entry: ENTRIES) -> None:
        for calm in self._floor.push(entry):
            self._apply(calm)

    def _apply(self, entry: ENTRIES) -> None:
        seconds = entry.at - self._began
        if isinstance(entry, Started) and self._room.people:
            self._missed = (seconds + REJOIN_WITHIN, set(self._room.people))
            self._room.tracks.clear()
        elif isinstance(entry, Joined | TrackStarted):
            self._missed[1].discard(entry.peer)
        self._room.apply(entry, seconds)

    def paint(self, seconds: float) -> None:
        """As it is at that second of the stream's own time."""
        for turn in self._floor.until(self._began + seconds):
            self._apply(turn)
        if self._missed[1] and seconds > self._missed[0]:
            for peer in self._missed[1]:
                self._room.people.pop(peer, None)
            self._missed = (0.0, set())
        tiles = self._room.tiles(self.canvas.size)
        if tiles != self._shown and self._named(tiles):
            self._shown = tiles
            size = self.canvas.size
            self.canvas.fill(Rect(0, 0, size.width, size.height), BACKGROUND)
            self._painters = [
                TilePainter(tile, size, self._cameras.get(tile.producer_id or ""), self._names) for tile in tiles
            ]
        for painter in self._painters:
            painter.paint(self.canvas, seconds)

    def _named(self, tiles: tuple[Tile, ...]) -> bool:
        """Are all names there? Those that are not are asked for."""
        if self.drawing is not None and self.drawing.done():
            try:
                self._names.update(self.drawing.result())
            except Exception:
                log.exception("names could not be drawn")
            self.drawing = None
        size = self.canvas.size
        wanted = {(tile.name, letter) for tile in tiles for letter in (label(size), letters(tile, size))}
        missing = wanted - self._names.keys()
        if missing and self.drawing is None:
            if len(self._names) > MOST_NAMES:
                self._names = {key: luma for key, luma in self._names.items() if key in wanted}
            self.drawing = self._artist.submit(draw, missing)
        return not missing

    def close(self) -> None:
        self._artist.shutdown(wait=False, cancel_futures=True)
