"""Fuzz one parser, led by what code each input reaches:  python -m tests.fuzz TARGET [seconds]

An input that breaks a promise is kept in tests/fuzz/cases/TARGET, where tests/fuzz/test_parsers.py finds it, and the
exit status is not 0. Without a name: which targets there are.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import atheris

SLOWEST = 20  # seconds for one input, of which each takes milliseconds, on a machine that does other things first
MEMORY = 1024  # MB


def main() -> None:
    # Whatever is imported from here on reports which of its branches it takes.
    with atheris.instrument_imports(include=["sfu", "recordings", "meetings.messages", "aioice"]):
        from tests.fuzz.targets import TARGETS
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit("python -m tests.fuzz TARGET [seconds], where TARGET is one of: " + ", ".join(TARGETS))
    logging.disable(logging.CRITICAL)
    target = TARGETS[sys.argv[1]]
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
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
