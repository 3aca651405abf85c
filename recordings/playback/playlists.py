"""Give out an HLS playlist with links in place of the names of files (RFC 8216, section 4).

A stored playlist names files beside itself. Whatever else stands there (another host's address, `../`) was not written
by us, and the playlist is not given out at all.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

LONGEST = 4 * 1024 * 1024  # bytes: a day of segments
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
URI = re.compile(r'(?<=URI=")[^"]*(?=")')


class Unsafe(Exception):
    """It names what it should not."""


def with_links(text: str, playlist: str, link: Callable[[str], str]) -> str:
    """`playlist`: its name in the recording; `link`: of such a name, raising Unsafe for one that is not there."""
    folder = posixpath.dirname(playlist)

    def linked(name: str) -> str:
        if not NAME.fullmatch(name):
            raise Unsafe(f"{playlist} names {name[:80]!r}")
        return link(posixpath.join(folder, name))

    def line_with_links(line: str) -> str:
        if line.startswith("#"):
            return URI.sub(lambda found: linked(found[0]), line)
        return linked(line) if line else line

    if not text.startswith("#EXTM3U"):
        raise Unsafe(f"{playlist} is no playlist")
    return "".join(line_with_links(line.strip()) + "\n" for line in text.splitlines())
