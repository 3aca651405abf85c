"""What the process of one stream works from: `job.json` in the stream's folder.

<LECTERN_DATA>/streams/<stream id>-<number of the start>/   packet logs, as sfu.manifest describes them
<LECTERN_DATA>/live/<stream id>/                            job.json, and what viewers get (recordings.live.shelf)
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

JOB = "job.json"


class Job(msgspec.Struct):
    logs: str  # the folder that the media worker writes
    out: str  # the folder that viewers are served from
    began: float  # seconds since the Unix epoch: where the stream's own time is 0
    qualities: list[str]  # of recordings.composing.composition.SIZES, the best first
    push: str = ""  # rtmp://... with its key; nobody but the owner may read this file
    push_private: bool = False  # may that be an address of this network?


def write_job(job: Job) -> Path:
    path = Path(job.out) / JOB
    unfinished = path.with_suffix(".part")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(job))
    unfinished.replace(path)
    return path


def read_job(path: Path) -> Job:
    return msgspec.json.decode(path.read_bytes(), type=Job)
