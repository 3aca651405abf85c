"""A room on several workers: real sockets and control connections, people on each of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sfu.core.router import LARGE_ROOM, LOUDEST
from sfu.core.rtcp import Nack
from sfu.core.rtp import build_rtp, parse_rtp
from sfu.manifest import Joined, Left, TrackStarted
from sfu.protocol import (
    CloseConsumer,
    ClosePeer,
    CloseProducer,
    CloseRoom,
    ConsumerClosed,
    CreateConsumer,
    InvalidRequest,
    OpenPeer,
    OpenRoom,
    PauseProducer,
    PauseRecording,
    PeerClosed,
    ProducerClosed,
    RecordPeer,
    ResumeConsumer,
    ResumeRecording,
    SpeakersChanged,
    StartRecording,
    StopRecording,
)
from sfu.worker import spread_room
from sfu.worker.pipe_messages import Bring, OpenPipe
from tests.sfu.classroom import ssrc_of
from tests.sfu.senders import OpusSender, Vp8Sender, opus_parameters, simulcast_parameters, vp8_parameters
from tests.sfu.spread import ROOM, Spread, begins, of, sending, spread
from tests.sfu.voices import SPEECH
from tests.sfu.worker import entries, event, payloads, read_log
from tests.waiting import until


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Spread]:
    async with spread(tmp_path) as made:
        yield made


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Spread]:
    async with spread(tmp_path, 3) as made:
        yield made


# --- what crosses ----------------------------------------------------------------------------------------------------


async def test_a_picture_crosses_once_however_many_watch_it(room):
    tina = await room.join("tina", 0)
    camera = await tina.produce("camera", vp8_parameters(1111))
    here = await room.join("ida", 0)
    there = [await room.join(name, 1, "recv") for name in ("sam", "olga", "pia")]
    for member in (here, *there):
        await member.consume(camera)
    sender = Vp8Sender(1111)
    for number in range(20):
        for packet in sender.frame(2, key=number == 0):
            tina.up.send_rtp(packet)
        await asyncio.sleep(0.005)
    for member in (here, *there):
        assert len(await member.down.packets(40)) == 40
    assert room.piped(0) == 40


async def test_from_one_edge_to_another_it_goes_by_way_of_home_once(three):
    tina = await three.join("tina", 1)
    camera = await tina.produce("camera", vp8_parameters(1111))
    watchers = [await three.join(f"watcher-{number}", 2, "recv") for number in range(3)]
    for watcher in watchers:
        await watcher.consume(camera)
    async with sending(tina, Vp8Sender(1111)):
        for watcher in watchers:
            await watcher.down.packets(20)
    assert three.piped(2) == 0
    await until(lambda: abs(three.piped(0) - three.piped(1)) <= 2)  # nobody at home watches


async def test_who_joins_at_an_edge_has_a_picture_within_a_second(room):
    tina = await room.join("tina", 0)
    camera = await tina.produce("camera", vp8_parameters(1111))
    async with sending(tina, Vp8Sender(1111)):
        waited = []
        for number in range(4):
            watcher = await room.join(f"watcher-{number}", 1, "recv")
            began = time.monotonic()
            consumer = await watcher.consume(camera)
            await begins(watcher, ssrc_of(consumer))
            waited.append(time.monotonic() - began)
    assert max(waited) < 1.0


async def test_a_layer_crosses_while_somebody_there_watches_it_and_he_can_change_it(room):
    tina = await room.join("tina", 0)
    camera = await tina.produce("camera", simulcast_parameters())
    layers = [Vp8Sender(100 * (i + 1), rid=rid, size=(100, 400, 1000)[i]) for i, rid in enumerate("qhf")]
    async with sending(tina, *layers):
        sam = await room.join("sam", 1, "recv")
        consumer = await sam.consume(camera, resume=False)
        await sam.prefer(consumer, 160)
        await sam.ask(ResumeConsumer, consumer_id=consumer.consumer_id)
        await begins(sam, ssrc_of(consumer))
        pipe = next(iter(room.workers[0].worker.control.pipes.rooms[ROOM].ends)).pipe
        crossings = pipe.outgoing[camera].crossings
        crossing = lambda: [bool(crossing.stream.crossings) for crossing in crossings]  # noqa: E731
        assert crossing() == [True, False, False]
        await sam.prefer(consumer, 1280)
        await until(lambda: len(of(sam, ssrc_of(consumer))[-1]) > 900, within=6)
        await until(lambda: crossing() == [False, False, True])
        await sam.prefer(consumer, 160)
        await until(lambda: len(of(sam, ssrc_of(consumer))[-1]) < 300, within=6)
    numbers = sorted({parse_rtp(packet).sequence_number for packet in of(sam, ssrc_of(consumer))})
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    assert steps.count(2) <= 2
    assert set(steps) <= {1, 2}


async def test_what_the_pipe_loses_is_mended_between_the_workers(room):
    tina = await room.join("tina", 0)
    camera = await tina.produce("camera", vp8_parameters(1111))
    sam = await room.join("sam", 1, "recv")
    consumer = await sam.consume(camera)
    endpoint = room.workers[1].worker.media.endpoint
    receive, chance = endpoint._receive_piped, random.Random(1)

    def lossy(view: memoryview, *arguments: Any) -> None:
        if 192 <= view[1] <= 223 or chance.random() > 0.1:
            receive(view, *arguments)

    endpoint._receive_piped = lossy
    asked_of_sender = []
    async with sending(tina, Vp8Sender(1111)):
        await begins(sam, ssrc_of(consumer))
        sam.down.rtp.clear()
        await sam.down.packets(200)
        asked_of_sender += [one for one in tina.up.rtcp if isinstance(one, Nack)]
        endpoint._receive_piped = receive
        await asyncio.sleep(0.3)
    numbers = [parse_rtp(packet).sequence_number for packet in of(sam, ssrc_of(consumer))]
    assert len(set(numbers)) == max(numbers) - min(numbers) + 1
    assert not asked_of_sender
    assert room.workers[1].worker.media.agenda.counters.nacks_sent > 5


async def test_what_nobody_wants_any_more_is_not_piped(room, monkeypatch):
    monkeypatch.setattr(spread_room, "IDLE", 0.1)
    tina = await room.join("tina", 0)
    camera = await tina.produce("camera", vp8_parameters(1111))
    sam = await room.join("sam", 1, "recv")
    consumer = await sam.consume(camera)
    producer = room.workers[0].worker.media.routers[ROOM].producers[camera]
    assert producer.pipe_consumers
    await sam.ask(CloseConsumer, consumer_id=consumer.consumer_id)
    await until(lambda: not producer.pipe_consumers)
    assert camera not in room.workers[1].worker.media.routers[ROOM].producers
    assert not [one for told in room.events for one in told if isinstance(one, ProducerClosed)]
    again = await sam.consume(camera)
    async with sending(tina, Vp8Sender(1111)):
        await begins(sam, ssrc_of(again))


# --- what is asked ---------------------------------------------------------------------------------------------------


async def test_a_mute_is_answered_when_nothing_of_it_leaves_any_worker(three):
    tina = await three.join("tina", 1)
    microphone = await tina.produce("microphone", opus_parameters(2222))
    listeners = [await three.join(f"listener-{worker}", worker, "recv") for worker in range(3)]
    for listener in listeners:
        await listener.consume(microphone)
    async with sending(tina, OpusSender(2222, level=SPEECH)):
        for listener in listeners:
            await listener.down.packets(3)
        # A host's, whose web process knows the room's home alone.
        await three.clients[0].request(PauseProducer(room=ROOM, peer="tina", producer_id=microphone))
        await asyncio.sleep(0)
        for worker in three.workers:
            assert worker.worker.media.routers[ROOM].producers[microphone].paused
        sent = [worker.worker.media.endpoint.egress.packets for worker in three.workers]
        await asyncio.sleep(0.2)
        assert [worker.worker.media.endpoint.egress.packets for worker in three.workers] == sent
        await tina.resume(microphone)
        for listener in listeners:
            listener.down.rtp.clear()
            await listener.down.packets(3)
    assert (await listeners[0].consume(microphone)).producer_paused is False
    await tina.pause(microphone)
    assert (await listeners[2].consume(microphone)).producer_paused is True


async def test_a_host_mutes_and_removes_somebody_who_was_at_home_before_he_came_to_the_edge(room):
    await room.clients[0].request(OpenPeer(room=ROOM, peer="tina", name="Tina"))  # its lease still runs
    tina = await room.join("tina", 1)
    microphone = await tina.produce("microphone", opus_parameters(2222))
    await room.clients[0].request(PauseProducer(room=ROOM, peer="tina", producer_id=microphone))
    routers = [worker.worker.media.routers[ROOM] for worker in room.workers]
    assert routers[1].producers[microphone].paused
    await room.clients[0].request(ClosePeer(room=ROOM, peer="tina", reason="removed"))
    for router in routers:
        assert "tina" not in router.peers
    await event(room.events[0], ProducerClosed, producer_id=microphone)


async def test_home_knows_what_those_on_edges_send_and_when_it_ends(room):
    tina = await room.join("tina", 1)
    camera = await tina.produce("camera", vp8_parameters(1111))
    state = await room.clients[0].request(OpenRoom(room=ROOM))
    assert [(one.producer_id, one.peer, one.paused) for one in state.producers] == [(camera, "tina", False)]
    await tina.ask(CloseProducer, producer_id=camera)
    assert (await event(room.events[0], ProducerClosed, producer_id=camera)).peer == "tina"
    assert (await room.clients[0].request(OpenRoom(room=ROOM))).producers == []


async def test_when_a_producer_ends_its_consumers_end_on_all_workers(three):
    tina = await three.join("tina", 1)
    camera = await tina.produce("camera", vp8_parameters(1111))
    watchers = [await three.join(f"watcher-{worker}", worker, "recv") for worker in range(3)]
    made = [await watcher.consume(camera) for watcher in watchers]
    await three.clients[0].request(ClosePeer(room=ROOM, peer="tina", reason="removed"))  # passed on by home
    for told, consumer in zip(three.events, made, strict=True):
        await event(told, ConsumerClosed, consumer_id=consumer.consumer_id)


async def test_a_producer_that_nobody_has_is_not_found_from_anywhere(room):
    for on in (0, 1):
        sam = await room.join(f"sam-{on}", on, "recv")
        with pytest.raises(InvalidRequest) as refused:
            await sam.consume("no-such-producer")
        assert refused.value.code == "not_found"


async def test_the_end_of_the_class_closes_the_room_everywhere(room):
    await room.join("tina", 0, "send")
    await room.join("sam", 1, "recv")
    await room.clients[0].request(CloseRoom(room=ROOM))
    await event(room.events[1], PeerClosed, peer="sam", reason="room_closed")
    for worker in room.workers:
        assert ROOM not in worker.worker.media.routers
        assert not worker.worker.media.endpoint.pipes
        assert not worker.worker.control.pipes.rooms
    for worker in room.workers:  # the workers hang up: they have no other room together
        await until(lambda worker=worker: len(worker.worker.control._connections) == 1)


# --- voices and recordings -------------------------------------------------------------------------------------------


async def test_who_speaks_is_told_by_home_for_all_workers(room):
    tina, sam = await room.join("tina", 0), await room.join("sam", 1)
    for member, ssrc in ((tina, 1), (sam, 2)):
        await member.produce("microphone", opus_parameters(ssrc))
    async with sending(sam, OpusSender(2, level=SPEECH)):
        told = await event(room.events[0], SpeakersChanged, speaker="sam")
    assert set(told.levels) == {"sam"}
    assert not [one for one in room.events[1] if isinstance(one, SpeakersChanged)]


async def test_in_a_large_room_the_same_five_are_heard_on_all_workers(room):
    for number in range(LARGE_ROOM):
        await room.clients[number % 2].request(OpenPeer(room=ROOM, peer=f"quiet-{number}"))
    people = [await room.join(f"speaker-{number}", number % 2) for number in range(7)]
    voices = [await person.produce("microphone", opus_parameters(n + 1)) for n, person in enumerate(people)]
    listeners = [await room.join(f"listener-{worker}", worker, "recv") for worker in (0, 1)]
    names = [{ssrc_of(await listener.consume(voice)): voice for voice in voices} for listener in listeners]

    def heard(worker: int, last: int = 0) -> set[str]:
        return {names[worker][parse_rtp(packet).ssrc] for packet in listeners[worker].down.rtp[-last:]}

    async with contextlib.AsyncExitStack() as stack:
        for n, person in enumerate(people):
            await stack.enter_async_context(sending(person, OpusSender(n + 1, level=SPEECH)))
        await until(lambda: len(heard(0, last=20)) == LOUDEST and heard(0, last=20) == heard(1, last=20))
        for listener in listeners:
            listener.down.rtp.clear()
        for listener in listeners:
            await listener.down.packets(200)
        assert len(heard(0)) == LOUDEST
        assert heard(0) == heard(1)
    limits = [worker.worker.media.routers[ROOM].speakers.limit for worker in room.workers]
    assert limits == [LOUDEST, LOUDEST]


async def test_the_recording_has_those_on_edges(room):
    await room.clients[0].request(StartRecording(room=ROOM, recording="rec"))
    tina = await room.join("tina", 1, "send")
    microphone = await tina.produce("microphone", opus_parameters(2222))
    camera = await tina.produce("camera", vp8_parameters(1111))
    late = await room.join("late", 1, "send")
    folder = room.workers[0].recordings / "rec"
    voice = OpusSender(2222, level=127)  # heard or not

    def written(producer: str, count: int) -> bool:
        return any(len(read_log(log)) >= count for log in folder.glob(f"{producer}.*.rtpdump"))

    async with sending(tina, voice, Vp8Sender(1111)):
        await until(lambda: written(microphone, 20) and written(camera, 20), within=8)
    await late.ask(ClosePeer, reason="left")
    await until(lambda: entries(folder, Left))
    await room.clients[0].request(StopRecording(room=ROOM, recording="rec"))
    [log] = folder.glob(f"{microphone}.*.rtpdump")
    heard = payloads(packet.data for packet in read_log(log) if not packet.is_rtcp)
    assert all(b == (int.from_bytes(a[:2], "big") + 1).to_bytes(2, "big") * 40 for a, b in itertools.pairwise(heard))
    assert {(one.peer, one.name) for one in entries(folder, Joined)} == {("tina", "Tina"), ("late", "Late")}


async def test_of_those_on_edges_only_those_are_recorded_who_may_be_and_nobody_in_a_pause(room, monkeypatch):
    """What home has nobody for is not brought there, or goes again, and comes when it is to be recorded."""
    monkeypatch.setattr(spread_room, "IDLE", 0.1)
    here: dict[str, Any] = {"room": ROOM, "recording": "rec"}
    await room.clients[0].request(StartRecording(**here, peers=["tina"]))
    tina, sam = await room.join("tina", 1, "send"), await room.join("sam", 1, "send")
    ours, his = [await one.produce("camera", vp8_parameters(n)) for n, one in ((1111, tina), (3333, sam))]
    folder = room.workers[0].recordings / "rec"

    def written(producer: str) -> list[int]:
        files = [folder / track.file for track in entries(folder, TrackStarted) if track.producer_id == producer]
        return [len(read_log(file)) if file.exists() and file.stat().st_size else 0 for file in files]

    at_home = room.workers[0].worker.media.routers[ROOM].producers
    async with sending(tina, Vp8Sender(1111)), sending(sam, Vp8Sender(3333)):
        await until(lambda: max(written(ours), default=0) > 20, within=8)
        assert his not in at_home
        await room.clients[0].request(RecordPeer(**here, peer="sam", recorded=True))
        await until(lambda: max(written(his), default=0) > 20, within=8)
        await room.clients[0].request(PauseRecording(**here))
        await until(lambda: not at_home, within=8)
        await room.clients[0].request(ResumeRecording(**here))
        await until(lambda: len(written(ours)) == 2 and written(ours)[1] > 20, within=8)
        before = written(ours)[0], written(his)[0]
        await until(lambda: written(ours)[1] > 40, within=8)
        assert (written(ours)[0], written(his)[0]) == before
    await room.clients[0].request(StopRecording(**here))


# --- bad input -------------------------------------------------------------------------------------------------------


async def test_whoever_is_no_worker_gets_nothing_into_a_pipe(room):
    tina = await room.join("tina", 0)
    camera = await tina.produce("camera", vp8_parameters(1111))
    sam = await room.join("sam", 1, "recv")
    consumer = await sam.consume(camera)
    async with sending(tina, Vp8Sender(1111)):
        await begins(sam, ssrc_of(consumer))
        home, edge = (worker.worker.media for worker in room.workers)
        [crossing] = next(iter(home.agenda.pipes)).outgoing[camera].crossings
        number = crossing.numbering.last_out + 50 & 0xFFFF
        forged = build_rtp(
            payload_type=101, sequence_number=number, timestamp=1, ssrc=crossing.ssrc, payload=bytes(100)
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(forged, ("127.0.0.1", edge.port))
            await until(lambda: edge.dropped["unknown_address"])
        # As from the other worker's own address: here by its own socket.
        for datagram, reason in (
            (forged, "unauthentic"),
            (forged[:8] + bytes(4) + forged[12:], "unknown_pipe"),
            (forged[:11], "malformed"),
            (tina.up.stun_request(), "stun_from_worker"),
        ):
            home.endpoint._udp.sendto(datagram, ("127.0.0.1", edge.port))
            await until(lambda reason=reason: edge.dropped[reason])
        before = len(sam.down.rtp)
        await sam.down.packets(before + 10)


async def test_bad_requests_about_pipes_are_refused(room):
    edge = room.workers[1].worker
    good = {
        "room": ROOM, "control": f"127.0.0.1:{edge.control_port}", "epoch": edge.epoch, "number": 1,
        "address": ("127.0.0.1", 9), "key": "00" * 28,
    }  # fmt: skip
    for bad, code in (
        ({"room": "another"}, "not_found"),
        ({"key": "00"}, "bad_request"),
        ({"number": 0}, "bad_request"),
        ({"control": "nowhere", "epoch": "another"}, "bad_request"),
        ({"epoch": "another"}, "media_unavailable"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await room.clients[0].request(OpenPipe(**{**good, **bad}))
        assert refused.value.code == code
    with pytest.raises(InvalidRequest) as refused:
        await room.clients[0].request(Bring(pipe=4711, producer_id="p"))
    assert refused.value.code == "not_found"
    sam = await room.join("sam", 1, "recv")
    with pytest.raises(InvalidRequest):
        await sam.ask(CreateConsumer, transport_id=sam.made["recv"], producer_id="x", rtp_capabilities={})
