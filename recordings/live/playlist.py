"""What players are told: HLS with low latency (RFC 8216bis) and DASH (ISO/IEC 23009-1), as text. Pure.

https://datatracker.ietf.org/doc/html/draft-pantos-hls-rfc8216bis
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from recordings.composing.composition import SIZES

SEGMENT = 1.0  # seconds
HOLD_BACK = 3 * SEGMENT  # seconds behind the end that a player keeps which takes whole segments
PARTS_BACK = 3  # parts that one keeps which takes parts
TOLD_IN_PARTS = 3  # segments at the end whose parts are told
COMING = ("#EXT-X-PART:", "#EXT-X-PRELOAD-HINT:")
SOUND = "sound"
PACE = "30"
OF_NOW = re.compile(r' (?:minimumUpdatePeriod|timeShiftBufferDepth|suggestedPresentationDelay)="[^"]*"')  # of an MPD


class Piece(msgspec.Struct):
    """A part."""

    duration: float
    independent: bool


class Segment(msgspec.Struct):
    number: int  # of HLS: the media sequence number. They follow each other without a gap
    second: int  # of the stream's own time: the same one in all renditions
    time: float  # where it begins, exactly: an AAC frame does not end with the second
    duration: float = 0.0  # of its parts together
    start: int = 0  # of the process that made it: another than the one before it is a discontinuity
    parts: list[Piece] = msgspec.field(default_factory=list)
    complete: bool = False


@dataclass
class Rendition:
    """One quality, or the sound."""

    name: str
    codec: str
    bitrate: int  # bits a second, at the most
    part_target: float  # seconds
    segments: list[Segment] = field(default_factory=list)
    discontinuities: int = 0  # before the first segment
    ended: bool = False

    def part(self, segment: int, number: int) -> str:
        return f"{self.name}-{segment}.{number}.m4s"

    def segment(self, number: int) -> str:
        return f"{self.name}-{number}.m4s"

    def init(self, start: int) -> str:
        return f"{self.name}-init{start}.mp4"


def clock(seconds: float) -> str:
    """Seconds since the Unix epoch, as HLS and DASH write them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def media(rendition: Rendition, began: float) -> str:
    """`began`: when the stream's own time was 0, seconds since the Unix epoch."""
    segments = rendition.segments
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:9",
        "#EXT-X-TARGETDURATION:1",
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES"
        f",PART-HOLD-BACK={PARTS_BACK * rendition.part_target:.5f},HOLD-BACK={HOLD_BACK:.1f}",
        f"#EXT-X-PART-INF:PART-TARGET={rendition.part_target:.5f}",
        f"#EXT-X-MEDIA-SEQUENCE:{segments[0].number if segments else 0}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{rendition.discontinuities}",
    ]
    start: int | None = None
    in_parts = {segment.number for segment in segments[-TOLD_IN_PARTS - 1 :]}
    for segment in segments:
        if segment.start != start:
            if start is not None:
                lines.append("#EXT-X-DISCONTINUITY")
            start = segment.start
            lines.append(f'#EXT-X-MAP:URI="{rendition.init(start)}"')
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{clock(began + segment.time)}")
        if segment.number in in_parts:
            lines += [
                f'#EXT-X-PART:DURATION={part.duration:.5f},URI="{rendition.part(segment.number, number)}"'
                + (",INDEPENDENT=YES" if part.independent else "")
                for number, part in enumerate(segment.parts)
            ]
        if segment.complete:
            lines += [f"#EXTINF:{segment.duration:.5f},", rendition.segment(segment.number)]
    if rendition.ended:
        lines.append("#EXT-X-ENDLIST")
    elif segments:
        following = following_part(rendition)
        lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{rendition.part(*following)}"')
    return "\n".join(lines) + "\n"


