"""A media worker that goes, one that hangs, none at all; a web process that goes; Redis that goes."""

from __future__ import annotations

import asyncio
import time

import pytest
from asgiref.sync import sync_to_async

from meetings.errors import Refused
from meetings.media.controller import media_beside
from meetings.media.hooks import on_media_restart
from meetings.media.placement import Placements
from meetings.media.recording import mark_recording, start_recording, stop_recording
from recordings.models import Recording
from sfu.client import WorkerClient
from sfu.manifest import MANIFEST, TIMELINE, Mark, Started, read_timeline
from sfu.protocol import ClosePeer, GetStats, OpenPeer, OpenRoom, ReleaseRoom
from tests.meetings.media.conftest import DTLS

pytestmark = pytest.mark.django_db(transaction=True)

BACK_WITHIN = 5.0  # seconds: the promise for a worker that is killed


async def until(condition):
    async with asyncio.timeout(15):
        while not (result := condition()):
            await asyncio.sleep(0.02)
    return result


def restarts(person):
    return [frame for frame in person.client.order if frame.get("event") == "media:restart"]


# --- the worker goes -------------------------------------------------------------------------------------------------


async def test_when_a_worker_is_killed_the_room_goes_on_at_another(start_worker, come, media, world):
    workers = {name: await start_worker(name) for name in ("w0", "w1")}
    tina, sam = await come("tina"), await come("sam")
    producer = await tina.produce("camera")
    room = media.rooms[world.room.code]
    first = room.placement
    other = workers["w1" if first.worker_id == "w0" else "w0"]
    killed_at = time.monotonic()
    workers[first.worker_id].kill()
    told = await sam.client.event("media:restart")
    assert time.monotonic() - killed_at < 1.5  # another worker is there: nothing to wait for
    assert (told["epoch"], told["reason"]) == (other.heartbeat().epoch, "worker_lost")
    assert (await tina.client.event("media:restart"))["epoch"] == told["epoch"]
    assert await room.hub.live.producers() == {}
    # Old ids are void, and media are built anew at once.
    assert await tina.ask("produce:resume", producer_id=producer) == "not_found"
    assert (
        await tina.ask("transport:connect", transport_id=tina.transports["send"], dtls_parameters=DTLS) == "not_found"
    )
    tina.transports, sam.transports = {}, {}
    again = await tina.produce("camera")
    await sam.client.event("new-producer", producer_id=again)
    assert (await sam.consume(again))["producer_id"] == again
    assert len(restarts(sam)) == len(restarts(tina)) == 1


async def test_the_only_worker_is_killed_and_its_next_start_takes_the_room(worker, come):
    sam = await come("sam")
    await sam.produce("microphone")
    old = worker.heartbeat().epoch
    worker.kill()
    assert await sam.ask("transport:create", direction="send") == "media_unavailable"
    assert await sam.client.do("chat:history", {"limit": 1})  # the class goes on without media
    worker.start()
    beat = await worker.up(not_epoch=old)
    began = time.monotonic()
    told = await sam.client.event("media:restart")
    assert time.monotonic() - began < BACK_WITHIN / 2
    assert told["epoch"] == beat.epoch != old
    sam.transports = {}
    assert await sam.produce("microphone")


async def test_all_processes_move_together_and_every_client_is_told_once(start_worker, come, another_web, media, world):
    workers = {name: await start_worker(name) for name in ("w0", "w1")}
    tina, sam = await come("tina"), await come("sam", by=another_web)
    here, there = media.rooms[world.room.code], media_beside(another_web).rooms[world.room.code]
    assert here.placement == there.placement
    workers[here.placement.worker_id].kill()
    for person in (tina, sam):
        await person.client.event("media:restart")
    await until(lambda: here.placement == there.placement and here.client and there.client)
    tina.transports, sam.transports = {}, {}
    producer = await tina.produce("microphone")
    await sam.client.event("new-producer", producer_id=producer)
    assert (await sam.consume(producer))["kind"] == "audio"
    [one], [other] = restarts(tina), restarts(sam)
    assert one == other  # the same number: one event


async def test_a_worker_that_is_asked_to_end_hands_its_rooms_on(start_worker, come, media, world):
    workers = {name: await start_worker(name) for name in ("w0", "w1")}
    sam = await come("sam")
    first = media.rooms[world.room.code].placement
    workers[first.worker_id].end()
    told = await sam.client.event("media:restart")
    assert told["epoch"] != first.epoch
    sam.transports = {}
    assert await sam.produce("microphone")


