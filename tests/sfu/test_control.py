"""The control connection's manners: who is let in, what is answered, who hears which event."""

import asyncio
import inspect
import io
import logging

import msgspec
import pytest

from sfu import protocol as p
from sfu.protocol import InvalidRequest
from sfu.worker.connection import UNDER_WAY
from sfu.worker.logs import formatter
from sfu.worker.media import MediaServer
from sfu.worker.pipe_messages import PIPE_REQUESTS
from sfu.worker.verbs import MEDIA_VERBS, VERBS
from tests.sfu.senders import opus_parameters, receiver_capabilities
from tests.sfu.worker import SECRET, event, loop_worker
from tests.waiting import until


@pytest.fixture
async def worker(tmp_path):
    async with loop_worker(tmp_path) as worker:
        yield worker


async def refused(client, request) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        await client.request(request)
    return refusal.value.code


def test_every_request_of_the_protocol_has_a_verb():
    assert set(VERBS) == {*p.REQUESTS.__args__, *PIPE_REQUESTS.__args__}


def test_a_media_verb_takes_what_its_request_has_and_gives_what_it_promises():
    media = MediaServer()
    for request, verb in MEDIA_VERBS.items():
        signature = inspect.signature(verb(media))
        assert tuple(signature.parameters) == request.__struct_fields__
        assert signature.return_annotation == ("None" if request.result is p.Nothing else request.result.__name__)


# --- who is let in ---


async def test_a_hello_with_the_secret_is_welcome(worker):
    client = await worker.client()
    assert client.welcome.worker_id == "sfu-test"
    assert client.welcome.epoch == worker.worker.epoch
    assert {codec["mimeType"] for codec in client.welcome.rtp_capabilities["codecs"]} >= {"audio/opus", "video/VP8"}


async def test_a_wrong_secret_is_told_so_and_the_connection_closed(worker):
    raw = await worker.raw(secret=None)
    await raw.say({"id": 1, "request": {"method": "hello", "secret": "guess", "client": "x"}})
    assert (await raw.hear())["error"]["code"] == "unauthenticated"
    assert await raw.is_closed()


@pytest.mark.parametrize(
    "first",
    [
        b'{"id": 1, "request": {"method": "room.open", "room": "algebra"}}\n',
        b"GET / HTTP/1.1\r\n\r\n",
        b"\n",
        b"\x16\x03\x01\x02\x00\x01\x00\n",
        b'{"id": 1, "request": {"method": "hello"}}\n',
        b"[" * 4000 + b"\n",
        b"x" * 5000,
        b'{"id": 1, "request": {"method": "hello", "secret": "\xff", "client": "x"}}\n',
    ],
    ids=["other_request", "http", "empty", "tls", "hello_without_secret", "deep", "long", "not_utf8"],
)
async def test_a_connection_that_opens_with_anything_else_is_closed(worker, first):
    raw = await worker.raw(secret=None)
    await raw.write(first)
    assert await raw.is_closed()
    assert not worker.worker.media.routers


async def test_who_says_nothing_is_not_waited_for(worker):
    raw = await worker.raw(secret=None)
    assert await raw.is_closed()


async def test_strangers_who_say_nothing_do_not_keep_a_web_process_out(worker, monkeypatch):
    monkeypatch.setattr("sfu.worker.control.MAX_CONNECTIONS", 3)
    silent = [await worker.raw(secret=None) for _ in range(3)]
    await until(lambda: len(worker.worker.control._connections) == 3)
    clients = [await worker.client(f"web-{number}") for number in range(3)]
    for stranger in silent:
        assert await stranger.is_closed()
    with pytest.raises(InvalidRequest):
        await worker.client("web-4")
    for client in clients:
        await client.request(p.OpenRoom(room="algebra"))


async def test_requests_sent_along_with_a_wrong_hello_are_not_done(worker):
    raw = await worker.raw(secret=None)
    await raw.write(
        b'{"id": 1, "request": {"method": "hello", "secret": "guess", "client": "x"}}\n'
        b'{"id": 2, "request": {"method": "room.open", "room": "algebra"}}\n'
    )
    assert await raw.is_closed()
    assert not worker.worker.media.routers


