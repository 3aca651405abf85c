"""Work in a process of its own, watched from outside: what it and its children took."""

from __future__ import annotations

import multiprocessing as mp
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import TICKS

SAMPLED_EVERY = 0.2  # seconds


@dataclass(frozen=True)
class Watched:
    seconds: float
    cpu: float  # seconds
    memory: int  # bytes: the most that it and its children held


def watched(work: Callable[..., None], *arguments: Any) -> Watched:
    """Do it in a process of its own."""
    process = mp.get_context("spawn").Process(target=work, args=arguments)
    began, used = time.monotonic(), sum(os.times()[2:4])
    process.start()
    most = 0
    while process.is_alive():
        most = max(most, sum(held(pid) for pid in family(process.pid or 0)))
        process.join(SAMPLED_EVERY)
    if process.exitcode != 0:
        raise SystemExit(f"{work.__name__} ended with status {process.exitcode}")
    return Watched(time.monotonic() - began, sum(os.times()[2:4]) - used, most)


def family(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, look = [], [root]
    while look:
        found.append(look.pop())
        look += children.get(found[-1], [])
    return found


def held(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def family_seconds(root: int) -> float:
    """CPU of it and its children, also of those that have ended."""
    found = 0
    for pid in family(root):
        try:
            found += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
        except OSError:
            continue
    return found / TICKS
