"""What a web process counts of its classrooms."""

from __future__ import annotations

import asyncio

import pytest
from channels_redis.core import RedisChannelLayer

from meetings import metrics
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


METRICS = (
    metrics.SOCKETS, metrics.JOIN_LATENCY, metrics.CHAT_DELIVERY, metrics.DENIED, metrics.LAYER_OVERFLOW,
    metrics.QUALITY_SCORE, metrics.PATHS,
)  # fmt: skip


def value(name: str, **labels: str) -> float:
    samples = [sample for metric in METRICS for family in metric.collect() for sample in family.samples]
    found = [sample.value for sample in samples if (sample.name, sample.labels) == (f"lectern_{name}", labels)]
    return found[0] if found else 0.0


async def test_sockets_and_joins_are_counted(join, enter):
    sockets, joins = value("ws_connections"), value("session_join_latency_seconds_count")
    tina, sam = await join("tina"), await enter("sam")
    await until(lambda: value("ws_connections") == sockets + 2)
    assert value("session_join_latency_seconds_count") == joins + 1
    for client in (tina, sam):
        await client.close()
    assert value("ws_connections") == sockets


async def test_a_message_is_measured_where_it_is_delivered(join, make_hubs):
    tina, _sam = await join("tina"), await join("sam", by=make_hubs())
    count, seconds = value("chat_delivery_seconds_count"), value("chat_delivery_seconds_sum")
    await tina.do("chat:send", {"message": "hello"})
    await until(lambda: value("chat_delivery_seconds_count") == count + 2)
    assert 0 < value("chat_delivery_seconds_sum") - seconds < 10


async def test_what_is_refused_for_want_of_permission_is_counted_by_what_was_asked(join, world, enter):
    sam = await join("sam")
    before = value("authz_denied_total", action="room:end"), value("authz_denied_total", action="room:enter")
    assert await sam.refused("room:end") == "forbidden"
    assert await sam.refused("chat:send", {"message": ""}) == "bad_request"
    olga = await enter("olga")
    assert await olga.until_closed() == 4003
    after = value("authz_denied_total", action="room:end"), value("authz_denied_total", action="room:enter")
    assert after == (before[0] + 1, before[1] + 1)


async def test_how_good_voices_sound_and_which_way_media_go_is_counted_by_what_browsers_report(join):
    sam = await join("sam")
    score, count = value("quality_score_sum"), value("quality_score_count")
    relayed = value("path_selected_total", path="relay")
    for report in ({"rtt": 40, "jitter": 5, "voice_loss": 0, "path": "udp"}, {"rtt": 40, "path": "relay"}):
        await sam.do("stats:report", report)
    await sam.do("stats:report", {"rtt": 40, "path": "relay"})
    assert value("quality_score_count") == count + 1, "without a voice there is nothing to score"
    assert 4.3 < value("quality_score_sum") - score < 4.5
    assert value("path_selected_total", path="relay") == relayed + 1


async def test_what_the_channel_layer_drops_is_counted_and_not_logged_line_by_line(redis_settings, caplog):
    caplog.set_level("INFO")
    layer = RedisChannelLayer(hosts=[redis_settings], capacity=1)
    before = value("channel_layer_overflow_total")
    await layer.group_add("room.x", await layer.new_channel())
    for _ in range(3):
        await layer.group_send("room.x", {"type": "room"})
    assert value("channel_layer_overflow_total") == before + 2
    assert "over capacity" not in caplog.text
    await asyncio.wait_for(layer.close_pools(), 5)
