"""What every benchmark shares: options in, a table out."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Table:
    """Rows of named figures. A column's name carries its unit."""

    title: str
    columns: list[str]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **row: Any) -> None:
        self.rows.append(row)

    def print(self) -> None:
        cells = [[_text(row.get(column)) for column in self.columns] for row in self.rows]
        widths = [max(len(column), *(len(line[i]) for line in cells), 1) for i, column in enumerate(self.columns)]
        print(f"\n{self.title}\n")
        print("  ".join(column.rjust(width) for column, width in zip(self.columns, widths, strict=True)))
        for line in cells:
            print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
        print()

    def write_json(self, path: Path) -> None:
        machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
        path.write_text(json.dumps({"title": self.title, "machine": machine, "rows": self.rows}, indent=2) + "\n")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def median(rows: list[dict[str, Any]], figures: list[str]) -> dict[str, Any]:
    """One row of several runs': the median of each figure; the rest is the first run's."""
    found = dict(rows[0])
    for name in figures:
        values = [row[name] for row in rows if row[name] is not None]
        found[name] = statistics.median(values) if values else None
    return found


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The value below which so many per cent of all lie; None if there is none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else None


class Benchmark:
    """A benchmark is a class named `Bench` in a module of this package; its docstring's first line is its help."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Add what `./bench NAME --help` shows."""

    def run(self) -> Table:
        raise NotImplementedError("a benchmark measures something")
