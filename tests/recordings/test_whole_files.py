"""Local files are replaced whole: the kernel refuses to write on, and what was there before is still there."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from recordings import storage

KEY = storage.key("rec", "captions-en.vtt")
LIMIT = 2**16  # bytes


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """The kernel refuses to write beyond so many bytes, as it does where a disk is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_does_not_fit_leaves_the_one_that_it_was_to_replace(places: Path) -> None:
    first, second = places / "first", places / "second"
    first.write_bytes(b"there before")
    second.write_bytes(bytes(2 * LIMIT))
    storage.store(first, KEY)
    with no_file_above(LIMIT), pytest.raises(OSError, match="File too large"):
        storage.store(second, KEY)
    assert b"".join(storage.blocks(KEY)) == b"there before"
    folder = storage.local_path(KEY).parent
    assert [path.name for path in folder.iterdir()] == [Path(KEY).name]


def test_another_file_takes_the_place_of_the_first(places: Path) -> None:
    for text in (b"the first one", b"another"):
        path = places / "text"
        path.write_bytes(text)
        assert storage.store(path, KEY).size == len(text)
        assert b"".join(storage.blocks(KEY)) == text