async def test_a_second_hello_is_out_of_place(worker):
    client = await worker.client()
    assert await refused(client, p.Hello(secret="x", client="y")) == "wrong_state"


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_neither_secrets_nor_parameters_are_logged(worker, monkeypatch, log_format):
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(formatter(log_format, worker_id="sfu-test"))
    logging.getLogger().addHandler(handler)
    try:
        client = await worker.client()
        await client.request(p.OpenRoom(room="algebra"))
        await client.request(p.OpenPeer(room="algebra", peer="sam"))
        made = await client.request(p.CreateTransport(room="algebra", peer="sam", direction="send"))

        def broken(**arguments):
            password = made.ice_parameters["password"]
            raise RuntimeError("a bug of ours") if password else None

        monkeypatch.setattr(worker.worker.media, "connect_transport", broken)
        request = p.ConnectTransport(
            room="algebra", peer="sam", transport_id=made.transport_id, dtls_parameters={"fingerprints": ["F1:N9"]}
        )
        assert await refused(client, request) == "internal"
    finally:
        logging.getLogger().removeHandler(handler)
    assert "a bug of ours" in log.getvalue()
    assert "Traceback" in log.getvalue()
    for never in (SECRET, "F1:N9", made.ice_parameters["password"]):
        assert never not in log.getvalue()


# --- requests ---


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b'{"id": 7, "request": {"method": "room.explode"}}', 7),
        (b'{"id": 7, "request": {"method": "room.open", "room": "../etc"}}', 7),
        (b'{"id": 7, "request": {"method": "room.open", "room": "a", "more": 1}}', 7),
        (b'{"id": 7, "request": {"method": "room.open", "room": 5}}', 7),
        (b'{"id": 7}', 7),
        (b'{"id": "7", "request": {}}', None),
        (
            b'{"id": 7, "request": {"method": "recording.mark", "room": "a", "recording": "r", "mark": {"x": NaN}}}',
            None,
        ),
        (b"{" * 100_000, None),
        (b'{"id": 7, "request": ' + b'{"a":' * 40_000 + b"1" + b"}" * 40_001, None),
        (b"null", None),
        (b"", None),
        (b"\xff\xfe\x00", None),
    ],
)
async def test_what_is_not_understood_is_answered_and_the_connection_lives(worker, line, id):
    raw = await worker.raw()
    await raw.write(line + b"\n")
    answer = await raw.hear()
    assert answer["error"]["code"] == "bad_request"
    assert answer.get("id") == id
    await raw.say({"id": 8, "request": {"method": "room.open", "room": "algebra"}})
    assert (await raw.hear())["id"] == 8


async def test_a_line_beyond_the_limit_ends_the_connection_and_nobody_elses(worker):
    raw, other = await worker.raw(), await worker.client()
    await raw.write(b"x" * (p.MAX_LINE + 1))
    assert await raw.is_closed()
    assert await other.request(p.OpenRoom(room="algebra")) == p.RoomState([], None)


async def test_many_requests_in_one_segment_are_answered_in_order(worker):
    raw = await worker.raw()
    lines = [b'{"id": %d, "request": {"method": "room.open", "room": "r%d"}}\n' % (n, n % 7) for n in range(2, 502)]
    await raw.write(b"".join(lines))
    assert [(await raw.hear())["id"] for _ in lines] == list(range(2, 502))


async def test_more_waiting_requests_than_allowed_wait_their_turn(worker):
    raw = await worker.raw()
    count = UNDER_WAY * 3
    for n in range(count):
        line = {"id": n, "request": {"method": "recording.stop", "room": "algebra", "recording": f"none-{n}"}}
        raw.writer.write(msgspec.json.encode(line) + b"\n")
    answers = [await raw.hear() for _ in range(count)]
    assert {answer["id"] for answer in answers} == set(range(count))
    assert {answer["error"]["code"] for answer in answers} == {"not_found"}


async def test_a_bug_of_ours_is_answered_logged_and_costs_that_peer_alone(worker, caplog, monkeypatch):
    events = []
    client = await worker.client(on_event=events.append)
    await client.request(p.OpenRoom(room="algebra"))
    for peer in ("sam", "tina"):
        await client.request(p.OpenPeer(room="algebra", peer=peer))

    def broken(**arguments):
        raise KeyError("a bug of ours")

    monkeypatch.setattr(worker.worker.media, "create_transport", broken)
    assert await refused(client, p.CreateTransport(room="algebra", peer="sam", direction="send")) == "internal"
    assert "control_request_failed" in caplog.text
    assert await event(events, p.PeerClosed, peer="sam") == p.PeerClosed(room="algebra", peer="sam", reason="error")
    assert await client.request(p.OpenPeer(room="algebra", peer="tina")) == p.PeerState([], [], [])
    assert worker.worker.media.peer_count == 1


async def test_an_answer_too_large_for_a_line_is_an_error_not_a_broken_stream(worker, monkeypatch):
    client = await worker.client()
    huge = p.Stats(transports=[{"x": "y" * p.MAX_LINE}], producers=[], consumers=[])
    monkeypatch.setattr(worker.worker.media, "stats", lambda **arguments: huge)
    assert await refused(client, p.GetStats(room="algebra")) == "too_large"
    await client.request(p.OpenRoom(room="algebra"))


async def test_a_life_of_a_peer(worker):
    client = await worker.client()
    await client.request(p.OpenRoom(room="algebra"))
    for peer in ("tina", "sam"):
        await client.request(p.OpenPeer(room="algebra", peer=peer, name=peer.title()))
    up = await client.request(p.CreateTransport(room="algebra", peer="tina", direction="send"))
    down = await client.request(p.CreateTransport(room="algebra", peer="sam", direction="recv"))
    made = await client.request(
        p.CreateProducer(
            room="algebra", peer="tina", transport_id=up.transport_id, kind="audio", source="microphone",
            rtp_parameters=opus_parameters(1111),
        )
    )  # fmt: skip
    consumer = await client.request(
        p.CreateConsumer(
            room="algebra", peer="sam", transport_id=down.transport_id, producer_id=made.producer_id,
            rtp_capabilities=receiver_capabilities(),
        )
    )  # fmt: skip
    ids = {"room": "algebra", "peer": "sam", "consumer_id": consumer.consumer_id}
    assert consumer.kind == "audio"
    for request in (p.ResumeConsumer(**ids), p.PauseConsumer(**ids)):
        assert await client.request(request) == p.Nothing()
    for kind in (p.PauseProducer, p.ResumeProducer):
        await client.request(kind(room="algebra", peer="tina", producer_id=made.producer_id))
    restarted = await client.request(p.RestartIce(room="algebra", peer="tina", transport_id=up.transport_id))
    assert restarted.ice_parameters["password"] != up.ice_parameters["password"]
    state = await client.request(p.OpenPeer(room="algebra", peer="sam"))
    assert [known.consumer_id for known in state.consumers] == [consumer.consumer_id]
    stats = await client.request(p.GetStats(room="algebra"))
    assert (len(stats.transports), len(stats.producers), len(stats.consumers)) == (2, 1, 1)
    room = await client.request(p.OpenRoom(room="algebra"))
    assert [producer.producer_id for producer in room.producers] == [made.producer_id]
    await client.request(p.CloseConsumer(**ids))
    await client.request(p.CloseProducer(room="algebra", peer="tina", producer_id=made.producer_id))
    await client.request(p.ClosePeer(room="algebra", peer="tina"))
    await client.request(p.CloseRoom(room="algebra"))
    assert await refused(client, p.OpenPeer(room="algebra", peer="sam")) == "not_found"


# --- events ---


async def in_a_room(worker, name, *, room="algebra"):
    events = []
    client = await worker.client(name, on_event=events.append)
    await client.request(p.OpenRoom(room=room))
    return client, events


async def test_a_closed_peer_is_told_to_every_connection_of_its_room_and_to_no_other(worker):
    one, heard_by_one = await in_a_room(worker, "web-1")
    _, heard_by_two = await in_a_room(worker, "web-2")
    three, heard_by_three = await in_a_room(worker, "web-3", room="history")
    await one.request(p.OpenPeer(room="algebra", peer="sam"))
    await one.request(p.ClosePeer(room="algebra", peer="sam", reason="removed"))
    told = p.PeerClosed(room="algebra", peer="sam", reason="removed")
    assert await event(heard_by_one, p.PeerClosed) == told
    assert await event(heard_by_two, p.PeerClosed) == told
    await three.request(p.OpenRoom(room="history"))  # had there been an event, it would be here before this answer
    assert heard_by_three == []


async def with_a_consumer(one, two):
    """Tina, held by one, speaks; Sam, held by two, listens."""
    await one.request(p.OpenPeer(room="algebra", peer="tina"))
    await two.request(p.OpenPeer(room="algebra", peer="sam"))
    up = await one.request(p.CreateTransport(room="algebra", peer="tina", direction="send"))
    down = await two.request(p.CreateTransport(room="algebra", peer="sam", direction="recv"))
    made = await one.request(
        p.CreateProducer(
            room="algebra", peer="tina", transport_id=up.transport_id, kind="audio", source="microphone",
            rtp_parameters=opus_parameters(1111),
        )
    )  # fmt: skip
    consumer = await two.request(
        p.CreateConsumer(
            room="algebra", peer="sam", transport_id=down.transport_id, producer_id=made.producer_id,
            rtp_capabilities=receiver_capabilities(),
        )
    )  # fmt: skip
    return made.producer_id, consumer.consumer_id


async def test_a_closed_producer_is_told_to_all_and_its_consumers_to_their_holders(worker):
    one, heard_by_one = await in_a_room(worker, "web-1")
    two, heard_by_two = await in_a_room(worker, "web-2")
    producer, consumer = await with_a_consumer(one, two)
    await one.request(p.CloseProducer(room="algebra", peer="tina", producer_id=producer))
    assert (await event(heard_by_one, p.ProducerClosed)).producer_id == producer
    assert (await event(heard_by_two, p.ProducerClosed)).producer_id == producer
    assert (await event(heard_by_two, p.ConsumerClosed)).consumer_id == consumer
    await one.request(p.OpenRoom(room="algebra"))
    assert not [heard for heard in heard_by_one if isinstance(heard, p.ConsumerClosed)]


async def test_a_room_closed_is_not_listened_to_any_more(worker):
    one, _ = await in_a_room(worker, "web-1")
    two, heard_by_two = await in_a_room(worker, "web-2")
    await one.request(p.CloseRoom(room="algebra"))
    await one.request(p.OpenRoom(room="algebra"))
    await one.request(p.OpenPeer(room="algebra", peer="sam"))
    await two.request(p.OpenRoom(room="history"))
    heard_by_two.clear()
    await one.request(p.ClosePeer(room="algebra", peer="sam"))
    await two.request(p.OpenRoom(room="history"))
    assert heard_by_two == []


async def test_a_client_that_never_reads_is_dropped_and_the_others_are_served(worker):
    deaf = await worker.raw()
    deaf.writer.transport.pause_reading()
    await deaf.say({"id": 2, "request": {"method": "room.open", "room": "algebra"}})
    await until(lambda: any("algebra" in c.rooms for c in worker.worker.control._connections))
    connections = set(worker.worker.control._connections)
    client = await worker.client()
    news = p.PeerClosed(room="algebra", peer="x" * 64, reason="r" * 50_000)

    def tell() -> bool:
        for _ in range(20):
            worker.worker.control.publish(news)
        return not connections & worker.worker.control._connections.keys()

    await until(tell, within=20)
    await client.request(p.OpenRoom(room="history"))


# --- whose peers ---


async def test_a_peer_outlives_the_connection_that_opened_it_by_its_lease(tmp_path):
    async with loop_worker(tmp_path, lease=1.0) as worker:
        one, _ = await in_a_room(worker, "web-1")
        two, heard = await in_a_room(worker, "web-2")
        await one.request(p.OpenPeer(room="algebra", peer="sam"))
        await two.request(p.OpenPeer(room="algebra", peer="tina"))
        await one.close()
        await asyncio.sleep(0.5)  # half of the lease: this is about time itself
        assert worker.worker.media.peer_count == 2
        told = await event(heard, p.PeerClosed)
        assert told == p.PeerClosed(room="algebra", peer="sam", reason="lease")
        assert worker.worker.media.peer_count == 1


async def test_a_released_peer_that_is_claimed_in_time_stays(tmp_path):
    async with loop_worker(tmp_path, lease=1.0) as worker:
        one, _ = await in_a_room(worker, "web-1")
        two, heard = await in_a_room(worker, "web-2")
        for peer in ("sam", "olga"):
            await one.request(p.OpenPeer(room="algebra", peer=peer))
            await one.request(p.ReleasePeer(room="algebra", peer=peer))
        await two.request(p.OpenPeer(room="algebra", peer="sam"))
        assert (await event(heard, p.PeerClosed)).peer == "olga"
        await asyncio.sleep(1.5)  # well beyond Sam's former lease
        assert [told.peer for told in heard if isinstance(told, p.PeerClosed)] == ["olga"]
        await one.close()
        assert worker.worker.media.peer_count == 1


async def test_a_room_that_nobody_and_nothing_is_in_any_more_is_closed(tmp_path):
    async with loop_worker(tmp_path, lease=0.5) as worker:
        one, _ = await in_a_room(worker, "web-1")
        two, _ = await in_a_room(worker, "web-2", room="history")
        await one.request(p.OpenPeer(room="algebra", peer="sam"))
        await one.close()
        await until(lambda: set(worker.worker.media.routers) == {"history"})
        await two.request(p.OpenPeer(room="history", peer="sam"))


async def test_a_draining_worker_takes_no_new_rooms_but_serves_the_old(worker):
    client, _ = await in_a_room(worker, "web-1")
    worker.worker.control.draining = True
    assert await refused(client, p.OpenRoom(room="history")) == "media_unavailable"
    await client.request(p.OpenPeer(room="algebra", peer="sam"))
