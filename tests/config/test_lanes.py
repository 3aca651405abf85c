"""`./test` chooses tests by their marks: every test must be chosen by one of its stages, whatever its marks are."""

from __future__ import annotations

import re
from itertools import chain, combinations
from pathlib import Path

import pytest

SCRIPT = (Path(__file__).parents[2] / "test").read_text()
MARKS = ("service", "database", "browser", "network", "slow", "nightly")


def stages() -> list[str]:
    """The expressions after -m, with the shell's variables filled in, in the order of the script."""
    first = re.search(r"^here='(.*)'$", SCRIPT, re.MULTILINE)
    assert first is not None
    found = re.findall(r'-m "([^"]*)"', SCRIPT)
    return [stage.replace("$here", first[1]) for stage in found]


def chosen(stage: str, marks: set[str]) -> bool:
    names = {mark: mark in marks for mark in MARKS}
    return bool(eval(stage, {"__builtins__": {}}, names))  # noqa: S307  # out of our own script


@pytest.mark.parametrize("marks", chain.from_iterable(combinations(MARKS, size) for size in range(len(MARKS) + 1)))
def test_each_test_runs_in_a_stage(marks):
    found = [stage for stage in stages() if chosen(stage, set(marks)) and not stage.startswith("database")]
    if {"browser", "slow"} <= set(marks) or {"network", "slow"} <= set(marks) or {"browser", "network"} <= set(marks):
        return  # what needs the machine to itself does not run beside others; nothing is marked so
    assert found, f"nothing in ./test runs what is marked {marks}"


def test_nothing_is_marked_as_no_stage_runs_it(request):
    for item in request.session.items:
        marks = {mark.name for mark in item.iter_markers()}
        assert not {"browser", "slow"} <= marks
        assert not {"network", "slow"} <= marks


def test_the_fast_lane_starts_neither_services_nor_browsers_nor_long_ones():
    assert re.search(r'\[ "\$lane" = fast \] && here="\$here and not service"', SCRIPT)
    assert not any(chosen(stages()[0], {mark}) for mark in MARKS if mark not in ("service", "database"))
