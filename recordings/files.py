"""What a recording consists of: the names of its files, and what each of them is. docs/recordings.md shows the shapes.

A name is one within its recording, made by us alone: nothing that anybody typed gets into it.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

SOUND = "sound.m4a"
POSTER = "poster.jpg"
THUMBNAILS = "thumbnails.vtt"
CHAPTERS, CHAPTERS_AS_JSON = "chapters.vtt", "chapters.json"
CHAT, CHAT_AS_JSON = "chat.vtt", "chat.json"
HLS = "hls/master.m3u8"

CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".m4s": "video/mp4",
    ".webm": "video/webm",
    ".m4a": "audio/mp4",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".jpg": "image/jpeg",
    ".vtt": "text/vtt",
    ".json": "application/json",
}
FILMS = (".mp4", ".webm")  # what has a quality


def film(quality: str, suffix: str = ".mp4") -> str:
    return f"{quality}{suffix}"


def sheet_of_thumbnails(number: int) -> str:
    """Counted from 1."""
    return f"thumbnails-{number}.jpg"


def captions(language: str) -> str:
    return f"captions-{language}.vtt"


def language_of(name: str) -> str:
    """Of captions; empty for all else."""
    found = re.fullmatch(r"captions-([a-z]{2,3}(?:-[a-z]{2,8})?)\.vtt", name)
    return found[1] if found else ""


def quality_of(name: str) -> str:
    """Empty for all that is no film of its own."""
    path = PurePosixPath(name)
    return path.stem if path.suffix in FILMS else ""


def content_type_of(name: str) -> str:
    return CONTENT_TYPES[PurePosixPath(name).suffix]
