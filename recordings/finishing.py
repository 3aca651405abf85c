"""Finish a recording's folder whose media worker died: write the manifest that it could not write.

A folder belongs to a worker as long as its lease file is touched. After a worker's death another goes on in the same
folder within seconds, so a class that runs is left alone for RESUME_WITHIN.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from recordings.errors import NothingRecorded, StillRecording
from sfu.manifest import LEASE, LEASE_EXPIRES, MANIFEST, Manifest, Started, read_timeline

RESUME_WITHIN = 60.0  # seconds that a running class has to find another worker


def silence(folder: Path, now: float) -> float | None:
    """Seconds since a worker last touched the lease; None where no worker ever did."""
    try:
        return now - (folder / LEASE).stat().st_mtime
    except FileNotFoundError:
        return None


def quiet_for(folder: Path, now: float) -> float:
    """Seconds since anybody wrote in the folder, as far as its lease and its own time tell."""
    own = now - folder.stat().st_mtime
    lease = silence(folder, now)
    return own if lease is None else min(own, lease)


def is_complete(folder: Path) -> bool:
    return (folder / MANIFEST).exists()


def is_abandoned(folder: Path, now: float, begun: float) -> bool:
    """Nobody writes there and nobody will. `begun`: when the recording was asked for, seconds since the epoch."""
    quiet = silence(folder, now)
    return now - begun > RESUME_WITHIN if quiet is None else quiet > RESUME_WITHIN


def complete(folder: Path, now: float) -> None:
    """Make sure of the manifest. Raises StillRecording, or NothingRecorded where there is nothing to finish."""
    if is_complete(folder):
        return
    quiet = silence(folder, now)
    if quiet is not None and quiet < LEASE_EXPIRES:
        raise StillRecording
    try:
        entries = read_timeline(folder)
    except FileNotFoundError:
        entries = []
    started = next((entry for entry in entries if isinstance(entry, Started)), None)
    if started is None:
        raise NothingRecorded("The recording never began: no media worker wrote anything.")
    from recordings.composing.planner import last_sign_of_life  # brings the decoders, which a web process does without

    manifest = Manifest(
        recording=folder.name,
        room=started.room,
        started_at=started.at,
        stopped_at=last_sign_of_life(folder, entries),
        files=sorted(log.name for log in folder.glob("*.rtpdump")),
    )
    unfinished = folder / f".{MANIFEST}.swept"
    unfinished.write_bytes(msgspec.json.encode(manifest))
    os.replace(unfinished, folder / MANIFEST)
