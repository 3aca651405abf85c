"""Write WebVTT (W3C): cues whose times rise and whose text is text, whatever stands in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

SHORTEST = 1  # milliseconds: a cue ends after it begins


class Cue(NamedTuple):
    begin: float  # seconds
    end: float
    text: str  # one line, of markup and of what `escaped` gave


def escaped(line: str) -> str:
    """So that it is neither markup nor the arrow of a cue's times."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def webvtt(cues: Iterable[Cue]) -> str:
    parts = ["WEBVTT\n"]
    for cue in sorted(cues, key=lambda cue: cue.begin):
        begin, end = round(cue.begin * 1000), round(cue.end * 1000)
        parts.append(f"{_clock(begin)} --> {_clock(max(end, begin + SHORTEST))}\n{cue.text}\n")
    return "\n".join(parts)


def _clock(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}"
