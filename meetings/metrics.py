"""What this process counts of its classrooms, for `/metrics`. No label names a user, a room or a stream."""

from __future__ import annotations

import logging

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

SOCKETS = Gauge("lectern_ws_connections", "Classroom sockets that are open.")
JOIN_LATENCY = Histogram("lectern_session_join_latency_seconds", "From room:join to its answer.", buckets=SECONDS)
CHAT_DELIVERY = Histogram(
    "lectern_chat_delivery_seconds",
    "From storing a message until it was written to the last socket of the room in this process.",
    buckets=SECONDS,
)
QUALITY_SCORE = Histogram(
    "lectern_quality_score",
    "How good the voices sound that somebody hears, by the E-model (1 to 4.41), in each report of a browser.",
    buckets=(1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.2, 4.3, 4.4),
)
PATHS = Counter(
    "lectern_path_selected",
    "Ways that browsers say their media go: udp, tcp, or by a relay, which we do not see.",
    ["path"],
)
TRACKS = Counter("lectern_track_published", "Tracks that began to be sent.", ["source"])
DENIED = Counter("lectern_authz_denied", "Requests refused for want of permission.", ["action"])
LAYER_OVERFLOW = Counter(
    "lectern_channel_layer_overflow", "Messages that the channel layer dropped: another process did not keep up."
)

OVER_CAPACITY = "%s of %s channels over capacity in group %s"


def watch_channel_layer() -> None:
    """The layer tells nobody of what it drops but its log: counted there, instead of a line for each message."""
    logger = logging.getLogger("channels_redis.core")
    logger.setLevel(logging.INFO)
    logger.addFilter(_is_no_overflow)


def _is_no_overflow(record: logging.LogRecord) -> bool:
    if record.msg != OVER_CAPACITY or not isinstance(record.args, tuple):
        return True
    LAYER_OVERFLOW.inc(int(str(record.args[0])))
    return False
