"""A class that is composed while it goes on: what does that add to the media worker's delay?

One camera and one voice go to a few receivers, as in `forward`: the worker has one core, the generator another. By
turns the class is alone, and segments of a class of so many cameras are composed beside it, one after the other, as
Celery has it done: at the lowest priority, on both cores, wherever the kernel puts it. With one segment each 32 s
composing would rest most of the time; here it never does.

    rise_ms         by which the p95 lies above that of the class alone; the kernel's way is in both
    composing_percent
                    of a core, that composing had
    others_percent  the share of all cores that processes of nobody here had
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.compose import take_away
from benchmarks.fanout import cpu_seconds
from benchmarks.forward import CORES, GENERATOR_CORE, SERVER_CORE, WARM_UP, Generator
from benchmarks.machine import OtherWork
from benchmarks.peers.lectern import Lectern
from benchmarks.recorded_class import RecordedClass
from benchmarks.stream import teach
from benchmarks.table import Benchmark, Table, median, percentile
from benchmarks.watched import family_seconds
from recordings.composing.compose import compose_next, plan
from recordings.composing.segments import SECONDS, Segments
from recordings.programs import NICENESS_ALONG

BEGINS_WITHIN = 30.0  # seconds
FIGURES = ["p50_ms", "p95_ms", "rise_ms", "worker_percent", "composing_percent", "others_percent"]


class Bench(Benchmark):
    """A class alone, and composed while it goes on: the media worker's delay."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--receivers", type=int, default=10)
        parser.add_argument("--cameras", type=int, default=5, help="of the class that is composed")
        parser.add_argument("--seconds", type=float, default=8.0, help="of each window")
        parser.add_argument("--windows", type=int, default=3, help="of each kind; their medians are shown")

    def run(self) -> Table:
        options = self.options
        table = Table(
            f"A class of {options.receivers} receivers on {len(CORES)} cores, and a segment of {options.cameras} "
            "cameras that is composed at the lowest priority",
            ["class", "windows", *FIGURES],
        )
        found = measure(options.receivers, options.cameras, options.seconds, options.windows)
        for name, rows in found.items():
            table.add(**{**median(rows, FIGURES), "class": name, "windows": len(rows)})
        return table


def measure(receivers: int, cameras: int, seconds: float, windows: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"alone": [], "composed": []}
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="lectern-bench-"))) / "class"
        RecordedClass(cameras, screen=False, seconds=SECONDS).write(folder)
        plan(folder)
        peer = Lectern()
        peer.start(SERVER_CORE)
        cleanup.callback(peer.stop)
        generator = teach(peer, receivers, cleanup)
        for _ in range(windows):
            found["alone"].append(alone := _window(generator, peer.pid, seconds, composing=None))
            with _composing(folder) as pid:
                found["composed"].append(_window(generator, peer.pid, seconds, composing=pid))
            for rows in found.values():
                rows[-1]["rise_ms"] = rows[-1]["p95_ms"] - alone["p95_ms"]
    return found


def _window(generator: Generator, worker: int, seconds: float, *, composing: int | None) -> dict[str, Any]:
    os.sched_setaffinity(0, {GENERATOR_CORE})
    try:
        generator.run(WARM_UP)
        other, began, own = OtherWork(), time.monotonic(), time.process_time()
        worked, composed = cpu_seconds(worker), _used(composing)
        generator.start_counting()
        generator.run(seconds)
        took, own = time.monotonic() - began, time.process_time() - own
        worked, composed = cpu_seconds(worker) - worked, _used(composing) - composed
    finally:
        os.sched_setaffinity(0, CORES)
    latencies = [nanoseconds / 1e6 for nanoseconds in sorted(generator.marks.latencies)]
    return {
        "p50_ms": percentile(latencies, 50),
        "p95_ms": percentile(latencies, 95),
        "worker_percent": 100 * worked / took,
        "composing_percent": 100 * composed / took,
        "others_percent": other.percent(worked + composed + own),
    }


@contextmanager
def _composing(folder: Path) -> Iterator[int]:
    """From when it draws."""
    process = mp.get_context("spawn").Process(target=_over_and_over, args=(folder,))
    process.start()
    try:
        until = time.monotonic() + BEGINS_WITHIN
        while not any(folder.glob("segments/.720p-*.part")):
            if time.monotonic() > until:
                raise TimeoutError("nothing is composed")
            time.sleep(0.05)
        assert process.pid is not None
        yield process.pid
    finally:
        process.terminate()  # who draws ends with it
        process.join()
        for part in folder.glob("segments/.*.part"):
            part.unlink()


def _over_and_over(folder: Path) -> None:
    while compose_next(folder, "720p", NICENESS_ALONG):
        take_away(Segments(folder), 0)


def _used(composing: int | None) -> float:
    return 0.0 if composing is None else family_seconds(composing)
