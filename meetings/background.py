"""Tasks that run beside requests, and how to end them for sure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN = 0.2  # seconds


async def end(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancel tasks and wait until they are done. None among them, or one that is done, does no harm.

    Before Python 3.12 a cancellation that comes together with the result of `asyncio.wait_for` is lost (and
    channels_redis loses one that comes together with a message): so it is said until it is heard.
    """
    pending = {task for task in tasks if task is not None and not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN)
