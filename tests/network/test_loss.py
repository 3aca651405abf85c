"""Packets get lost on the way down to a receiver, or on the way up from a sender: what is seen and heard of it.

The figures are the specification's; a voice's packet is usable if it comes within 300 ms, repaired or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from tests.network.links import Network
from tests.network.people import Sender, Viewer, watching
from tests.sfu.classroom import Classroom

# loss -> (share of the voice's packets that are usable, seconds of the longest freeze)
FIGURES = {0.05: (0.98, 1.0), 0.10: (0.95, 2.0), 0.20: (0.85, 5.0)}
DELAY = 0.03  # seconds each way
WINDOW = 6.0  # seconds
LONG_WINDOW = 60.0


async def check(viewers: dict[float, Viewer], control: Viewer, seconds: float) -> None:
    """`control` loses nothing: what he misses, this machine was late with."""
    begin = time.monotonic()
    await asyncio.sleep(seconds)
    end = time.monotonic()
    for loss, viewer in viewers.items():
        usable, freeze = viewer.voice.usable(begin, end), viewer.picture.longest_freeze(begin, end)
        print(f"loss {loss:.0%}: {usable:.1%} of the voice usable, longest freeze {freeze:.2f} s")
    busy = 1.0 - control.voice.usable(begin, end)
    assert busy <= 0.1
    for loss, viewer in viewers.items():
        least, longest = FIGURES[loss]
        assert viewer.voice.usable(begin, end) >= least - busy
        assert viewer.picture.longest_freeze(begin, end) <= longest


WINDOWS = [WINDOW, pytest.param(LONG_WINDOW, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("seconds", WINDOWS)
async def test_on_the_way_down(network: Network, classroom: Classroom, seconds: float) -> None:
    sender = Sender(classroom.person("tina"), network.client(delay=0.01))
    viewers = {loss: Viewer(classroom.person(f"sam{loss}"), network.client(delay=DELAY, loss=loss)) for loss in FIGURES}
    control = Viewer(classroom.person("olga"), network.client(delay=DELAY))
    async with watching(sender, control, *viewers.values()):
        await check(viewers, control, seconds)


@pytest.mark.parametrize("seconds", WINDOWS)
async def test_on_the_way_up(network: Network, classroom: Classroom, seconds: float) -> None:
    async with contextlib.AsyncExitStack() as stack:
        viewers = {}
        for loss in FIGURES:
            sender = Sender(classroom.person(f"tina{loss}"), network.client(delay=DELAY, loss=loss), layers=2)
            viewers[loss] = Viewer(classroom.person(f"sam{loss}"), network.client(delay=0.01))
            await stack.enter_async_context(watching(sender, viewers[loss]))
        control = Viewer(classroom.person("olga"), network.client(delay=0.01))
        quiet = Sender(classroom.person("pia"), network.client(delay=DELAY), layers=2)
        await stack.enter_async_context(watching(quiet, control))
        await check(viewers, control, seconds)
