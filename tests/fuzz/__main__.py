"""Fuzz a parser, led by what code each input reaches:  python -m tests.fuzz TARGET [seconds]

An input that breaks a promise is kept in tests/fuzz/cases/TARGET, where tests/fuzz/test_parsers.py finds it, and the
exit status is not 0. `all` is every target, each in a process of its own. Without a name: which targets there are.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

import atheris

# Whatever is imported from here on reports which of its branches it takes.
with atheris.instrument_imports(include=["sfu", "recordings", "meetings.messages", "aioice"]):
    from tests.fuzz.targets import TARGETS, Target

SLOWEST = 20  # seconds for one input, of which each takes milliseconds, on a machine that does other things first
MEMORY = 1024  # MB
AT_ONCE = 9  # fuzzers: two rounds of all parsers, in which each has a fifth of a core


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in {"all", *TARGETS}:
        sys.exit("python -m tests.fuzz TARGET [seconds], where TARGET is all or one of: " + ", ".join(TARGETS))
    logging.disable(logging.CRITICAL)
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    if sys.argv[1] != "all":
        fuzz(TARGETS[sys.argv[1]], seconds)
    if broken := fuzz_all(seconds):
        sys.exit(broken)


def fuzz_all(seconds: int) -> str:
    """What broke; "" is nothing. All code is read once, and then by none of the processes."""
    folder = Path(tempfile.mkdtemp(prefix="lectern-fuzz"))
    waiting, running, broken = list(TARGETS.values()), dict[int, Target](), ""
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            target = waiting.pop()
            if not (process := os.fork()):
                log = os.open(folder / target.name, os.O_CREAT | os.O_WRONLY)
                os.dup2(log, sys.stdout.fileno())
                os.dup2(log, sys.stderr.fileno())
                fuzz(target, seconds)
            running[process] = target
        process, status = os.wait()
        target = running.pop(process)
        if status:
            said = (folder / target.name).read_text(errors="replace")
            broken += f"{target.name}: {(said.partition('=== Uncaught')[2] or said)[:3000]}\n"
    return broken


def fuzz(target: Target, seconds: int) -> None:
    """Ends the process."""
    target.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="lectern-fuzz"))  # libFuzzer ends the process itself: nothing is tidied up
    corpus, words = folder / "corpus", folder / "words"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed{number}").write_bytes(seed[: target.longest])
    quoted = ["".join(f"\\x{byte:02x}" for byte in word) for word in target.words]
    words.write_text("".join(f'"{word}"\n' for word in quoted))
    options = [
        f"-max_total_time={seconds}", f"-max_len={target.longest}", f"-timeout={SLOWEST}",
        f"-rss_limit_mb={MEMORY}", f"-artifact_prefix={target.folder}/", "-print_final_stats=1",
        *([f"-dict={words}"] if target.words else []),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus), str(target.folder)], target.check)
    atheris.Fuzz()


main()
