"""A class that goes on, and the process that streams it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pytest

from recordings.composing.composition import FPS, SIZES
from recordings.composing.render import Canvas
from recordings.composing.segments import RATE
from recordings.live.encode import PARTS, SoundEncoder, VideoEncoder
from recordings.live.job import Job, write_job
from recordings.live.playlist import SOUND
from recordings.live.shelf import STATE, Kept, Shelf
from tests.lectern import ROOT, wait_until
from tests.recordings.live.nginx import Nginx
from tests.recordings.live.replay import Replay
from tests.recordings.synthetic import SyntheticClass, person

LENGTH = 8.0  # seconds


@dataclass
class Streamed:
    """A synthetic class in real time, and its stream, which is there before."""

    folder: Path
    made: Path
    began: float = 0.0  # the stream's second 0, seconds since the Unix epoch
    class_began: float = 0.0  # second of the stream
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start_class(self, logs: str = "logs-0") -> None:
        now = time.time()
        self.class_began = now - self.began
        Replay(self.made, self.folder / logs, now).start()

    def start(self, *, logs: str = "logs-0", push: str = "") -> subprocess.Popen[bytes]:
        self.out.mkdir(exist_ok=True)
        self.began = self.began or time.time()
        job = Job(
            logs=str(self.folder / logs),
            out=str(self.out),
            began=self.began,
            qualities=["720p", "360p"],
            push=push,
            push_private=True,
        )
        command = [sys.executable, "-m", "recordings.live", str(write_job(job)), str(os.getpid())]
        process = subprocess.Popen(command, cwd=ROOT)
        self.processes.append(process)
        return process

    def wait_for(self, name: str, text: str = "", *, within: float = 30) -> None:
        path = self.out / name
        wait_until(lambda: path.exists() and text in path.read_text(), within=within, what=f"{text} in {name}")

    def wait_for_second(self, second: float) -> None:
        """Of the class; then viewers have it."""

        def shown() -> bool:
            kept = msgspec.json.decode((self.out / STATE).read_bytes(), type=Kept)
            return all(
                segments and segments[-1].second - self.class_began > second for segments in kept.segments.values()
            )

        wait_until(shown, within=60, what=f"second {second} of the class in the stream")


class Nothing:
    """A stream of black pictures and silence, second by second, as viewers and a push find it in its folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._shelf = Shelf(folder, 0.0)
        self._pictures, self._sound = VideoEncoder("360p", SIZES["360p"]), SoundEncoder(0)
        self._canvas, self._ticks = Canvas(SIZES["360p"]), 0
        for name, made in (("360p", self._pictures), (SOUND, self._sound)):
            self._shelf.open(name, made.codec, made.bitrate, 1 / PARTS, made.init)

    def show(self) -> None:
        for _ in range(FPS):
            for part in self._pictures.encode(self._canvas, self._ticks, self._ticks + 1):
                self._shelf.put("360p", part)
            self._ticks += 1

    def sound(self) -> None:
        for part in self._sound.encode(np.zeros((RATE, 2), np.float32)):
            self._shelf.put(SOUND, part)


@pytest.fixture(scope="session")
def synthetic_class(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tina from the beginning, Sam from second 3 on."""
    world = SyntheticClass(tmp_path_factory.mktemp("class") / "made", LENGTH)
    person(world, "Tina", 0.1, LENGTH)
    person(world, "Sam", 3.0, LENGTH)
    return world.write()


@pytest.fixture
def streamed(synthetic_class: Path, tmp_path: Path) -> Iterator[Streamed]:
    one = Streamed(tmp_path, synthetic_class)
    yield one
    for process in one.processes:
        process.kill()
        process.wait()


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    server = Nginx(tmp_path / "nginx")
    yield server
    server.stop()
