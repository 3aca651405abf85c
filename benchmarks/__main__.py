"""`./bench --list`, `./bench NAME [options] [--json FILE]`: run a benchmark and print its table."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path

import benchmarks
from benchmarks.table import Benchmark


def names() -> list[str]:
    return sorted(
        module.name
        for module in pkgutil.iter_modules(benchmarks.__path__)
        if not module.ispkg and "\nclass Bench(" in (Path(benchmarks.__path__[0]) / f"{module.name}.py").read_text()
    )


def load(name: str) -> type[Benchmark]:
    found: type[Benchmark] = importlib.import_module(f"benchmarks.{name}").Bench
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./bench", description=__doc__, add_help=False)
    parser.add_argument("name", nargs="?")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    known, _ = parser.parse_known_args(arguments[:1])
    if known.name is None:
        for name in names():
            print(f"{name:12} {(load(name).__doc__ or '').splitlines()[0]}")
        return 0
    if known.name not in names():
        print(f"There is no benchmark {known.name!r}; there are {', '.join(names())}.", file=sys.stderr)
        return 2
    bench = load(known.name)
    options = argparse.ArgumentParser(prog=f"./bench {known.name}", description=bench.__doc__)
    options.add_argument("--json", metavar="FILE", type=Path, help="write the rows as JSON, too")
    bench.add_options(options)
    chosen = options.parse_args(arguments[1:])
    table = bench(chosen).run()
    table.print()
    if chosen.json:
        table.write_json(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
