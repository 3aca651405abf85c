"""`/metrics`: what this web process counts, and what the media workers' heartbeats and the database tell of the whole.

Names follow LiveKit's shape with `lectern_` before them. No label names a user, a room or a stream.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import redis
from django.conf import settings
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

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


# (name, help, the counter in `Heartbeat.counters`)
WORKER_COUNTERS = (
    ("packet", "Media packets sent to receivers.", "packets_forwarded"),
    ("packet_bytes", "Bytes of those packets.", "bytes_forwarded"),
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


def worker_metrics(beats: list[Heartbeat]) -> Iterable[Metric]:
    load = GaugeMetricFamily("lectern_sfu_load", "Share of one core that a media worker uses.", labels=["worker"])
    peers = GaugeMetricFamily("lectern_sfu_peers", "Peers of a media worker.", labels=["worker"])
    for beat in beats:
        load.add_metric([beat.worker_id], beat.load)
        peers.add_metric([beat.worker_id], beat.peers)
    yield from (load, peers)
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
