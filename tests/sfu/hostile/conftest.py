from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.sfu.hostile.siege import Siege
from tests.sfu.worker import WorkerProcess


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def siege(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> AsyncIterator[Siege]:
    """One for all attacks of a file: what one of them left behind, the next ones would find."""
    worker = WorkerProcess(tmp_path_factory.mktemp("siege"), redis_url, f"siege-{id(object())}")
    siege = Siege(worker)
    try:
        await siege.begin()
        yield siege
    finally:
        await siege.end()
