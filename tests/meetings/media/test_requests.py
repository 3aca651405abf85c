"""Transports, producers and consumers by the classroom's socket: who may, whose they are, what the room hears."""

from __future__ import annotations

import pytest

from meetings import metrics
from meetings.media import messages as m
from meetings.permissions import ROLES, SOURCE_NEEDS, may
from tests.meetings.media.conftest import DTLS, SOURCES, WorkerProcess, rtp_parameters
from tests.meetings.world import World

pytestmark = pytest.mark.django_db(transaction=True)

ALLOWED = [(role, source) for role in ROLES for source in SOURCES if may(role, SOURCE_NEEDS[source], {}, {})]
FORBIDDEN = [(role, source) for role in ROLES for source in SOURCES if not may(role, SOURCE_NEEDS[source], {}, {})]


@pytest.fixture
def worker(steady_worker: WorkerProcess) -> WorkerProcess:
    return steady_worker


# --- joining ---------------------------------------------------------------------------------------------------------


async def test_a_join_brings_capabilities_and_an_epoch_and_nothing_is_alive_yet(worker, come):
    sam = await come("sam")
    assert {codec["mimeType"] for codec in sam.capabilities["codecs"]} >= {"audio/opus", "video/VP8"}
    assert sam.answer["media"] == {
        "epoch": worker.heartbeat().epoch, "transports": [], "producers": [], "consumers": [],
    }  # fmt: skip


async def test_ice_servers_are_told_with_credentials_of_ones_own(worker, come, settings):
    settings.TURN_URLS, settings.TURN_SECRET = ["turn:turn.example.org"], "shared"
    sam = await come("sam")
    [server] = sam.answer["ice_servers"]
    assert server["username"].endswith(f":{sam.id}")
    made = await sam.client.do("transport:create", {"direction": "send"})
    assert made["ice_servers"][0]["urls"] == ["turn:turn.example.org"]


async def test_a_latecomer_learns_the_producers_from_the_list_of_participants(worker, come):
    tina = await come("tina")
    producer = await tina.produce("camera", paused=True)
    sam = await come("sam")
    [teacher] = [person for person in sam.answer["participants"] if person["participant_id"] == tina.id]
    assert teacher["producers"] == [{"producer_id": producer, "kind": "video", "source": "camera", "paused": True}]


async def test_what_the_worker_counts_is_told_of_ones_own_alone(worker, come):
    tina, sam = await come("tina"), await come("sam")
    camera = await tina.produce("camera")
    await tina.produce("microphone")
    consumer = await sam.consume(camera)
    stats = await sam.client.do("stats:get")
    assert [(one["direction"], one["peer"], one["estimate"]) for one in stats["transports"]] == [("recv", sam.id, None)]
    assert [one["consumer_id"] for one in stats["consumers"]] == [consumer["consumer_id"]]
    assert stats["producers"] == []
    assert await sam.ask("stats:get", participant_id=tina.id) == "bad_request"
    theirs = await tina.client.do("stats:get")
    assert {one["source"] for one in theirs["producers"]} == {"camera", "microphone"}
    assert theirs["consumers"] == []


# --- every role ------------------------------------------------------------------------------------------------------


async def test_a_track_that_began_is_counted_by_its_source(worker, come):
    def published() -> float:
        return float(metrics.TRACKS.labels("camera")._value.get())

    sam, before = await come("sam"), published()
    await sam.produce("camera")
    assert await sam.ask("produce", **await sam.produce_request("camera")) == "wrong_state"
    assert published() == before + 1


@pytest.mark.parametrize("role", ROLES)
async def test_whoever_is_in_may_receive(worker, come, come_as, role):
    speaker = await come("staff")
    producer = await speaker.produce("microphone")
    person = await come_as(role)
    made = await person.client.do("transport:create", {"direction": "recv"})
    assert made["ice_parameters"]["iceLite"] is True
    assert made["ice_candidates"]
    transport = person.transports["recv"] = made["transport_id"]
    assert await person.ask("transport:connect", transport_id=transport, dtls_parameters=DTLS) == "ok"
    restarted = await person.client.do("transport:restart_ice", {"transport_id": transport})
    assert restarted["ice_parameters"]["usernameFragment"] != made["ice_parameters"]["usernameFragment"]
    consumer = await person.consume(producer)
    assert consumer["producer_id"] == producer
    assert (consumer["kind"], consumer["type"], consumer["producer_paused"]) == ("audio", "simple", False)
    for event in ("consumer:resume", "consumer:pause", "consumer:prefer", "consumer:close"):
        assert await person.ask(event, consumer_id=consumer["consumer_id"]) == "ok", event
    assert await person.ask("consumer:resume", consumer_id=consumer["consumer_id"]) == "not_found"


