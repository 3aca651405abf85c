"""HLS of films that are there as MP4 (RFC 8216), by copy: a file of CMAF for each quality and one for the sound.

Each segment is a range of bytes in its file: three hours are a handful of files to store, check and delete, and not
thousands. The sound stands in a group of its own, so that a player that changes the quality goes on sounding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import ffmpeg

from recordings.composing.composition import SIZES
from recordings.errors import CompositionFailed
from recordings.outputs.media import TOLERATED, check, film_input, open_own, produce

MASTER = "hls/master.m3u8"
SEGMENT = 4  # seconds; a segment ends with the first key frame after them
SOUND = "sound"
AAC_LC = "mp4a.40.2"  # as codecs are told to players (RFC 6381)
# Encoders of sound begin with samples of nothing, which an MP4's edit list leaves out. Not every player of HLS reads
# one, so the packet is left out itself.
WITHOUT_PRIMING = r"noise=drop=lt(pts\,0)"

_EXTINF = re.compile(r"#EXTINF:([\d.]+),")
_BYTES = re.compile(r"#EXT-X-BYTERANGE:(\d+)@(\d+)")


class Segment(NamedTuple):
    seconds: float
    begin: int  # bytes
    size: int


def make(films: Mapping[str, Path], seconds: float, folder: Path) -> list[Path]:
    """Into `folder`/hls; what is there of an earlier call is left. Media first, then playlists, the master last."""
    place = folder / "hls"
    place.mkdir(exist_ok=True)
    some = next(iter(films.values()))
    for name in [SOUND, *films]:
        if not (place / f"{name}.m3u8").is_file():
            _package(some if name == SOUND else films[name], name, seconds, place)
    qualities = sorted(films, key=lambda quality: SIZES[quality].height)
    (place / "master.m3u8").write_text(_master({quality: films[quality] for quality in qualities}, place))
    media = [place / f"{name}.m4s" for name in (SOUND, *qualities)]
    playlists = [place / f"{name}.m3u8" for name in (SOUND, *qualities)]
    return [*media, *playlists, place / "master.m3u8"]


def _package(film: Path, name: str, seconds: float, place: Path) -> None:
    source = film_input(film)
    unfinished = place / f".{name}.m3u8"
    options = {"bsf:a": WITHOUT_PRIMING} if name == SOUND else {}
    packaged = ffmpeg.output(
        source.audio if name == SOUND else source.video,
        unfinished.name,
        f="hls",
        c="copy",
        avoid_negative_ts="disabled",  # else pictures are moved by what the encoder held back, and lips with them
        hls_time=SEGMENT,
        hls_playlist_type="vod",
        hls_segment_type="fmp4",
        hls_flags="single_file",
        hls_segment_filename=f"{name}.m4s",
        **options,
    )
    produce(packaged, folder=place, seconds=seconds)
    check(place / f"{name}.m4s", "mp4", seconds, {"aac" if name == SOUND else "h264"})
    _check_playlist(unfinished.read_text(), place / f"{name}.m4s", seconds)
    unfinished.replace(place / f"{name}.m3u8")


def segments(playlist: str) -> list[Segment]:
    lengths = [float(found) for found in _EXTINF.findall(playlist)]
    ranges = [(int(begin), int(size)) for size, begin in _BYTES.findall(playlist)]
    return [Segment(length, *where) for length, where in zip(lengths, ranges, strict=True)]


def _check_playlist(playlist: str, file: Path, seconds: float) -> None:
    """Its segments add up to the film, and their ranges to the file."""
    found = segments(playlist)
    total = sum(segment.seconds for segment in found)
    if abs(total - seconds) > TOLERATED:
        raise CompositionFailed(f"{file.name}: segments of {total:.3f} s where the film lasts {seconds:.3f} s.")
    end = found[0].begin
    for segment in found:
        if segment.begin != end:
            raise CompositionFailed(f"{file.name}: a segment does not follow on the one before.")
        end += segment.size
    if end != file.stat().st_size:
        raise CompositionFailed(f"{file.name}: its segments end at {end} of {file.stat().st_size} bytes.")


def _master(films: Mapping[str, Path], place: Path) -> str:
    peak_of_sound, mean_of_sound = _bit_rates(place / f"{SOUND}.m3u8")
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{SOUND}",NAME="Sound",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="{SOUND}.m3u8"',
    ]
    for quality, film in films.items():
        peak, mean = _bit_rates(place / f"{quality}.m3u8")
        size = SIZES[quality]
        lines += [
            f"#EXT-X-STREAM-INF:BANDWIDTH={peak + peak_of_sound},AVERAGE-BANDWIDTH={mean + mean_of_sound},"
            f"RESOLUTION={size.width}x{size.height},FRAME-RATE=30.000,"
            f'CODECS="{_avc(film)},{AAC_LC}",AUDIO="{SOUND}"',
            f"{quality}.m3u8",
        ]
    return "\n".join(lines) + "\n"


def _bit_rates(playlist: Path) -> tuple[int, int]:
    """Bits a second: of the segment that has most, and of all."""
    found = [segment for segment in segments(playlist.read_text()) if segment.seconds > 0]
    long = [segment for segment in found if segment.seconds >= 1] or found
    peak = max(segment.size * 8 / segment.seconds for segment in long)
    return round(peak), round(sum(segment.size for segment in found) * 8 / sum(segment.seconds for segment in found))


def _avc(film: Path) -> str:
    """Profile, constraints and level, which stand in front of the parameter sets (RFC 6381, 3.3)."""
    with open_own(film, "mp4") as container:
        about = container.streams.video[0].codec_context.extradata or b""
    if len(about) < 4 or about[0] != 1:
        raise CompositionFailed(f"{film.name} does not tell how it is coded.")
    return f"avc1.{about[1:4].hex().upper()}"
