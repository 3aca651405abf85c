"""./bench stream measures what it says, in a short run of it."""

from __future__ import annotations

import pytest

from benchmarks.stream import measure


@pytest.mark.service
@pytest.mark.nightly
def test_viewers_get_parts_and_the_class_goes_on() -> None:
    found = measure(receivers=2, viewers=2, seconds=1.0, windows=1)
    assert list(found) == ["alone", "streamed", "watched"]
    for [row] in found.values():
        assert 0 < row["p50_ms"] <= row["p95_ms"]
    [watched] = found["watched"]
    assert watched["asked_s"] > 0
    assert watched["parts_percent"] > 0
