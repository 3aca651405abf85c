"""When an edge, a home, or what is between them goes: real sockets and control connections, people on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sfu.core import pipe
from sfu.protocol import ConsumerClosed, Home, InvalidRequest, OpenRoom, PeerClosed, ProducerClosed
from tests.sfu.classroom import ssrc_of
from tests.sfu.senders import Vp8Sender, opus_parameters, vp8_parameters
from tests.sfu.spread import ROOM, Spread, begins, sending, spread
from tests.sfu.worker import event
from tests.waiting import until


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Spread]:
    async with spread(tmp_path) as made:
        yield made


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Spread]:
    async with spread(tmp_path, 3) as made:
        yield made


async def test_an_edge_that_goes_takes_only_those_on_it(room):
    tina, ida = await room.join("tina", 0), await room.join("ida", 0, "recv")
    sam = await room.join("sam", 1)
    mine, lost = await tina.produce("camera", vp8_parameters(1)), await sam.produce("camera", vp8_parameters(2))
    voice = await sam.produce("microphone", opus_parameters(4))
    kept, gone = await ida.consume(mine), await ida.consume(lost)
    await room.workers[1].worker.stop()
    assert {(await event(room.events[0], ProducerClosed, producer_id=id)).reason for id in (lost, voice)} == {"lost"}
    await event(room.events[0], ConsumerClosed, consumer_id=gone.consumer_id)
    assert (await room.clients[0].request(OpenRoom(room=ROOM))).producers[0].producer_id == mine
    async with sending(tina, Vp8Sender(1)):
        await begins(ida, ssrc_of(kept))


async def test_an_edge_without_its_home_gives_its_people_up_and_can_be_joined_to_the_next(three):
    sam = await three.join("sam", 1)
    await three.workers[0].worker.stop()
    await event(three.events[1], PeerClosed, peer="sam", reason="home_lost")
    assert ROOM not in three.workers[1].worker.media.routers
    # The room is at home on the third now.
    await three.clients[2].request(OpenRoom(room=ROOM))
    three.workers = three.workers[2:]
    await three.clients[1].request(OpenRoom(room=ROOM, home=three.home))
    sam = await three.join("sam", 1)
    camera = await sam.produce("camera", vp8_parameters(1))
    assert (await three.clients[2].request(OpenRoom(room=ROOM))).producers[0].producer_id == camera


async def test_a_control_connection_that_breaks_alone_closes_the_pipe_on_both_sides(room):
    await room.join("sam", 1)
    edge, home = (worker.worker.control.pipes for worker in room.workers[::-1])
    assert home.rooms[ROOM].ends
    client = home.rooms[ROOM].ends[0].client
    client._transport.abort()
    await event(room.events[1], PeerClosed, peer="sam", reason="home_lost")
    await until(lambda: ROOM not in home.rooms and ROOM not in edge.rooms)
    await room.clients[1].request(OpenRoom(room=ROOM, home=room.home))
    await room.join("sam", 1)
    assert set(home.rooms[ROOM].far_peers) == {"sam"}


@pytest.mark.parametrize(("sends", "watches"), [(0, 1), (1, 0)])
async def test_a_pipe_that_is_used_up_is_followed_by_another(room, monkeypatch, sends, watches):
    monkeypatch.setattr(pipe, "MAX_CROSSINGS", 3)
    tina, sam = await room.join("tina", sends), await room.join("sam", watches)
    cameras = [await tina.produce("camera", vp8_parameters(1000 * number, mid=str(number))) for number in range(1, 4)]
    await sam.consume(cameras[0])
    await sam.consume(cameras[1])
    with pytest.raises(InvalidRequest) as refused:
        await sam.consume(cameras[2])
    assert refused.value.code in ("media_unavailable", "not_found")
    at_edge = "sam" if watches else "tina"
    await event(room.events[1], PeerClosed, peer=at_edge, reason="home_lost")
    for worker in room.workers:
        await until(lambda worker=worker: not worker.worker.media.endpoint.pipes)
    await room.clients[1].request(OpenRoom(room=ROOM, home=room.home))
    again = await room.join(at_edge, 1)
    camera = await (tina if watches else again).produce("camera", vp8_parameters(9000, mid="9"))
    assert (await (again if watches else sam).consume(camera)).producer_id == camera


async def test_an_edge_that_comes_again_before_home_has_missed_it_hears_what_home_tells(room):
    tina = await room.join("tina", 0, "send")
    microphone = await tina.produce("microphone", opus_parameters(2222))
    edge = room.workers[1].worker.control.pipes
    edge._lose(ROOM, edge.rooms[ROOM].home)
    await room.clients[1].request(OpenRoom(room=ROOM, home=room.home))
    sam = await room.join("sam", 1, "recv")
    await sam.consume(microphone)
    await until(lambda: len(room.workers[0].worker.control._connections) == 2)  # the one before is hung up
    await tina.pause(microphone)
    assert room.workers[1].worker.media.routers[ROOM].producers[microphone].paused


async def test_without_its_home_no_edge_is_opened_and_nobody_loses_anything(room):
    sam = await room.join("sam", 1)
    nowhere = room.home
    nowhere.epoch = "another"
    with pytest.raises(InvalidRequest) as refused:
        await room.clients[1].request(OpenRoom(room=ROOM, home=nowhere))
    assert refused.value.code == "media_unavailable"
    assert await sam.produce("camera", vp8_parameters(1))


async def test_a_home_that_hangs_keeps_no_other_room_from_its_edge(room):
    asked = asyncio.Event()
    async with await asyncio.start_server(lambda reader, writer: asked.set(), "127.0.0.1", 0) as hanging:
        home = Home(control=f"127.0.0.1:{hanging.sockets[0].getsockname()[1]}", epoch="hanging")
        waits = asyncio.create_task(room.clients[1].request(OpenRoom(room="hung", home=home)))
        await asked.wait()
        await room.clients[0].request(OpenRoom(room="another"))
        await room.clients[1].request(OpenRoom(room="another", home=room.home), timeout=1.0)
        with pytest.raises(InvalidRequest):
            await waits
