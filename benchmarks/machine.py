"""What else ran on the machine while a benchmark did: a figure taken beside other work tells of that work, too."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class OtherWork:
    """From when it is made: the share of all cores that went to others, a hypervisor's other guests included."""

    def __init__(self) -> None:
        self.start, self.busy = time.monotonic(), busy_seconds()

    def percent(self, ours: float) -> float:
        """`ours`: CPU seconds of the benchmark's own processes since then."""
        took = time.monotonic() - self.start
        return max(0.0, 100 * (busy_seconds() - self.busy - ours) / took / (os.cpu_count() or 1))


def busy_seconds() -> float:
    """Of all cores together, neither idle nor waiting for a disk (proc(5))."""
    user, nice, system, _idle, _disk, *rest = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS
