"""Every parser of what comes from outside keeps its promises (tests/fuzz/media.py, control.py, core.py) for any input.

Inputs that once broke one are kept in tests/fuzz/cases and tried each time. `./test` fuzzes each for 20 s, led by the
code that its inputs reach, `./test nightly` for 300 s; `python -m tests.fuzz` does it by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import CASES, TARGETS, Target

ROOT = Path(__file__).parents[2]
EXAMPLES = 100  # a parser, of those that are not led by coverage
ROOMS = 10  # an example is a whole class

targets = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))


@targets
def test_what_once_broke_a_parser_breaks_it_no_more(target: Target) -> None:
    for seed in target.seeds:
        target.check(seed)
    for case in target.cases:
        target.check(case.read_bytes())


def test_each_case_is_one_of_a_target() -> None:
    assert {folder.name for folder in CASES.iterdir()} <= set(TARGETS)


def damaged(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    data = bytearray(seed)
    for at, cut, put in changes:
        position = at % (len(data) + 1)
        data[position : position + cut] = put
    return bytes(data)


changes = st.lists(
    st.tuples(st.integers(0, 5000), st.sampled_from([0, 1, 1, 1, 2, 8]), st.binary(max_size=4)), max_size=6
)


@targets
def test_its_promises_hold_for_damaged_packets(target: Target) -> None:
    @settings(max_examples=ROOMS if target.name == "room" else EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(seed=st.sampled_from(target.seeds), changes=changes, all_new=st.none() | st.binary(max_size=target.longest))
    def holds(seed: bytes, changes: list[tuple[int, int, bytes]], all_new: bytes | None) -> None:
        target.check(damaged(seed, changes) if all_new is None else all_new)

    holds()


def fuzz_all(seconds: int, folder: Path) -> None:
    if os.environ.get("CI") != "true":
        pytest.importorskip(
            "atheris", reason="there is no Atheris for this machine; Hypothesis alone tries the parsers"
        )
    done = subprocess.run(
        ["nice", sys.executable, "-m", "tests.fuzz", "all", str(seconds)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=600 + 4 * seconds,  # at low priority, on a machine that may have much else to do
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_seconds_of_fuzzing_find_nothing(tmp_path: Path) -> None:
    fuzz_all(20, tmp_path)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(3000)
def test_five_minutes_of_fuzzing_find_nothing(tmp_path: Path) -> None:
    fuzz_all(300, tmp_path)
