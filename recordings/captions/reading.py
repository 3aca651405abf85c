"""Read WebVTT (W3C) and SubRip: what is said and when. All else in it (styles, regions, markup) is left out. Pure.

Nobody gets a file as it was sent: what was understood of it is written anew.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from recordings.outputs.webvtt import Cue, escaped, webvtt

LARGEST = 1024 * 1024  # bytes: ten hours of speech
MOST_CUES = 20_000
LONGEST = 2000  # characters of a cue, with its markup
OTHER = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|$)")  # what blocks of WebVTT that are no cues begin with
ARROW = "-->"
CLOCK = r"(?:(\d{1,3}):)?([0-5]\d):([0-5]\d)[.,](\d{3})"
TIMES = re.compile(rf"\s*{CLOCK}\s*-->\s*{CLOCK}(?:\s.*)?")
VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s([^<>]*)>")
MARKUP = re.compile(r"</?[A-Za-z0-9][^<>]*>|\{\\[^{}]*\}")  # of WebVTT and SubRip; and what SubRip has from others
JOINERS = "\u200c\u200d\u200e\u200f"  # letters of some scripts need them

Block = list[tuple[int, str]]  # lines with their numbers, from 1


class Unreadable(Exception):
    """Its message is for people."""


def normalised(data: bytes, length: float | None) -> str:
    """A file of captions -> WebVTT of cues alone. `length`: of the film, in seconds. Raises Unreadable."""
    return webvtt(_cues(_text(data), length))


def _text(data: bytes) -> str:
    if len(data) > LARGEST:
        raise Unreadable(f"The file is larger than {LARGEST // 1024**2} MB: that is no text of this film.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable("The file is not in UTF-8. Save it in that encoding and try again.") from error
    if "\0" in text:
        raise Unreadable("The file is no text.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _cues(text: str, length: float | None) -> list[Cue]:
    cues = []
    for block in _blocks(text.split("\n")):
        cue = _cue(block, length)
        if cue is not None:
            cues.append(cue)
        if len(cues) > MOST_CUES:
            raise Unreadable(f"The file has more than {MOST_CUES} captions.")
    if not cues:
        raise Unreadable("There is not one caption in the file. It has to be WebVTT (.vtt) or SubRip (.srt).")
    return cues


def _blocks(lines: Iterable[str]) -> Iterator[Block]:
    block: Block = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _cue(block: Block, length: float | None) -> Cue | None:
    """None: nothing to show. A line before the times is the cue's name or number."""
    arrows = [at for at, (_, line) in enumerate(block) if ARROW in line]
    is_other = OTHER.match(block[0][1])
    if is_other and not arrows:
        return None
    # A cue that follows something else without an empty line is shown by browsers, too.
    at = arrows[0] if arrows and (is_other or arrows[0] < 2) else min(1, len(block) - 1)
    number, line = block[at]
    times = TIMES.fullmatch(line)
    if times is None:
        raise Unreadable(f"Line {number} should tell when a caption begins and ends, as 00:01:02.500 --> 00:01:04.000.")
    if len(arrows) > 1:
        raise Unreadable(f"Line {block[arrows[1]][0]}: an empty line is missing before this caption.")
    begin, end = _seconds(*times.groups()[:4]), _seconds(*times.groups()[4:])
    if end <= begin:
        raise Unreadable(f"Line {number}: the caption ends before it begins.")
    if length is not None and begin >= length:
        raise Unreadable(f"Line {number}: the caption begins when the film has ended.")
    text = "\n".join(line for _, line in block[at + 1 :])
    if len(text) > LONGEST:
        raise Unreadable(f"Line {number}: the caption has more than {LONGEST} characters.")
    shown = _shown(text)
    return Cue(begin, end if length is None else min(end, length), shown) if shown else None


def _seconds(hours: str | None, minutes: str, seconds: str, milliseconds: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(milliseconds) / 1000


def _shown(text: str) -> str:
    """The words, and before them who says them: text alone, whatever stood there."""
    said = VOICE.sub(lambda match: f"{match[1].strip()}: ", text)
    lines = html.unescape(MARKUP.sub("", said)).splitlines()
    return "\n".join(escaped(line) for each in lines if (line := " ".join(_visible(each).split())))


def _visible(line: str) -> str:
    return "".join(
        " " if each.isspace() else each for each in line if each.isprintable() or each.isspace() or each in JOINERS
    )
