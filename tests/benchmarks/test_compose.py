"""./bench compose measures what it says: a short run of it."""

from __future__ import annotations

from benchmarks.compose import FIGURES, measure
from benchmarks.recorded_class import RecordedClass


def test_a_class_is_composed_by_us_and_by_a_plain_ffmpeg() -> None:
    row = measure(RecordedClass(cameras=1, screen=True, seconds=3.0), plain=True)
    assert set(row) == set(FIGURES)
    assert all(row[name] > 0 for name in set(FIGURES) - {"others_percent"})
    assert 20 < row["memory_mb"] < 1500
