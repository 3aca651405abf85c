"""Which processes work in a recording's folder."""

from __future__ import annotations

from pathlib import Path


def drawing(folder: Path) -> list[int]:
    """Processes that draw or mix in that folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(str(folder).encode() in word for word in words):
            found.append(int(process.name))
    return found
