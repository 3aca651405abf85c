"""Make one MP4 of a recording's folder: tracks, plan, parts drawn by several processes, sound, joined by copy.

    1280x720, 30 frames a second, H.264 and AAC, its index in front (faststart) so that playback begins at once.

All that is made on the way lies in one working folder that is removed at the end, whatever the end is. The processes
end with the one that started them: they notice that nobody reads what they print.
"""

from __future__ import annotations

import logging
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

import av
import ffmpeg

from recordings.composition import FPS, frames_in, longest_gap, plan
from recordings.errors import CompositionFailed
from recordings.programs import BASE_DIR, LOCAL, FfmpegFailed, last_words, run
from recordings.render import JOB, Job, write_job
from recordings.timeline import RecordedTime
from recordings.tracks import TRACKS, Material, TrackFile, make_tracks

PROCESSES = 2  # drawing at once; the sound is a third, and soon done
SHORTEST_PART = 10 * FPS  # frames: below this the start of a process costs more than it brings
PARTS_EACH = 2  # so that the process with the easier half takes on more
STALLED = 300.0  # seconds without a sign of life
JOIN_SHARE = 3  # percent of the progress kept for the joining
TIMESCALE = FPS * 512  # of the pictures' track
WORK = "compose-"  # how working folders in a recording's folder begin

__all__ = ["TRACKS", "Composed", "compose", "make_job", "make_tracks"]

log = logging.getLogger(__name__)

OnProgress = Callable[[int], None]


@dataclass(frozen=True)
class Composed:
    path: Path
    duration: float  # seconds
    tracks: list[TrackFile]
    gap: float  # seconds


def compose(folder: Path, out: Path, on_progress: OnProgress = lambda percent: None) -> Composed:
    """Compose the recording in `folder` into `out`. `on_progress` gets percents; if it raises, composing ends."""
    for old in folder.glob(f"{WORK}*"):
        shutil.rmtree(old, ignore_errors=True)  # of a composer that was killed
    material = make_tracks(folder)
    on_progress(1)
    work = Path(tempfile.mkdtemp(prefix=WORK, dir=folder))
    try:
        job = make_job(material, work)
        write_job(job)
        Processes(job, on_progress).run()
        joined = _join(job)
        out.parent.mkdir(parents=True, exist_ok=True)
        joined.replace(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    gap = longest_gap(material.entries, material.last_packets)
    return Composed(out, material.duration, material.tracks, gap)


def make_job(material: Material, work: Path) -> Job:
    scenes = plan(
        material.entries,
        time=RecordedTime(material.started_at),
        duration=material.duration,
        last_packets=material.last_packets,
    )
    return Job(
        scenes=scenes,
        tracks=material.tracks,
        duration=frames_in(material.duration) / FPS,
        parts=parts(frames_in(material.duration)),
        folder=work,
    )


def parts(total: int) -> list[tuple[int, int]]:
    count = max(1, min(PROCESSES * PARTS_EACH, total // SHORTEST_PART))
    edges = [total * index // count for index in range(count + 1)]
    return list(pairwise(edges))


@dataclass
class Process:
    """One part being drawn, or (number -1) the sound being mixed."""

    number: int
    program: subprocess.Popen[bytes]
    errors: IO[bytes]

    @classmethod
    def start(cls, module: str, job: Job, number: int) -> Process:
        errors = tempfile.TemporaryFile(dir=job.folder)  # noqa: SIM115  closed when the process is done
        program = subprocess.Popen(
            [sys.executable, "-m", module, str(job.folder / JOB), str(number)],
            cwd=BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        return cls(number, program, errors)

    def close(self) -> None:
        """Also a process that still runs. Twice does no harm."""
        self.program.kill()
        self.program.wait()
        if self.program.stdout is not None:
            self.program.stdout.close()
        self.errors.close()

    def failure(self) -> str | None:
        """None when it ended well. The last words are FFmpeg's, or the last line of a traceback."""
        if self.program.wait() == 0:
            return None
        self.errors.seek(0)
        words = last_words(self.errors.read(), self.program.returncode)
        log.warning("composing failed: %s", words)
        return words.splitlines()[-1]


class Processes:
    """Run the drawing of all parts and the mixing of the sound, a few at once, and add up how far they are."""

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        self._job = job
        self._on_progress = on_progress
        self._frames = [0] * len(job.parts)  # drawn, by part
        self._running: list[Process] = []
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        waiting = list(range(len(self._job.parts)))
        try:
            self._start("recordings.mix", -1)
            while waiting or self._running:
                while waiting and sum(process.number >= 0 for process in self._running) < PROCESSES:
                    self._start("recordings.render", waiting.pop(0))
                ready = self._selector.select(timeout=STALLED)
                if not ready:
                    raise CompositionFailed("The drawing processes gave no sign of life for five minutes.")
                for key, _ in ready:
                    self._read(key.data)
                total = sum(end - begin for begin, end in self._job.parts)
                self._on_progress(1 + sum(self._frames) * (99 - JOIN_SHARE) // total)
        finally:
            for process in self._running:
                process.close()
            self._selector.close()

    def _start(self, module: str, number: int) -> None:
        process = Process.start(module, self._job, number)
        self._running.append(process)
        assert process.program.stdout is not None
        self._selector.register(process.program.stdout, selectors.EVENT_READ, process)

    def _read(self, process: Process) -> None:
        assert process.program.stdout is not None
        text = os.read(process.program.stdout.fileno(), 65536)
        if not text:
            self._ended(process)
            return
        counts = [word.partition("=")[2] for word in text.decode("ascii", "replace").split() if "frames=" in word]
        if counts and counts[-1].isdigit():
            self._frames[process.number] = max(self._frames[process.number], int(counts[-1]))

    def _ended(self, process: Process) -> None:
        self._selector.unregister(process.program.stdout)  # type: ignore[arg-type]  # it is a pipe
        self._running.remove(process)
        try:
            if (failure := process.failure()) is not None:
                raise CompositionFailed(failure)
        finally:
            process.close()


def _join(job: Job) -> Path:
    """The parts one after the other and the sound beside them, all by copy, then read once to see that it is whole."""
    listing = ["ffconcat version 1.0"]
    for number, (begin, end) in enumerate(job.parts):
        listing += [f"file {job.part_path(number).name}", f"duration {(end - begin) / FPS:.6f}"]
    (job.folder / "parts.ffconcat").write_text("\n".join(listing) + "\n")
    pictures = ffmpeg.input("parts.ffconcat", f="concat", protocol_whitelist=LOCAL)
    sound = ffmpeg.input(job.sound_path.name, protocol_whitelist=LOCAL)
    joined = ffmpeg.output(
        pictures.video, sound.audio, "joined.mp4", c="copy", movflags="+faststart", video_track_timescale=TIMESCALE
    )
    try:
        run(joined, timeout=3600, cwd=job.folder)
    except (FfmpegFailed, subprocess.TimeoutExpired) as error:
        raise CompositionFailed(f"The parts could not be joined: {error}") from error
    path = job.folder / "joined.mp4"
    _check(path, job)
    return path


def _check(path: Path, job: Job) -> None:
    total = job.parts[-1][1]
    with av.open(str(path)) as container:
        pictures = sum(1 for packet in container.demux(video=0) if packet.pts is not None)
    if pictures != total:
        raise CompositionFailed(f"The composition has {pictures} pictures where {total} were drawn.")