@pytest.mark.parametrize(("role", "source"), ALLOWED)
async def test_a_role_sends_what_the_table_allows(worker, come, come_as, role, source):
    witness = await come("staff")
    person = await come_as(role)
    producer = await person.produce(source)
    assert await witness.client.event("new-producer") == {
        "producer_id": producer, "participant_id": person.id, "kind": SOURCES[source], "source": source,
        "paused": False,
    }  # fmt: skip
    for event, heard in (
        ("produce:pause", "producer:paused"),
        ("produce:resume", "producer:resumed"),
        ("produce:close", "producer:closed"),
    ):
        assert await person.ask(event, producer_id=producer) == "ok"
        told = await witness.client.event(heard)
        assert (told["producer_id"], told["participant_id"]) == (producer, person.id)
    numbered = [frame for frame in witness.client.order if frame.get("event", "").startswith(("producer:", "new-p"))]
    assert len(numbered) == 4
    assert all("seq" in frame for frame in numbered)


@pytest.mark.parametrize(("role", "source"), FORBIDDEN)
async def test_a_role_sends_nothing_that_the_table_forbids(worker, come_as, role, source, media, world):
    person = await come_as(role)
    assert await person.ask("produce", **await person.produce_request(source)) == "forbidden"
    assert await person.ask("produce", **await person.produce_request(source, paused=True)) == "forbidden"
    assert await media.rooms[world.room.code].hub.live.producers() == {}


async def test_nobody_has_media_before_joining(worker, enter):
    client = await enter("tina")
    for event, data in (
        ("transport:create", {"direction": "send"}),
        ("produce:close", {"producer_id": "x"}),
        ("consumer:resume", {"consumer_id": "x"}),
    ):
        assert await client.refused(event, data) == "wrong_state"


# --- whose is it? ----------------------------------------------------------------------------------------------------


async def test_what_belongs_to_another_is_not_found_whatever_the_role(worker, come):
    sam, tina = await come("sam"), await come("tina")
    microphone = await sam.produce("microphone")
    voice = await tina.produce("microphone")
    consumer = (await sam.consume(voice))["consumer_id"]
    for event in ("produce:close", "produce:pause", "produce:resume"):
        assert await tina.ask(event, producer_id=microphone) == "not_found", event
    for event in ("consumer:resume", "consumer:pause", "consumer:close", "consumer:prefer"):
        assert await tina.ask(event, consumer_id=consumer) == "not_found", event
    transport = sam.transports["send"]
    assert await tina.ask("transport:connect", transport_id=transport, dtls_parameters=DTLS) == "not_found"
    assert await tina.ask("transport:restart_ice", transport_id=transport) == "not_found"
    assert await tina.ask("produce", **await tina.produce_request("camera", transport_id=transport)) == "not_found"
    request = {**await tina.consume_request(microphone), "transport_id": sam.transports["recv"]}
    assert await tina.ask("consume", **request) == "not_found"
    assert await sam.ask("produce:pause", producer_id=microphone) == "ok"  # nothing of it was touched


async def test_a_producer_of_another_room_is_not_found(worker, come, world):
    sam = await come("sam")
    producer = await sam.produce("microphone")
    other = await other_room(world)
    tina = await come("tina", code=other)
    assert await tina.ask("consume", **await tina.consume_request(producer)) == "not_found"
    assert await tina.ask("consume", **await tina.consume_request("nonsense")) == "not_found"


async def other_room(world: World) -> str:
    from meetings.models import Room

    return (await Room.objects.acreate(title="Office hours", created_by=world.users["tina"])).code


# --- what is refused, and the socket lives ---------------------------------------------------------------------------


async def test_one_producer_a_source(worker, come):
    sam = await come("sam")
    first = await sam.produce("microphone")
    assert await sam.ask("produce", **await sam.produce_request("microphone")) == "wrong_state"
    assert await sam.ask("produce:close", producer_id=first) == "ok"
    assert await sam.produce("microphone") != first


async def test_a_source_has_its_kind(worker, come):
    tina = await come("tina")
    for source, kind in (("microphone", "video"), ("camera", "audio"), ("screen", "audio"), ("screen_audio", "video")):
        request = await tina.produce_request(source, kind=kind, rtp_parameters=rtp_parameters(kind))
        assert await tina.ask("produce", **request) == "bad_request"


