"""A class on several workers, as its people see it: by sockets and web processes, on workers that are killed."""

from __future__ import annotations

import asyncio
import time

import pytest

from meetings.media.controller import media_beside
from meetings.media.recording import stop_recording
from sfu.protocol import CloseRoom, GetStats
from tests.meetings.media.test_recovery import restarts, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def one_to_a_worker(settings):
    settings.SFU_ROOM_PEERS = 1


async def started(make_worker, count):
    """All at once; each has its time to come up."""
    made = {f"w{number}": make_worker(f"w{number}").start() for number in range(count)}
    for worker in made.values():
        await worker.up()
    return made


@pytest.fixture
async def workers(make_worker):
    return await started(make_worker, 2)


@pytest.fixture
async def three(make_worker):
    return await started(make_worker, 3)


def at(media, world, person):
    """The worker that somebody is on."""
    room = media.rooms[world.room.code]
    return (room.peers[person.id].at or room.placement).worker_id


async def test_a_class_that_is_too_large_for_one_worker_is_one_class(three, come, media, world):
    tina, sam, sue = await come("tina"), await come("sam"), await come("sue")
    assert len({at(media, world, person) for person in (tina, sam, sue)}) == 3
    camera, voice = await tina.produce("camera"), await sam.produce("microphone")
    await sue.client.event("new-producer", producer_id=voice)
    for person, producer in ((sam, camera), (sue, camera), (tina, voice), (sue, voice)):
        assert (await person.consume(producer))["producer_id"] == producer
    # A host mutes somebody who is on another worker.
    await tina.client.do("participant:mute", {"participant_id": sam.id, "kind": "audio"})
    await sue.client.event("producer:paused", producer_id=voice)
    assert (await sue.consume(voice))["producer_paused"] is True
    await sam.client.do("produce:close", {"producer_id": voice})
    assert (await sue.client.event("producer:closed"))["producer_id"] == voice
    await tina.client.event("consumer:closed")


async def test_when_an_edge_is_killed_only_those_on_it_begin_anew(workers, come, media, world):
    tina, sam, sue = await come("tina"), await come("sam"), await come("sue")
    camera, lost = await tina.produce("camera"), await sam.produce("camera")
    consumer = await sue.consume(camera)
    killed = at(media, world, sam)
    began = time.monotonic()
    workers[killed].kill()
    told = await sam.client.event("media:restart")
    assert time.monotonic() - began < 2
    assert told["reason"] == "worker_lost"
    assert "seq" not in restarts(sam)[0]  # told to him alone
    assert (await sue.client.event("producer:closed"))["producer_id"] == lost
    assert at(media, world, sam) != killed
    sam.transports = {}
    again = await sam.produce("camera")
    await sue.client.event("new-producer", producer_id=again)
    assert (await sue.consume(again))["producer_id"] == again
    assert (await sam.consume(camera))["producer_id"] == camera
    assert await sue.ask("consumer:resume", consumer_id=consumer["consumer_id"]) == "ok"  # as it was
    assert not restarts(tina)
    assert not restarts(sue)


async def test_when_home_is_killed_the_whole_class_moves_and_is_one_again(three, come, media, world):
    tina, sam, sue = await come("tina"), await come("sam"), await come("sue")
    await sam.produce("camera")
    room = media.rooms[world.room.code]
    three[room.placement.worker_id].kill()
    told = [await person.client.event("media:restart") for person in (tina, sam, sue)]
    assert {one["epoch"] for one in told} == {room.placement.epoch}
    assert await room.hub.live.producers() == {}
    await until(lambda: len({at(media, world, person) for person in (tina, sam, sue)}) == 2)
    for person in (tina, sam, sue):
        person.transports = {}
    camera = await sam.produce("camera")
    for person in (tina, sue):
        await person.client.event("new-producer", producer_id=camera)
        assert (await person.consume(camera))["producer_id"] == camera
    assert [len(restarts(person)) for person in (tina, sam, sue)] == [1, 1, 1]


@pytest.mark.nightly
async def test_an_edge_that_hangs_is_given_up_and_who_comes_meanwhile_sits_elsewhere(three, come, media, world):
    tina, sam = await come("tina"), await come("sam")
    await sam.produce("camera")
    hanging = at(media, world, sam)
    media._trusted_from = 0.0  # Redis has been there for long
    three[hanging].freeze()
    began = time.monotonic()
    sue = await come("sue")
    assert time.monotonic() - began < 2.5
    assert sue.answer["rtp_capabilities"]
    assert at(media, world, sue) != hanging
    async with asyncio.timeout(10):
        await sam.client.event("media:restart")
    assert at(media, world, sam) != hanging
    assert not restarts(tina)


