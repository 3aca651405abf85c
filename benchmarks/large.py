"""One lecture on several workers: what a receiver costs on each of them, and what the pipe between them costs.

The rooms of the table: a sender with nobody; with receivers on one worker; with one receiver on an edge, for what the
pipe alone costs; with the receivers shared by home and edges. Each worker has a core of its own where there are enough
beside the generator's; else they share one, and only CPU is told, not what N cores would carry at once.

`receivers_fit` is computed: how many a worker could have at 80 % of a core, by what one costs there.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from benchmarks.fanout import cpu_seconds
from benchmarks.forward import CORES, GENERATOR_CORE, WARM_UP, Generator, Receiver
from benchmarks.peers import own_address
from benchmarks.peers.lectern import Lectern
from benchmarks.table import Benchmark, Table, median
from benchmarks.webrtc_client import Client

FULL = 0.8  # share of a core that a worker is to use at the most
HEARTBEATS = 1.2  # seconds in which a new one has come


class Bench(Benchmark):
    """One lecture on several workers: CPU a forwarded packet at home and on an edge, and of the pipe between them."""

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--receivers", type=int, default=200)
        parser.add_argument("--workers", type=int, default=2)
        parser.add_argument("--seconds", type=float, default=10.0)
        parser.add_argument("--runs", type=int, default=1, help="the median of so many runs is shown")

    def run(self) -> Table:
        cores = "a core each" if len(CORES) > self.options.workers else "one core for all"
        table = Table(
            f"One camera (VP8, 1.5 Mbit/s) and one voice (Opus), {cores}",
            ["room", "worker", "receivers", *FIGURES],
        )
        share = self.options.receivers // self.options.workers
        rooms = {
            "nobody": [0],
            "one worker": [self.options.receivers],
            "pipe alone": [0, 1],
            "shared": [share] * self.options.workers,
        }
        for room, receivers in rooms.items():
            runs = [measure(receivers, self.options.seconds) for _ in range(self.options.runs)]
            for worker in range(len(receivers)):
                table.add(room=room, **median([run[worker] for run in runs], FIGURES))
        return table


FIGURES = ["cpu_percent", "us_per_packet", "loss_percent", "piped_in_s", "packets_in_s", "receivers_fit"]


def core_of(worker: int) -> int:
    own = [core for core in CORES if core != GENERATOR_CORE] or CORES
    return own[worker % len(own)]


def measure(receivers: list[int], seconds: float) -> list[dict[str, Any]]:
    """A row for each worker."""
    os.sched_setaffinity(0, {GENERATOR_CORE})
    workers = [Lectern() for _ in receivers]
    clients: list[Client] = []
    try:
        host = own_address()
        for number, worker in enumerate(workers):
            worker.secret = workers[0].secret
            worker.start(core_of(number))
        clients.append(sender := Client(host))
        source = workers[0].publish(sender)
        for worker in workers[1:]:
            worker.be_edge_of(workers[0])
        generator = Generator(sender, source)
        generator.run(0.5)
        there: list[list[Receiver]] = [[] for _ in workers]
        for number, count in enumerate(receivers):
            for joined in range(count):
                clients.append(client := Client(host))
                workers[number].subscribe(client)
                generator.add(receiver := Receiver(client))
                there[number].append(receiver)
                if joined % 4 == 0:
                    generator.run(0.0)
        generator.run(WARM_UP)
        generator.start_counting()
        piped = [piped_by(worker) for worker in workers]
        before, start = [cpu_seconds(worker.pid) for worker in workers], time.monotonic()
        generator.run(seconds)
        took = time.monotonic() - start
        cpu = [cpu_seconds(worker.pid) - earlier for worker, earlier in zip(workers, before, strict=True)]
        rows = [row(there[number], cpu[number], took, generator.sent) for number in range(len(workers))]
        generator.run(HEARTBEATS)
        for number, worker in enumerate(workers):
            rows[number]["worker"] = "home" if number == 0 else f"edge {number}"
            rows[number]["piped_in_s"] = (piped_by(worker) - piped[number]) / (time.monotonic() - start)
        return rows
    finally:
        for client in clients:
            client.close()
        for worker in workers:
            worker.stop()
        os.sched_setaffinity(0, CORES)


def piped_by(worker: Lectern) -> int:
    return int(worker.heartbeat().counters["packets_piped"])


def row(receivers: list[Receiver], cpu: float, took: float, sent: int) -> dict[str, Any]:
    counted = [stream for receiver in receivers for stream in receiver.streams.values()]
    got = sum(stream.packets for stream in counted)
    span = sum(stream.last - stream.first + 1 for stream in counted)
    silent = sum(1 for receiver in receivers if len(receiver.streams) < 2)
    cost = 1e6 * cpu / got if got else None
    return {
        "receivers": len(receivers),
        "cpu_percent": 100 * cpu / took,
        "us_per_packet": cost,
        "loss_percent": None if not receivers else 100 * (1 - got / span) if not silent else 100.0,
        "packets_in_s": sent / took,
        "receivers_fit": int(FULL * 1e6 / (cost * sent / took)) if cost and len(receivers) > 1 else None,
    }
