"""Small pictures for the seek bar: sheets of them and WebVTT that tells which part of a sheet belongs to which time.

Key frames alone are decoded: a class of three hours costs seconds.
"""

from __future__ import annotations

from pathlib import Path

import ffmpeg

from recordings.errors import CompositionFailed
from recordings.files import THUMBNAILS, sheet_of_thumbnails
from recordings.outputs.media import film_input, open_own, produce
from recordings.outputs.webvtt import Cue, webvtt

WIDTH, HEIGHT = 160, 90
ACROSS, DOWN = 10, 10  # thumbnails a sheet
MOST = 500  # thumbnails: five sheets
JPEG_QUALITY = 5  # of 2 (best) to 31


def make(film: Path, seconds: float, folder: Path) -> list[Path]:
    """The sheets, and last what tells of them: nobody shall read of a sheet that is not there yet."""
    apart = seconds / MOST
    moments = chosen(key_frames(film), apart)
    picked = film_input(film, skip_frame="nokey", threads=1).video.filter(
        # The same choice as `chosen` makes; half a frame for what times lose by rounding.
        "select",
        f"isnan(prev_selected_t)+gte(t-prev_selected_t,{apart:.3f})",
    )
    sheets = picked.filter("scale", WIDTH, HEIGHT).filter("tile", f"{ACROSS}x{DOWN}")
    produce(
        ffmpeg.output(sheets, "thumbnails-%d.jpg", f="image2", fps_mode="passthrough", **{"q:v": JPEG_QUALITY}),
        folder=folder,
        seconds=seconds,
    )
    made = [folder / sheet_of_thumbnails(number + 1) for number in range(-(-len(moments) // (ACROSS * DOWN)))]
    if not made or not all(sheet.is_file() for sheet in made) or (folder / sheet_of_thumbnails(len(made) + 1)).exists():
        raise CompositionFailed(f"There are not {len(made)} sheets for {len(moments)} thumbnails.")
    told = folder / THUMBNAILS
    told.write_text(webvtt(cues(moments, seconds)))
    return [*made, told]


def key_frames(film: Path) -> list[float]:
    """Seconds."""
    with open_own(film, "mp4") as container:
        stream = container.streams.video[0]
        packets = (packet for packet in container.demux(stream) if packet.is_keyframe)
        return [float(packet.pts * packet.time_base) for packet in packets if packet.pts is not None]


def chosen(moments: list[float], apart: float) -> list[float]:
    kept: list[float] = []
    for moment in moments:
        if not kept or moment - kept[-1] >= round(apart, 3):
            kept.append(moment)
    return kept


def cues(moments: list[float], seconds: float) -> list[Cue]:
    """Each from its moment to the next one's; the first from the beginning."""
    ends = [*moments[1:], seconds]
    return [
        Cue(moment if index else 0.0, end, f"{sheet_of_thumbnails(index // (ACROSS * DOWN) + 1)}#xywh={_place(index)}")
        for index, (moment, end) in enumerate(zip(moments, ends, strict=True))
    ]


def _place(index: int) -> str:
    row, column = divmod(index % (ACROSS * DOWN), ACROSS)
    return f"{column * WIDTH},{row * HEIGHT},{WIDTH},{HEIGHT}"
