"""Draw people's names as pictures, by FFmpeg's drawtext.

A name is whatever somebody typed. It reaches FFmpeg as the content of a file of ours, never as part of a filter or of
a command, so nothing in it can mean anything.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from recordings.lines import one_line
from recordings.programs import FONT, LOCAL, run

Luma = NDArray[np.uint8]

LONGEST = 40  # characters
WIDEST = 32  # times the size of the letters
AT_ONCE = 50  # names a run of FFmpeg: a picture of some megabytes
PAPER, INK = 24, 235
NOTHING_TO_DRAW = "Guest"


def clean(name: str) -> str:
    """One line of visible characters."""
    return one_line(name, LONGEST) or NOTHING_TO_DRAW


def draw(wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Luma]:
    """Pictures (rows by columns of luma) for (name, size of the letters in pixels), as wide as the name is."""
    drawn: dict[tuple[str, int], Luma] = {}
    for size in sorted({size for _, size in wanted}):
        names = sorted({name for name, of_size in wanted if of_size == size})
        for at in range(0, len(names), AT_ONCE):
            some = names[at : at + AT_ONCE]
            drawn.update({(name, size): luma for name, luma in zip(some, _draw(some, size), strict=True)})
    return drawn


def _draw(names: list[str], size: int) -> list[Luma]:
    width, height = size * WIDEST, (size * 3 // 2 + 1) // 2 * 2
    with tempfile.TemporaryDirectory(prefix="lectern-names-") as folder:
        # Everything in one folder under names of ours: no path needs quoting in the graph.
        (Path(folder) / "font.ttf").symlink_to(FONT)
        paper = ffmpeg.input(f"color=c=black:s={width}x{height * len(names)}:r=1", f="lavfi", protocol_whitelist=LOCAL)
        for index, name in enumerate(names):
            (Path(folder) / f"{index}.txt").write_text(clean(name), encoding="utf-8", errors="replace")
            paper = paper.filter(
                "drawtext",
                fontfile="font.ttf",
                textfile=f"{index}.txt",
                expansion="none",
                fontsize=size,
                fontcolor="white",
                x=size // 2,
                y=f"{index * height + height - size * 2 // 5}-max_glyph_a",  # the same line for x and for Ä
            )
        sheet = run(
            ffmpeg.output(paper, "pipe:1", f="rawvideo", pix_fmt="gray", vframes=1), timeout=60, cwd=Path(folder)
        )
    rows = np.frombuffer(sheet, np.uint8).reshape(len(names), height, width)
    return [_cut(row, size) for row in rows]


def _cut(row: Luma, size: int) -> Luma:
    inked = np.flatnonzero(row.max(axis=0) > 64)
    width = min(row.shape[1], (int(inked[-1]) + size // 2 if inked.size else size) // 2 * 2 + 2)
    shade = row[:, :width].astype(np.uint16)
    return (PAPER + shade * (INK - PAPER) // 255).astype(np.uint8)
