"""Find a film's chapters: where a screen is shared or no more, and where somebody marked a moment. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from recordings.composing.composition import FPS, Scene
from recordings.lines import one_line
from recordings.outputs.webvtt import Cue, escaped, webvtt
from recordings.timeline import RecordedTime
from sfu.manifest import ENTRIES, Mark

SHORTEST = 10.0  # seconds: a screen shown for less is no chapter; a marked moment always is
LONGEST_TITLE = 80  # characters
MOST = 500
BEGINNING, SCREEN, PEOPLE, MARKED = "beginning", "screen", "people", "marked"
WITHOUT_SCREEN = (BEGINNING, PEOPLE)


class Chapter(NamedTuple):
    begin: float  # seconds after the film's
    end: float
    title: str
    kind: str


class _Point(NamedTuple):
    at: float
    kind: str
    title: str


def find(scenes: Iterable[Scene], entries: Iterable[ENTRIES], time: RecordedTime, duration: float) -> list[Chapter]:
    """They cover the film, each longer than nothing. Empty where all would be one."""
    points = sorted([*_screens(scenes), *_marks(entries, time)], key=lambda point: point.at)
    kept = [_Point(0.0, BEGINNING, "Beginning")]
    for point in points:
        last = kept[-1]
        if point.at >= duration or len(kept) == MOST:
            break
        if point.kind == PEOPLE and last.kind in WITHOUT_SCREEN:
            continue
        near = point.at - last.at < SHORTEST
        if near and (last.kind != MARKED or point.at <= last.at):
            # What lasted a moment leaves its place to what follows, which begins a little early.
            kept[-1] = _Point(last.at, point.kind, point.title)
        elif not near or point.kind == MARKED:
            kept.append(point)
    if len(kept) == 1 and kept[0].kind != MARKED:
        return []
    ends = [*(point.at for point in kept[1:]), duration]
    return [Chapter(point.at, end, point.title, point.kind) for point, end in zip(kept, ends, strict=True)]


def _screens(scenes: Iterable[Scene]) -> Iterable[_Point]:
    shared = None
    for scene in scenes:
        tile = next((tile for tile in scene.tiles if tile.source == "screen"), None)
        if (tile.peer if tile else None) != shared:
            shared = tile.peer if tile else None
            title = one_line(tile.name, LONGEST_TITLE) if tile else "Conversation"
            yield _Point(scene.begin / FPS, SCREEN if tile else PEOPLE, title)


def _marks(entries: Iterable[ENTRIES], time: RecordedTime) -> Iterable[_Point]:
    for entry in entries:
        if isinstance(entry, Mark) and entry.mark.get("kind") == "chapter":
            title = entry.mark.get("title")
            line = one_line(title, LONGEST_TITLE) if isinstance(title, str) else ""
            yield _Point(max(0.0, time.at(entry.at)), MARKED, line or "Marked")


def as_webvtt(chapters: Iterable[Chapter]) -> str:
    return webvtt(Cue(chapter.begin, chapter.end, escaped(chapter.title)) for chapter in chapters)


def as_json(chapters: Iterable[Chapter]) -> str:
    told = [
        {**chapter._asdict(), "begin": round(chapter.begin, 3), "end": round(chapter.end, 3)} for chapter in chapters
    ]
    return json.dumps({"chapters": told})