async def test_a_transport_serves_its_direction_alone(worker, come):
    tina = await come("tina")
    producer = await tina.produce("microphone")
    request = await tina.produce_request("camera", transport_id=await tina.transport("recv"))
    assert await tina.ask("produce", **request) == "wrong_state"
    request = {**await tina.consume_request(producer), "transport_id": tina.transports["send"]}
    assert await tina.ask("consume", **request) == "wrong_state"


async def test_what_is_too_large_is_refused(worker, come):
    tina = await come("tina")
    transport = await tina.transport("send")
    big = {"codecs": ["x" * m.MAX_RTP_PARAMETERS]}
    assert await tina.ask("produce", **await tina.produce_request("camera", rtp_parameters=big)) == "too_large"
    big = {"fingerprints": ["x" * m.MAX_DTLS_PARAMETERS]}
    assert await tina.ask("transport:connect", transport_id=transport, dtls_parameters=big) == "too_large"
    request = await tina.consume_request("any")
    request["rtp_capabilities"] = {"codecs": ["x" * m.MAX_RTP_CAPABILITIES]}
    assert await tina.ask("consume", **request) == "too_large"


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("transport:create", {}),
        ("transport:create", {"direction": "both"}),
        ("transport:create", {"direction": "send", "peer": "somebody-else"}),
        ("transport:connect", {"transport_id": "x", "dtls_parameters": []}),
        ("transport:restart_ice", {"transport_id": "x y"}),
        ("produce", {"transport_id": "x", "kind": "audio", "source": "radio", "rtp_parameters": {}}),
        ("produce", {"transport_id": "x", "kind": "audio", "source": "microphone", "rtp_parameters": 7}),
        ("produce:close", {"producer_id": ""}),
        ("produce:pause", {"producer_id": 5}),
        ("consume", {"transport_id": "x", "producer_id": "y"}),
        ("consumer:resume", {}),
        ("consumer:prefer", {"consumer_id": "x", "width": -1}),
        ("consumer:prefer", {"consumer_id": "x", "priority": 0}),
        ("consumer:prefer", {"consumer_id": "x", "spatial": 99}),
    ],
)
async def test_a_malformed_request_is_refused_and_the_socket_lives(worker, come, event, data):
    tina = await come("tina")
    assert await tina.client.refused(event, data) == "bad_request"
    assert await tina.transport("send")


async def test_nonsense_inside_rtp_parameters_is_the_workers_to_refuse(worker, come):
    tina = await come("tina")
    for nonsense in ({}, {"codecs": "none"}, {"codecs": [{"mimeType": "audio/opus"}], "encodings": [{}]}):
        request = await tina.produce_request("microphone", rtp_parameters=nonsense)
        assert await tina.ask("produce", **request) == "bad_request"
    assert await tina.produce("microphone")


# --- replacing and closing -------------------------------------------------------------------------------------------


async def test_consuming_again_replaces_the_consumer(worker, come):
    tina, sam = await come("tina"), await come("sam")
    producer = await tina.produce("microphone")
    first = await sam.consume(producer)
    second = await sam.consume(producer)
    assert await sam.ask("consumer:resume", consumer_id=first["consumer_id"]) == "not_found"
    assert await sam.ask("consumer:resume", consumer_id=second["consumer_id"]) == "ok"


async def test_a_second_transport_of_a_direction_closes_the_first_and_what_went_through_it(worker, come):
    tina, sam = await come("tina"), await come("sam")
    producer = await tina.produce("microphone")
    await sam.client.event("new-producer")
    consumer = await sam.consume(producer)
    await tina.client.do("transport:create", {"direction": "send"})
    assert (await sam.client.event("producer:closed"))["producer_id"] == producer
    closed = await sam.client.event("consumer:closed")
    assert (closed["consumer_id"], closed["producer_id"]) == (consumer["consumer_id"], producer)
    assert await tina.client.quiet("consumer:closed")  # it is private
    assert await tina.ask("produce:resume", producer_id=producer) == "not_found"


async def test_a_consumers_end_is_told_to_its_owner_alone(worker, come):
    tina, sam, sue = await come("tina"), await come("sam"), await come("sue")
    producer = await tina.produce("camera")
    consumer = await sam.consume(producer)
    await tina.client.do("produce:close", {"producer_id": producer})
    closed = await sam.client.event("consumer:closed")
    assert closed["consumer_id"] == consumer["consumer_id"]
    await sue.client.event("producer:closed", producer_id=producer)
    assert await sue.client.quiet("consumer:closed")
    assert all("seq" not in frame for frame in sam.client.order if frame.get("event") == "consumer:closed")