async def test_a_worker_that_hangs_is_gone_when_its_heartbeat_is(start_worker, come, media, world):
    workers = {name: await start_worker(name) for name in ("w0", "w1")}
    sam = await come("sam")
    placement = media.rooms[world.room.code].placement
    media._trusted_from = 0.0  # Redis has been there for long
    workers[placement.worker_id].freeze()
    began = time.monotonic()
    async with asyncio.timeout(10):
        await wait_for_restart(sam)
    assert time.monotonic() - began < 7  # 4 s until the heartbeat expires, 1 s until it is looked for
    assert media.rooms[world.room.code].placement.worker_id != placement.worker_id


async def wait_for_restart(person):
    while not restarts(person):
        await person.client._hear(10)


async def test_a_mute_that_cannot_reach_the_worker_is_not_acknowledged(worker, come):
    tina, sam = await come("tina"), await come("sam")
    await sam.produce("microphone")
    worker.freeze()
    ack = await asyncio.wait_for(ask_patiently(tina, "participant:mute", participant_id=sam.id, kind="audio"), 12)
    assert ack["error"]["code"] == "media_unavailable"


async def ask_patiently(person, event, **data):
    request = await person.client.send(event, data)
    while request not in person.client.acks:
        await person.client._hear(12)
    return person.client.acks[request]


async def test_a_control_connection_that_breaks_alone_disturbs_nobody(worker, come, media, world):
    tina, sam = await come("tina"), await come("sam")
    producer = await tina.produce("microphone")
    room = media.rooms[world.room.code]
    broken = room.client
    broken._transport.abort()
    await until(lambda: room.client is not broken and room.client is not None and not room.client.closed)
    assert await tina.ask("produce:pause", producer_id=producer) == "ok"
    assert (await sam.consume(producer))["producer_paused"] is True
    assert await sam.client.quiet("media:restart")


# --- no worker -------------------------------------------------------------------------------------------------------


async def test_without_a_worker_a_class_is_joined_all_the_same_and_media_come_later(make_worker, come):
    tina, sam = await come("tina"), await come("sam")
    for person in (tina, sam):
        assert person.answer["rtp_capabilities"] is None
        assert person.answer["media"] == {"epoch": None, "transports": [], "producers": [], "consumers": []}
    assert await sam.ask("transport:create", direction="send") == "media_unavailable"
    beat = await make_worker().start().up()
    for person in (tina, sam):
        told = await person.client.event("media:restart")
        assert (told["epoch"], told["reason"]) == (beat.epoch, "no_worker")
        assert told["rtp_capabilities"]["codecs"]
        assert await person.produce("microphone")


async def test_who_joins_a_room_on_a_frozen_worker_is_in_within_seconds(start_worker, come, media, world):
    workers = {name: await start_worker(name) for name in ("w0", "w1")}
    await come("tina")
    workers[media.rooms[world.room.code].placement.worker_id].freeze()
    began = time.monotonic()
    sam = await come("sam")
    assert time.monotonic() - began < 4
    assert sam.answer["rtp_capabilities"] is None
    async with asyncio.timeout(15):
        await wait_for_restart(sam)
    assert await sam.transport("send")


# --- a web process goes ----------------------------------------------------------------------------------------------


async def test_when_a_web_process_dies_another_takes_its_peers_over(worker, come, enter, another_web, media, world):
    tina = await come("tina")
    sam = await come("sam", by=another_web)
    microphone = await sam.produce("microphone")
    consumer = (await sam.consume(await tina.produce("camera")))["consumer_id"]
    # As kill -9 does: the control connection ends, nobody says goodbye.
    dead = media_beside(another_web)
    room = dead.rooms[world.room.code]
    room.peers = {}
    await dead.pool.close()
    back = await enter("sam")
    answer = await back.join(session=sam.answer["session"], last_seq=sam.answer["last_seq"])
    assert answer["media"]["epoch"] == sam.answer["media"]["epoch"]
    assert {(t["transport_id"], t["direction"]) for t in answer["media"]["transports"]} == {
        (transport, direction) for direction, transport in sam.transports.items()
    }
    assert answer["media"]["producers"] == [
        {"producer_id": microphone, "kind": "audio", "source": "microphone", "paused": False}
    ]
    assert [one["consumer_id"] for one in answer["media"]["consumers"]] == [consumer]
    # They are this socket's own now.
    await back.do("produce:pause", {"producer_id": microphone})
    await tina.client.event("producer:paused", producer_id=microphone)
    await back.do("consumer:resume", {"consumer_id": consumer})
    await back.do("transport:restart_ice", {"transport_id": sam.transports["send"]})
    assert await tina.client.quiet("producer:closed")