async def test_an_edge_that_is_asked_to_end_hands_its_people_on(workers, come, media, world):
    tina, sam = await come("tina"), await come("sam")
    edge = at(media, world, sam)
    await sam.produce("camera")
    workers[edge].end()
    await sam.client.event("media:restart")
    assert at(media, world, sam) != edge
    sam.transports = {}
    assert await sam.produce("camera")
    assert not restarts(tina)


async def test_a_web_process_that_dies_stops_no_pipe_and_its_people_find_theirs(
    workers, come, enter, another_web, media, world
):
    tina = await come("tina")
    sam = await come("sam", by=another_web)
    camera = await tina.produce("camera")
    microphone = await sam.produce("microphone")
    consumer = (await sam.consume(camera))["consumer_id"]
    dead = media_beside(another_web)
    room = dead.rooms[world.room.code]
    edge = room.peers[sam.id].at
    assert edge is not None
    room.peers = {}
    await dead.pool.close()
    back = await enter("sam")
    answer = await back.join(session=sam.answer["session"], last_seq=sam.answer["last_seq"])
    assert media.rooms[world.room.code].peers[sam.id].at == edge
    assert [one["producer_id"] for one in answer["media"]["producers"]] == [microphone]
    assert [one["consumer_id"] for one in answer["media"]["consumers"]] == [consumer]
    await back.do("consumer:resume", {"consumer_id": consumer})
    await back.do("produce:pause", {"producer_id": microphone})
    await tina.client.event("producer:paused", producer_id=microphone)


async def test_a_connection_to_home_or_edge_that_breaks_alone_disturbs_nobody(workers, come, media, world):
    tina, sam = await come("tina"), await come("sam")
    microphone = await sam.produce("microphone")
    room = media.rooms[world.room.code]
    [(edge, client)] = room.edges.clients.items()
    client._transport.abort()
    await until(lambda: room.edges.clients.get(edge) not in (None, client))
    assert await sam.ask("produce:pause", producer_id=microphone) == "ok"
    home = room.client
    home._transport.abort()
    await until(lambda: room.client not in (None, home) and not room.client.closed)
    assert (await tina.consume(microphone))["producer_paused"] is True
    assert await sam.client.quiet("media:restart")
    assert await tina.client.quiet("producer:closed")
    assert not restarts(tina)


async def test_who_leaves_gives_the_seat_to_the_next(workers, come, media, world):
    await come("tina")
    sam = await come("sam")
    edge = at(media, world, sam)
    await sam.client.do("room:leave", {})
    seats = media.seats
    await until(lambda: sam.id not in media.rooms[world.room.code].peers)
    async with asyncio.timeout(5):
        while len(await seats.counts(world.room.code)) > 1:
            await asyncio.sleep(0.02)
    sue = await come("sue")
    assert at(media, world, sue) == edge


async def test_an_edge_that_lost_the_room_while_nobody_was_there_is_used_again(workers, come, media, world):
    await come("tina")
    sam = await come("sam")
    edge = at(media, world, sam)
    await sam.client.do("room:leave", {})
    room = media.rooms[world.room.code]
    [client] = room.edges.clients.values()
    await client.request(CloseRoom(room=world.room.code))
    sue = await come("sue")
    assert sue.answer["rtp_capabilities"]  # at home, this once
    await sue.client.do("room:leave", {})
    sam = await come("sam")
    assert at(media, world, sam) == edge


async def test_somebody_on_an_edge_is_removed_by_the_host(workers, come, media, world):
    tina, sam = await come("tina"), await come("sam")
    camera = await sam.produce("camera")
    consumed = await tina.consume(camera)
    await tina.client.do("participant:remove", {"participant_id": sam.id})
    assert (await tina.client.event("consumer:closed"))["consumer_id"] == consumed["consumer_id"]
    room = media.rooms[world.room.code]
    assert camera not in str(await room.request(GetStats(room=room.code)))


async def test_a_recording_goes_on_when_home_is_killed_and_has_those_on_edges(workers, come, media, world, tmp_path):
    tina, sam = await come("tina"), await come("sam")
    code = world.room.code
    recording = (await tina.client.do("recording:start"))["recording_id"]
    await sam.client.do("recording:consent", {"recording_id": recording, "accepted": True})
    workers[media.rooms[code].placement.worker_id].kill()
    await sam.client.event("media:restart")
    sam.transports = {}
    microphone = await sam.produce("microphone")
    timeline = tmp_path / "recordings" / recording / "timeline.jsonl"
    await until(lambda: timeline.exists() and microphone in timeline.read_text())
    assert await stop_recording(code, recording) is True
