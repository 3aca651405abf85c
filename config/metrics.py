"""`/metrics`: what this web process counts, and what the media workers' heartbeats and the database tell of the whole.

Names follow LiveKit's shape with `lectern_` before them. No label names a user, a room or a stream.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import redis
from django.conf import settings
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from meetings.models import Attendance
from recordings.models import Recording
from sfu.protocol import HEARTBEAT_KEY, Heartbeat

REDIS_TIMEOUT = 2.0  # seconds


def heartbeats() -> list[Heartbeat]:
    """Of the media workers that are alive; none while Redis is away, which `/readyz` says."""
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT
        ) as client:
            keys = list(client.scan_iter(HEARTBEAT_KEY.format(worker_id="*"), count=1000))
            found = [value for value in client.mget(keys) if value] if keys else []
    except redis.RedisError:
        return []
    return [beat for value in found if (beat := _decoded(value)) is not None]


def _decoded(value: bytes) -> Heartbeat | None:
    try:
        return msgspec.json.decode(value, type=Heartbeat)
    except msgspec.DecodeError:
        return None


class Lectern:
    """A collector that asks when it is asked, so that nothing is kept twice."""

    def describe(self) -> Iterable[Metric]:
        return []  # the names are known only by asking; nothing of ours is registered twice

    def collect(self) -> Iterable[Metric]:
        beats = heartbeats()
        yield _gauge("sfu_workers", "Media workers with a fresh heartbeat.", len(beats))
        load = GaugeMetricFamily("lectern_sfu_load", "Share of one core that a media worker uses.", labels=["worker"])
        peers = GaugeMetricFamily("lectern_sfu_peers", "Peers of a media worker.", labels=["worker"])
        packets = CounterMetricFamily("lectern_packet", "Media packets sent to receivers.", labels=["worker"])
        size = CounterMetricFamily("lectern_packet_bytes", "Bytes of those packets.", labels=["worker"])
        dropped = CounterMetricFamily(
            "lectern_sfu_packets_dropped", "Packets that a media worker did not accept.", labels=["worker", "reason"]
        )
        for beat in beats:
            load.add_metric([beat.worker_id], beat.load)
            peers.add_metric([beat.worker_id], beat.peers)
            packets.add_metric([beat.worker_id], beat.counters.get("packets_forwarded", 0))
            size.add_metric([beat.worker_id], beat.counters.get("bytes_forwarded", 0))
            for reason, count in beat.counters.get("packets_dropped", {}).items():
                dropped.add_metric([beat.worker_id, str(reason)], count)
        yield from (load, peers, packets, size, dropped)

        present = Attendance.objects.filter(left_at=None)
        yield _gauge("participant_total", "People in a class now.", present.count())
        rooms = present.values("participant__room").distinct().count()
        yield _gauge("room_total", "Rooms with somebody in them.", rooms)
        unfinished = Recording.objects.exclude(
            state__in=[Recording.State.READY, Recording.State.FAILED, Recording.State.EXPIRED]
        )
        yield _gauge("recording_unfinished", "Recordings that run or are being composed.", unfinished.count())


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"lectern_{name}", text, value=value)


def register() -> None:
    REGISTRY.register(Lectern())
