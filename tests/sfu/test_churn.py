"""After hours of joining, leaving, sharing and switching a worker is as large as before: memory, descriptors, tasks."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from pathlib import Path
from statistics import median

import pytest
from OpenSSL import SSL
from pylibsrtp import Session

from sfu.core.burst import Burst
from sfu.core.consumer import Consumer
from sfu.core.feed import Feed
from sfu.core.listener import Seat
from sfu.core.packet_cache import Packet
from sfu.core.peer import Peer
from sfu.core.producer import Producer
from sfu.core.stream import Stream
from sfu.core.transport import Transport
from sfu.protocol import Heartbeat
from sfu.worker.dtls import DtlsServer
from sfu.worker.link import Link
from sfu.worker.link import Path as LinkPath
from sfu.worker.srtp import SrtpSessions
from sfu.worker.tcp import TcpConnection
from tests.sfu.churn import PEOPLE, Churn
from tests.sfu.peer import PeerTransport
from tests.sfu.worker import WorkerProcess, loop_worker
from tests.waiting import until

KEPT_BY_NOBODY = (
    Peer, Transport, Producer, Stream, Feed, Burst, Packet, Consumer, Seat, Link, LinkPath, DtlsServer, SrtpSessions,
    TcpConnection, PeerTransport, Session, SSL.Connection,
)  # fmt: skip
# Bytes between the first plateau and the end. Allocators fragment: about 2 MB in a minute, 5 in half an hour; what is
# in use stays the same. A transport whose keys were not freed is 40 kB, and there are thirty in a round.
MAX_GROWTH = 8_000_000
MAX_GROWTH_OF_A_NIGHT = 16_000_000
WARM_UP = 4  # rounds
PLATEAU = 4  # rounds that a level is taken from


async def test_of_people_who_left_nothing_is_kept(tmp_path: Path) -> None:
    """All objects of a worker in this process are looked at: whatever belongs to somebody must go with him."""
    before = alive()
    async with loop_worker(tmp_path) as worker:
        churn = Churn([await worker.client("web-1"), await worker.client("web-2")])
        await churn.round()
        await churn.round()
        assert churn.joins == 2 * PEOPLE
        assert churn.packets > 1000
        media = worker.worker.media
        await until(lambda: not media.endpoint.strangers)
        endpoint = media.endpoint
        leases = worker.worker.control.leases
        tables = [media.routers, endpoint.links, endpoint.paths, endpoint.handshaking, endpoint._by_ufrag]
        assert not any([*tables, leases._holders, leases._ends])
        await asyncio.sleep(0)
        assert not alive() - before


def alive() -> Counter[str]:
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, KEPT_BY_NOBODY))


async def level(worker: WorkerProcess, churn: Churn) -> Heartbeat:
    """A round, and what the worker tells of itself after it."""
    await churn.round()
    async with asyncio.timeout(10):
        while (beat := await worker.heartbeat()).peers or beat.counters["recordings_running"]:
            await asyncio.sleep(0.1)
    return beat


async def churned(tmp_path: Path, redis_url: str, seconds: float, *, may_grow: int = MAX_GROWTH) -> None:
    worker = WorkerProcess(tmp_path, redis_url, "sfu-churn")
    await worker.start()
    try:
        churn = Churn([await worker.client("web-1"), await worker.client("web-2")])
        ends = time.monotonic() + seconds
        beats: list[Heartbeat] = []
        while time.monotonic() < ends or len(beats) < WARM_UP + 2 * PLATEAU:
            beats.append(await level(worker, churn))
        first, last = beats[WARM_UP : WARM_UP + PLATEAU], beats[-PLATEAU:]
        growth = median(beat.memory for beat in last) - median(beat.memory for beat in first)
        found = f"{churn.rounds} rounds, {churn.joins} joins, {churn.packets} packets, {growth / 1e6:.1f} MB more"
        print(found)
        assert growth < may_grow, found
        # The least of some rounds: a recording may still be closing when the worker tells of itself.
        for name in ("descriptors", "tasks"):
            assert min(getattr(beat, name) for beat in last) <= min(getattr(beat, name) for beat in first), (
                name,
                found,
            )
        log = worker.log.read_text()
        assert "Traceback" not in log, log[-3000:]
    finally:
        await worker.close()


@pytest.mark.slow
async def test_a_minute_of_coming_and_going(tmp_path: Path, redis_url: str) -> None:
    await churned(tmp_path, redis_url, 60)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600 + 600)
async def test_four_hours_of_coming_and_going(tmp_path: Path, redis_url: str) -> None:
    await churned(tmp_path, redis_url, 4 * 3600, may_grow=MAX_GROWTH_OF_A_NIGHT)