async def test_a_socket_that_breaks_leaves_the_media_alive_for_its_return(worker, come, enter, world):
    tina, sam = await come("tina"), await come("sam")
    microphone = await sam.produce("microphone")
    await sam.client.close()
    back = await enter("sam")
    answer = await back.join(session=sam.answer["session"], last_seq=sam.answer["last_seq"])
    assert [one["producer_id"] for one in answer["media"]["producers"]] == [microphone]
    await back.do("produce:close", {"producer_id": microphone})
    await tina.client.event("producer:closed", producer_id=microphone)


async def test_a_page_that_was_reloaded_begins_anew_and_its_old_tracks_end(worker, come, enter):
    tina, sam = await come("tina"), await come("sam")
    microphone = await sam.produce("microphone")
    again = await come("sam")  # without the session: another tab, or the same one reloaded
    assert await sam.client.until_closed() == 4009
    assert again.answer["media"]["producers"] == []
    assert (await tina.client.event("producer:closed"))["producer_id"] == microphone
    assert await again.produce("microphone")
    assert await again.ask("produce:pause", producer_id=microphone) == "not_found"


async def test_another_tab_in_another_process_is_not_ended_by_the_first_one_going(worker, come, another_web):
    sam = await come("sam")
    again = await come("sam", by=another_web)
    microphone = await again.produce("microphone")
    assert await sam.client.until_closed() == 4009
    await sam.client.close()
    assert await again.ask("produce:pause", producer_id=microphone) == "ok"


# --- recordings ------------------------------------------------------------------------------------------------------


async def test_a_recording_goes_on_under_the_same_id_on_the_next_worker(start_worker, come, media, world, tmp_path):
    workers = {name: await start_worker(name) for name in ("w0", "w1")}
    told = []

    async def hear(code, epoch):
        told.append((code, epoch))

    on_media_restart(hear)
    code = world.room.code
    sam = await come("sam")
    await sync_to_async(Recording.objects.create)(room=world.room, public_id="rec-1")
    await start_recording(code, "rec-1")
    assert (await media.rooms[code].hub.live.recording())["recording_id"] == "rec-1"
    latecomer = await come("sue")
    assert latecomer.answer["recording"]["recording_id"] == "rec-1"
    folder = tmp_path / "recordings" / "rec-1"
    await until(lambda: (folder / TIMELINE).exists() and read_timeline(folder))
    workers[media.rooms[code].placement.worker_id].kill()
    restarted = await sam.client.event("media:restart")
    await until(lambda: told)
    on_media_restart.functions.remove(hear)
    assert told == [(code, restarted["epoch"])]
    assert await stop_recording(code, "rec-1") is True
    assert (folder / MANIFEST).exists()
    epochs = [entry.epoch for entry in read_timeline(folder) if isinstance(entry, Started)]
    assert epochs == [sam.answer["media"]["epoch"], restarted["epoch"]]
    assert await media.rooms[code].hub.live.recording() is None


async def test_a_recording_that_was_stopped_is_not_begun_again(start_worker, come, media, world, tmp_path):
    workers = {name: await start_worker(name) for name in ("w0", "w1")}
    code = world.room.code
    sam = await come("sam")
    await start_recording(code, "rec-1")
    assert await stop_recording(code, "rec-1") is True
    workers[media.rooms[code].placement.worker_id].kill()
    await sam.client.event("media:restart")
    await sam.transport("send")  # the room is open there, with all that belongs to it
    timeline = read_timeline(tmp_path / "recordings" / "rec-1")
    assert len([entry for entry in timeline if isinstance(entry, Started)]) == 1


async def test_a_recording_without_a_worker_is_refused_or_left_to_the_sweeper(come, media, world):
    await come("tina")
    with pytest.raises(Refused) as refused:
        await start_recording(world.room.code, "rec-1")
    assert refused.value.code == "media_unavailable"
    assert await media.rooms[world.room.code].hub.live.recording() is None
    assert await stop_recording(world.room.code, "rec-1") is False


