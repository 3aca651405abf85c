"""Ending tasks for sure."""

from __future__ import annotations

import asyncio

from meetings import background


async def deaf(times: int) -> None:
    """Loses its first cancellations, as `asyncio.wait_for` of Python 3.11 may."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            times -= 1
            if times < 0:
                raise


async def test_a_task_that_loses_a_cancellation_is_told_again():
    tasks = [asyncio.create_task(deaf(times)) for times in (0, 1, 2)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await background.end(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_none_and_what_is_done_do_no_harm():
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await background.end([None, done])
    await background.end([])
