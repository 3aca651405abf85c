"""Three hours of class with 30 people are composed within the memory of a small machine."""

from __future__ import annotations

import pytest

from benchmarks.long import FIGURES, measure
from benchmarks.long_class import LongClass

SMALL = 512  # MB, for each process: the whole machine has two GB


@pytest.mark.nightly
def test_three_hours_with_thirty_people_take_little_memory_at_every_step() -> None:
    row = measure(LongClass(3 * 3600.0), one_in=60)
    assert set(row) == set(FIGURES)
    assert row["segments"] == 338
    assert all(row[name] < SMALL for name in FIGURES if name.endswith("_mb"))


def test_a_long_class_is_the_same_each_time_and_somebody_is_always_there() -> None:
    one, other = LongClass(3600.0), LongClass(3600.0)
    assert one.stays == other.stays
    assert one.turns == other.turns
    assert all(any(stay.begin <= at < stay.end for stay in one.stays) for at in range(0, 3600, 60))