async def test_one_recording_a_room_and_marks_in_its_timeline(worker, come, media, world, tmp_path):
    await come("tina")
    code = world.room.code
    await start_recording(code, "rec-1")
    with pytest.raises(Refused) as refused:
        await start_recording(code, "rec-2")
    assert refused.value.code == "wrong_state"
    assert (await media.rooms[code].hub.live.recording())["recording_id"] == "rec-1"
    await mark_recording(code, "rec-1", {"chat": "hello"})
    assert await stop_recording(code, "rec-1") is True
    marks = [entry.mark for entry in read_timeline(tmp_path / "recordings" / "rec-1") if isinstance(entry, Mark)]
    assert marks == [{"chat": "hello"}]


# --- one peer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["error", "lease"])
async def test_when_the_worker_closes_a_peer_by_itself_that_browser_alone_comes_again(
    worker, come, enter, media, world, reason
):
    tina, sam = await come("tina"), await come("sam")
    microphone = await sam.produce("microphone")
    room = media.rooms[world.room.code]
    await room.client.request(ClosePeer(room=room.code, peer=sam.id, reason=reason))
    assert await sam.client.until_closed() == 1012
    assert (await tina.client.event("producer:closed"))["producer_id"] == microphone
    back = await enter("sam")
    answer = await back.join(session=sam.answer["session"], last_seq=sam.answer["last_seq"])
    assert answer["media"] == {
        "epoch": sam.answer["media"]["epoch"], "transports": [], "producers": [], "consumers": [],
    }  # fmt: skip
    await back.do("transport:create", {"direction": "send"})


async def test_a_web_process_hears_no_more_of_a_room_that_it_released(worker, settings):
    heard: list[object] = []
    others: list[object] = []
    beat = worker.heartbeat()
    host, _, port = beat.control.rpartition(":")
    secret = settings.SFU_CONTROL_SECRET
    one = await WorkerClient.connect(host, int(port), secret=secret, client="one", on_event=heard.append)
    two = await WorkerClient.connect(host, int(port), secret=secret, client="two", on_event=others.append)
    for client in (one, two):
        await client.request(OpenRoom(room="r"))
    await one.request(ReleaseRoom(room="r"))
    await two.request(OpenPeer(room="r", peer="p"))
    await two.request(ClosePeer(room="r", peer="p"))
    await until(lambda: others)
    await one.request(GetStats(room="r"))  # what was told before this would have come
    assert heard == []
    await one.close()
    await two.close()


# --- Redis -----------------------------------------------------------------------------------------------------------


async def test_media_go_on_and_the_room_stays_where_it_is_when_redis_comes_back_empty(worker, come, media, world):
    sam = await come("sam")
    microphone = await sam.produce("microphone")
    room = media.rooms[world.room.code]
    placement = room.placement
    await Placements(media.placements.redis).forget(world.room.code)
    worker.redis.delete(f"lectern:sfu:worker:{worker.worker_id}")
    assert await sam.client.do("transport:create", {"direction": "recv"})
    await media.look(time.monotonic())
    assert await media.placements.current(world.room.code) == placement == room.placement
    stats = await room.request(GetStats(room=world.room.code, peer=sam.id))
    assert microphone in str(stats)


async def test_who_comes_back_after_redis_lost_all_keeps_the_media_and_the_room_learns_of_them_again(
    worker, come, enter, media, world
):
    tina, sam = await come("tina"), await come("sam")
    microphone = await sam.produce("microphone")
    worker.redis.flushall()
    for person in (tina, sam):
        assert await person.client.until_closed() == 1012
    await until(lambda: worker.heartbeat())
    back = await enter("sam")
    answer = await back.join(session=sam.answer["session"], last_seq=sam.answer["last_seq"])
    assert answer["media"]["epoch"] == sam.answer["media"]["epoch"]
    assert [one["producer_id"] for one in answer["media"]["producers"]] == [microphone]
    again = await come("tina")
    assert (await again.consume(microphone))["producer_paused"] is False
    [student] = [one for one in again.answer["participants"] if one["participant_id"] == sam.id]
    assert student["producers"] == [
        {"producer_id": microphone, "kind": "audio", "source": "microphone", "paused": False}
    ]


async def test_a_room_that_nobody_was_in_forgets_tracks_that_are_gone(worker, come, media, world):
    tina = await come("tina")
    live = media.rooms[world.room.code].hub.live
    await live.set_producer(
        "left-long-ago", {"producer_id": "p-old", "kind": "audio", "source": "microphone", "paused": False}
    )
    media.rooms[world.room.code].client._transport.abort()
    assert (await tina.client.event("producer:closed"))["producer_id"] == "p-old"
    assert await live.producers() == {}
