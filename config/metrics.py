"""`/metrics`: what this web process counts, and what the media workers' heartbeats and the database tell of the whole.

Names follow LiveKit's shape with `lectern_` before them. No label names a user, a room or a stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import msgspec
import redis
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Max
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from meetings.metrics import DENIED
from meetings.models import Attendance
from recordings.models import UNFINISHED, Recording
from recordings.tasks import unfinished_since
from sfu.protocol import HEARTBEAT_KEY, Heartbeat

REDIS_TIMEOUT = 2.0  # seconds
GAPS_OF = timedelta(days=1)


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


# (name, help, the counter in `Heartbeat.counters`)
WORKER_COUNTERS = (
    ("packet", "Media packets sent to receivers.", "packets_forwarded"),
    ("packet_bytes", "Bytes of those packets.", "bytes_forwarded"),
    ("packet_piped", "Media packets sent to other workers, for rooms that are on several.", "packets_piped"),
    ("retransmission", "Packets sent to receivers again.", "retransmissions"),
    ("sfu_worker_restarts", "Times that a media worker of this id began anew.", "restarts"),
)
# (name, help, the label, (its value, the counter) or the counter that holds numbers by its values)
WORKER_COUNTERS_BY: tuple[tuple[str, str, str, str | tuple[tuple[str, str], ...]], ...] = (
    (
        "nack",
        "Packets asked for again, by receivers (in) and of senders (out).",
        "direction",
        (("in", "nacks_received"), ("out", "nacks_sent")),
    ),
    (
        "pli",
        "Requests for a key frame, by receivers (in) and to senders (out).",
        "direction",
        (("in", "plis_received"), ("out", "plis_sent")),
    ),
    ("ice_selected", "Addresses that a peer's media went to.", "transport", "ice_selected"),
    ("sfu_packets_dropped", "Packets that a media worker did not accept.", "reason", "packets_dropped"),
)
WORKER_HISTOGRAMS = (
    ("packet_loss_percent", "Loss in a second of a stream, as its receiver reports it.", "loss_percent"),
    ("jitter_seconds", "Jitter of a stream, as its receiver reports it each second.", "jitter"),
    ("rtt_seconds", "Round trips between a media worker and its peers.", "rtt"),
    ("forward_latency_seconds", "From a packet's arrival until its receivers were served.", "forward_latency"),
)


# (name, help, the field of `Heartbeat`)
WORKER_GAUGES = (
    ("sfu_load", "Share of one core that a media worker uses.", "load"),
    ("sfu_peers", "Peers of a media worker.", "peers"),
    ("sfu_memory_bytes", "Resident memory of a media worker.", "memory"),
    ("sfu_descriptors", "Open files and sockets of a media worker.", "descriptors"),
    ("sfu_tasks", "Tasks of a media worker's event loop.", "tasks"),
)


def worker_metrics(beats: list[Heartbeat]) -> Iterable[Metric]:
    for name, text, field in WORKER_GAUGES:
        gauge = GaugeMetricFamily(f"lectern_{name}", text, labels=["worker"])
        for beat in beats:
            gauge.add_metric([beat.worker_id], getattr(beat, field))
        yield gauge
    for name, text, key in WORKER_COUNTERS:
        counter = CounterMetricFamily(f"lectern_{name}", text, labels=["worker"])
        for beat in beats:
            counter.add_metric([beat.worker_id], beat.counters.get(key, 0))
        yield counter
    for name, text, label, keys in WORKER_COUNTERS_BY:
        counter = CounterMetricFamily(f"lectern_{name}", text, labels=["worker", label])
        for beat in beats:
            if isinstance(keys, str):
                counts = beat.counters.get(keys, {})
            else:
                counts = {value: beat.counters.get(key, 0) for value, key in keys}
            for value, count in counts.items():
                counter.add_metric([beat.worker_id, value], count)
        yield counter
    for name, text, key in WORKER_HISTOGRAMS:
        histogram = HistogramMetricFamily(f"lectern_{name}", text, labels=["worker"])
        for beat in beats:
            if found := beat.counters.get(key):
                histogram.add_metric([beat.worker_id], buckets=found["buckets"], sum_value=found["sum"])
        yield histogram


class Lectern:
    """A collector that asks when it is asked, so that nothing is kept twice."""

    def describe(self) -> Iterable[Metric]:
        return []  # the names are known only by asking; nothing of ours is registered twice

    def collect(self) -> Iterable[Metric]:
        beats = heartbeats()
        yield _gauge("sfu_workers", "Media workers with a fresh heartbeat.", len(beats))
        yield from worker_metrics(beats)
        try:
            yield from database_metrics()
        except DatabaseError:
            return  # it is away, which `/readyz` says; what else is known is told


def database_metrics() -> Iterable[Metric]:
    present = Attendance.objects.filter(left_at=None)
    yield _gauge("participant_total", "People in a class now.", present.count())
    rooms = present.values("participant__room").distinct().count()
    yield _gauge("room_total", "Rooms with somebody in them.", rooms)
    unfinished = Recording.objects.filter(state__in=UNFINISHED)
    yield _gauge("recording_unfinished", "Recordings that run or are being composed.", unfinished.count())
    waiting = "Since the class of the recording that waits longest for its composition."
    yield _gauge("recording_oldest_unfinished_seconds", waiting, unfinished_since())
    recent = Recording.objects.filter(stopped_at__gte=timezone.now() - GAPS_OF)
    gap = recent.aggregate(longest=Max("gap"))["longest"] or 0.0
    yield _gauge("recording_gap_seconds", "Longest stretch of a class of the last day that no worker recorded.", gap)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"lectern_{name}", text, value=value)


def register() -> None:
    REGISTRY.register(Lectern())


def count_denials(get_response: Any) -> Any:
    """Middleware: pages and API requests that were answered with 403, by the name of their view."""
    if iscoroutinefunction(get_response):

        async def answer(request: HttpRequest) -> Any:
            return _counted(request, await get_response(request))

        return markcoroutinefunction(answer)
    return lambda request: _counted(request, get_response(request))


count_denials.sync_capable = count_denials.async_capable = True  # type: ignore[attr-defined]  # Django asks for them


def _counted(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if response.status_code == 403:
        match = request.resolver_match  # none, where not even the address was looked at
        DENIED.labels(match.view_name if match else "none").inc()
    return response
