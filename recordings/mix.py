"""Add up everybody's sound over the whole class: `python -m recordings.mix JOB`.

Each packet's sound is laid where its time says, exact to a sample; voices are added as they are, and a limiter keeps
their sum from clipping (no level is pumped up and down with the number of people). A run of packets stays in one
piece until it is SLIP off its place, so that the rounding of times to milliseconds is not heard.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import ffmpeg
import numpy as np
from numpy.typing import NDArray

from recordings.programs import LOCAL, be_nice, command
from recordings.render import Job, read_job
from recordings.tracks import TrackFile

RATE = 48000  # samples a second, Opus's own
BLOCK = RATE  # samples mixed at once
SLIP = RATE // 50  # samples: 20 ms, a packet. More is a gap, or a clock that drifted
LIMIT = 0.95  # of full scale

Samples = NDArray[np.float32]


def placed(track: TrackFile) -> Iterator[tuple[int, Samples]]:
    """(first sample after the class's start, samples by two channels) of a track, in order, without overlap."""
    position: int | None = None
    with av.open(str(track.path), options={"protocol_whitelist": "file"}) as container:
        stream = container.streams.audio[0]
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                samples = frame.to_ndarray().astype(np.float32, copy=False)
                if frame.format.is_packed or frame.sample_rate != RATE:
                    continue  # Opus is decoded to planes of floats at 48 kHz; anything else is not ours
                target = round((track.offset + float(frame.time or 0.0)) * RATE)
                if position is None or target > position + SLIP:
                    position = target
                elif target < position - SLIP:
                    samples = samples[:, position - target :]  # the clock is slow: drop what was heard already
                if samples.shape[0] == 1:
                    samples = np.repeat(samples, 2, axis=0)
                if samples.shape[1]:
                    yield position, samples[:2].T
                    position += samples.shape[1]


class Voice:
    """Give a track's sound block by block."""

    def __init__(self, track: TrackFile) -> None:
        self.begin = int(track.offset * RATE)
        self._track = track
        self._pieces: Iterator[tuple[int, Samples]] | None = None
        self._left: tuple[int, Samples] | None = None
        self.ended = False

    def add_to(self, block: Samples, start: int) -> None:
        end = start + len(block)
        if self._pieces is None:
            self._pieces = placed(self._track)
            self._left = next(self._pieces, None)
        while self._left is not None and self._left[0] < end:
            position, samples = self._left
            skip = max(0, start - position)
            count = min(len(samples), end - position)
            if count > skip:
                block[position + skip - start : position + count - start] += samples[skip:count]
            if count < len(samples):
                self._left = (position + max(count, 0), samples[max(count, 0) :])
                return
            self._left = next(self._pieces, None)
        self.ended = self._left is None


def mixed(job: Job) -> Iterator[Samples]:
    total = round(job.duration * RATE)
    coming = sorted((Voice(track) for track in job.tracks if track.kind == "audio"), key=lambda voice: voice.begin)
    speaking: list[Voice] = []
    for start in range(0, total, BLOCK):
        block = np.zeros((min(BLOCK, total - start), 2), np.float32)
        while coming and coming[0].begin < start + len(block):
            speaking.append(coming.pop(0))
        for voice in speaking:
            voice.add_to(block, start)
        speaking = [voice for voice in speaking if not voice.ended]
        yield block


def mix(job: Job) -> None:
    sound = ffmpeg.input("pipe:0", f="f32le", ar=RATE, ac=2, protocol_whitelist=LOCAL).filter(
        "alimiter", limit=LIMIT, level=0, attack=5, release=50, latency=1
    )
    encoded = ffmpeg.output(sound, str(job.sound_path), acodec="aac", audio_bitrate="128k")
    with subprocess.Popen(command(encoded), stdin=subprocess.PIPE) as program:
        assert program.stdin is not None
        for number, block in enumerate(mixed(job)):
            program.stdin.write(block.tobytes())
            if number % 10 == 0:
                print(f"seconds={number}", flush=True)
        program.stdin.close()
    if program.returncode != 0:
        raise SystemExit(f"FFmpeg ended with status {program.returncode}")


if __name__ == "__main__":
    be_nice()
    mix(read_job(Path(sys.argv[1])))
