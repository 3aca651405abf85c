"""./bench along measures what it says: a short run of it."""

from __future__ import annotations

import pytest

from benchmarks.along import FIGURES, measure


@pytest.mark.nightly
def test_a_class_is_measured_alone_and_composed() -> None:
    found = measure(receivers=2, cameras=1, seconds=1.0, windows=1)
    (alone,), (composed,) = found["alone"], found["composed"]
    assert set(alone) == set(composed) == set(FIGURES)
    assert alone["composing_percent"] == 0 < composed["composing_percent"]
    assert composed["p95_ms"] > 0