def media_without_end(text: str) -> str:
    """A playlist whose process died, when nothing follows: up to the last whole segment, and its end."""
    lines = text.splitlines()
    if lines[-1:] == ["#EXT-X-ENDLIST"]:
        return text
    whole = [number for number, line in enumerate(lines) if not line.startswith("#")]
    kept = lines[: whole[-1] + 1] if whole else [line for line in lines if not line.startswith(COMING)]
    return "\n".join([*kept, "#EXT-X-ENDLIST"]) + "\n"


def following_part(rendition: Rendition) -> tuple[int, int]:
    """(segment, part) that comes next."""
    last = rendition.segments[-1]
    return (last.number + 1, 0) if last.complete else (last.number, len(last.parts))


def multivariant(pictures: Sequence[Rendition], sound: Rendition) -> str:
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:9",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="Class",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="{SOUND}.m3u8"',
    ]
    for rendition in pictures:
        size = SIZES[rendition.name]
        lines += [
            f"#EXT-X-STREAM-INF:BANDWIDTH={rendition.bitrate + sound.bitrate},"
            f"RESOLUTION={size.width}x{size.height},FRAME-RATE={PACE},"
            f'CODECS="{rendition.codec},{sound.codec}",AUDIO="sound"',
            f"{rendition.name}.m3u8",
        ]
    return "\n".join(lines) + "\n"


def dash(pictures: Sequence[Rendition], sound: Rendition, began: float, window: int) -> str:
    """A manifest over the same segments. All of them lie in one period, since their time goes on over a restart."""
    sets = [_adaptation("video", pictures), _adaptation("audio", [sound])]
    now = clock(_end(sound, began))
    of_now = (
        f'minimumUpdatePeriod="PT{SEGMENT:.0f}S" timeShiftBufferDepth="PT{window}S" '
        f'suggestedPresentationDelay="PT{HOLD_BACK:.0f}S"'
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="dynamic" '
        f'availabilityStartTime="{clock(began)}" publishTime="{now}" '
        f'minBufferTime="PT2S" maxSegmentDuration="PT2S"{"" if sound.ended else " " + of_now}>\n'
        '<Period id="0" start="PT0S">\n' + "".join(sets) + "</Period>\n"
        # Else players go by the viewer's clock, or ask a server somewhere what time it is.
        f'<UTCTiming schemeIdUri="urn:mpeg:dash:utc:direct:2014" value="{now}"/>\n</MPD>\n'
    )


def dash_without_end(text: str) -> str:
    """A manifest whose process died, when nothing follows: it is not to be asked for again."""
    return OF_NOW.sub("", text, count=3)


def _end(rendition: Rendition, began: float) -> float:
    last = rendition.segments[-1] if rendition.segments else None
    return began + (last.time + last.duration if last else 0.0)


def _adaptation(kind: str, renditions: Sequence[Rendition]) -> str:
    made = "".join(_representation(kind, rendition) for rendition in renditions if rendition.segments)
    return f'<AdaptationSet contentType="{kind}" segmentAlignment="true" startWithSAP="1">\n{made}</AdaptationSet>\n'


def _representation(kind: str, rendition: Rendition) -> str:
    whole = [segment for segment in rendition.segments if segment.complete]
    # A restart's header is the same but for its name: the encoders are set up alike.
    init = rendition.init(rendition.segments[-1].start)
    line = "".join(f'<S t="{round(segment.time * 1000)}" d="{round(segment.duration * 1000)}"/>' for segment in whole)
    size = SIZES.get(rendition.name)
    looks = f' width="{size.width}" height="{size.height}" frameRate="{PACE}"' if size else ' audioSamplingRate="48000"'
    return (
        f'<Representation id="{rendition.name}" mimeType="{kind}/mp4" codecs="{rendition.codec}" '
        f'bandwidth="{rendition.bitrate}"{looks}>'
        f'<SegmentTemplate timescale="1000" initialization="{init}" media="{rendition.name}-$Number$.m4s" '
        f'startNumber="{whole[0].number if whole else 0}"><SegmentTimeline>{line}</SegmentTimeline></SegmentTemplate>'
        "</Representation>\n"
    )
