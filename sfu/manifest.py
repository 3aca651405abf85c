"""What a recording's folder holds: the one description that the recorder writes by and the composer reads by.

    <LECTERN_DATA>/recordings/<recording id>/
        <producer id>.<epoch>.rtpdump   every packet of one producer as one worker received it (classic rtpdump); of one
                                        who was not recorded for a while a further one, <producer id>-2.<epoch>.rtpdump
        timeline.jsonl                  one event a line, each `{"at": seconds since the Unix epoch, "type": ...}`
        lease                           touched each second by the worker that writes; stale = that worker is gone
        manifest.json                   written last and by rename: the recording is complete

An rtpdump file begins with `#!rtpplay1.0 0.0.0.0/0\\n`, then the start as (seconds, microseconds, address, port,
padding) `>IIIHH`, then records `>HHI`: length with this header, length of the RTP packet (0 for RTCP), milliseconds
since the start. Video is recorded in the layer that a composed picture can use, which changes at key frames
(`sfu.core.film`), retransmissions as the originals they repair, so packets may be out of order, never twice. Sender
reports stand in the log as RTCP and align one participant's tracks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from sfu.protocol import Kind, Source

TIMELINE = "timeline.jsonl"
MANIFEST = "manifest.json"
LEASE = "lease"
LEASE_EXPIRES = 10.0  # seconds: a lease older than this belongs to a dead worker
RTPDUMP_MAGIC = b"#!rtpplay1.0 0.0.0.0/0\n"


class Entry(Struct, tag_field="type", kw_only=True):
    at: float  # seconds since the Unix epoch, by the worker's clock


class Started(Entry, tag="started"):
    """A worker began (or, in a folder that has one already, went on) writing. A gap lies before a second one."""

    recording: str
    room: str
    epoch: str


class Paused(Entry, tag="recording_paused"):
    """From here on no media are written. What else happens still is, for the picture when the recording goes on.

    A worker that goes on with a recording that is paused says so at the moment of its `started`.
    """


class Resumed(Entry, tag="recording_resumed"):
    pass


class Joined(Entry, tag="joined"):
    peer: str
    name: str


class Left(Entry, tag="left"):
    peer: str


class TrackStarted(Entry, tag="track"):
    producer_id: str
    peer: str
    kind: Kind
    source: Source
    file: str  # the log's name in the folder
    mime_type: str  # "video/VP8", "video/H264", "audio/opus"
    payload_type: int  # of the packets in the log
    clock_rate: int
    channels: int = 0  # audio only
    parameters: dict[str, Any] = {}  # the codec's fmtp
    paused: bool = False


class TrackPaused(Entry, tag="paused"):
    producer_id: str


class TrackResumed(Entry, tag="resumed"):
    producer_id: str


class TrackEnded(Entry, tag="ended"):
    producer_id: str


class ActiveSpeaker(Entry, tag="speaker"):
    """Who holds the floor until the next such entry, or until a worker begins to write; None: nobody."""

    peer: str | None


class Mark(Entry, tag="mark"):
    """Anything the apps want to find again: chat, layout, a chapter."""

    mark: dict[str, Any]


class Stopped(Entry, tag="stopped"):
    pass


ENTRIES = (
    Started | Paused | Resumed | Stopped | Joined | Left
    | TrackStarted | TrackPaused | TrackResumed | TrackEnded | ActiveSpeaker | Mark
)  # fmt: skip


class Manifest(Struct):
    recording: str
    room: str
    started_at: float
    stopped_at: float
    files: list[str]


def read_timeline(folder: Path) -> list[ENTRIES]:
    """The entries in the order of their writing. A last line cut short by a crash is left out."""
    entries: list[ENTRIES] = []
    decoder = msgspec.json.Decoder(ENTRIES)
    for line in (folder / TIMELINE).read_bytes().splitlines():
        try:
            entries.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # only a crash leaves such a line, and the next worker's entries follow it
    return entries


def read_manifest(folder: Path) -> Manifest | None:
    """None while a recording is not complete."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
