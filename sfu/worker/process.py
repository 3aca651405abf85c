"""A media worker as a process: puts the parts together, runs until it is asked to end, ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import secrets
import signal

import structlog

from sfu.protocol import EVENTS, LEASE, Heartbeat
from sfu.worker.addresses import addresses_to_announce
from sfu.worker.control import Control
from sfu.worker.heartbeat import Heartbeats
from sfu.worker.media import MediaServer
from sfu.worker.recorder import Recorder
from sfu.worker.settings import Settings
from sfu.worker.streamer import Streamer

log = structlog.get_logger("sfu")

END_WITHIN = 3.0  # seconds from SIGTERM to the end, whatever hangs
DRAIN_BEAT_WITHIN = 0.5  # seconds
GARBAGE_AFTER = 20_000  # objects made that did not go yet, before cycles are looked for


class Worker:
    """One start of a worker. `epoch` tells it from the worker of the same id that was here before.

    `lease` is seconds; see sfu.worker.leases.
    """

    def __init__(self, settings: Settings, *, lease: float = LEASE) -> None:
        self.settings = settings
        self.epoch = secrets.token_hex(6)
        self.media = MediaServer(on_event=self._publish, loudest=settings.loudest)
        self.recorder = Recorder(media=self.media, folder=settings.recordings, epoch=self.epoch, on_event=self._publish)
        self.streamer = Streamer(media=self.media, folder=settings.streams, epoch=self.epoch)
        self.control = Control(
            media=self.media,
            recorder=self.recorder,
            streamer=self.streamer,
            secret=settings.control_secret,
            worker_id=settings.worker_id,
            epoch=self.epoch,
            lease=lease,
        )
        self.control_port = 0
        self.heartbeats = Heartbeats(settings.redis_url, self.heartbeat)

    def _publish(self, event: EVENTS) -> None:
        self.control.publish(event)

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(
            worker_id=self.settings.worker_id,
            epoch=self.epoch,
            control=f"{self.settings.control_host}:{self.control_port}",
            announced=self.media.announced,
            region=self.settings.region,
            load=self.media.load(),
            peers=self.media.peer_count,
            draining=self.control.draining,
            memory=resident_memory(),
            descriptors=open_descriptors(),
            tasks=len(asyncio.all_tasks()),
            counters={**self.media.counters(), **self.recorder.counters(), "restarts": self.heartbeats.restarts},
        )

    async def start(self) -> None:
        """Raises OSError if a port is taken. The heartbeat comes last: who reads it may come at once."""
        announced = self.settings.announced_ips or addresses_to_announce(self.settings.listen_ip)
        await self.media.start(self.settings.listen_ip, self.settings.port, announced)
        self.recorder.start_ticking()
        self.streamer.start_ticking()
        self.control_port = await self.control.start(self.settings.control_host, self.settings.control_port)
        await self.control.pipes.start(self.settings.listen_ip, self.settings.control_host, self.control_port)
        self.heartbeats.start()
        log.info("worker_started", epoch=self.epoch, port=self.media.port, control=self.control_port)

    async def stop(self) -> None:
        """Tell that no new rooms are wanted, save the recordings, hang up. Each part may fail without the others.

        The connections close after the draining heartbeat is out: a web process that looks for a new place for a room
        must not find us.
        """
        self.control.draining = True
        for name, step in (
            ("heartbeat", self._last_beat),
            ("recorder", self.recorder.close),
            ("streamer", self.streamer.close),
            ("control", self.control.stop),
            ("heartbeats", self.heartbeats.stop),
            ("media", self.media.stop),
        ):
            try:
                await step()
            except Exception:
                log.exception("worker_stop_failed", part=name)
        log.info("worker_stopped", epoch=self.epoch)

    async def _last_beat(self) -> None:
        if not self.control_port:
            return  # the start failed: nobody knows of us yet
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_BEAT_WITHIN):
                await self.heartbeats.send()


async def run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises OSError if the worker cannot start."""
    loop = asyncio.get_running_loop()
    asked_to_end = asyncio.Event()

    def end() -> None:
        # A thread on a dead disk, a library that waits: the kernel ends us then (SIGALRM's default action).
        signal.setitimer(signal.ITIMER_REAL, END_WITHIN - 0.2)
        asked_to_end.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    raise_descriptor_limit()
    worker = Worker(settings)
    try:
        await worker.start()
        # What is there now stays: not to be looked through again each time garbage is looked for. A packet makes a few
        # objects that go by themselves, so it may be looked for seldom.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_AFTER, 20, 20)
        await asked_to_end.wait()
    finally:
        await worker.stop()


def resident_memory() -> int:
    """Bytes; 0 where there is no /proc."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def open_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def raise_descriptor_limit() -> None:
    """A log a producer and a socket a TCP peer: the usual 1,024 are soon gone."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
