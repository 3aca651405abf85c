from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sfu.classroom import Classroom


@pytest.fixture
async def classroom() -> AsyncIterator[Classroom]:
    room = Classroom()
    await room.open()
    yield room
    await room.close()
