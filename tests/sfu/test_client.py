"""WorkerClient against real workers and against what only calls itself one."""

import asyncio

import pytest

from sfu import protocol as p
from sfu.client import WorkerClient
from sfu.protocol import InvalidRequest
from tests.redis_server import free_port
from tests.sfu.worker import SECRET, loop_worker
from tests.waiting import until


@pytest.fixture
async def worker(tmp_path):
    async with loop_worker(tmp_path) as worker:
        yield worker


@pytest.fixture
async def impostor():
    """A server that does with each connection what the test says; gives the port."""
    servers, writers = [], []

    async def start(behave) -> int:
        async def serve(reader, writer):
            writers.append(writer)
            await behave(reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        return server.sockets[0].getsockname()[1]

    yield start
    for server in servers:
        server.close()
    for writer in writers:
        writer.transport.abort()


async def failure(awaitable) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        await awaitable
    return refusal.value.code


WELCOME = b'{"id":1,"result":{"worker_id":"w","epoch":"e","rtp_capabilities":{}}}\n'


async def greet(reader, writer):
    await reader.readline()
    writer.write(WELCOME)


async def test_answers_have_the_type_that_the_request_names(worker):
    client = await worker.client()
    assert isinstance(await client.request(p.OpenRoom(room="algebra")), p.RoomState)
    assert isinstance(await client.request(p.OpenPeer(room="algebra", peer="sam")), p.PeerState)
    made = await client.request(p.CreateTransport(room="algebra", peer="sam", direction="send"))
    assert isinstance(made, p.TransportMade)


async def test_many_requests_at_once_get_their_own_answers(worker):
    client = await worker.client()
    await client.request(p.OpenRoom(room="algebra"))
    peers = [f"peer-{n}" for n in range(200)]
    await asyncio.gather(*[client.request(p.OpenPeer(room="algebra", peer=peer)) for peer in peers])
    made = await asyncio.gather(
        *[client.request(p.CreateTransport(room="algebra", peer=peer, direction="send")) for peer in peers]
    )
    states = await asyncio.gather(*[client.request(p.OpenPeer(room="algebra", peer=peer)) for peer in peers])
    assert [s.transports[0].transport_id for s in states] == [m.transport_id for m in made]


async def test_a_refusal_carries_the_workers_code(worker):
    client = await worker.client()
    assert await failure(client.request(p.OpenPeer(room="nowhere", peer="sam"))) == "not_found"


async def test_nobody_there_is_media_unavailable():
    connecting = WorkerClient.connect("127.0.0.1", free_port(), secret=SECRET, client="web")
    assert await failure(connecting) == "media_unavailable"


async def test_a_wrong_secret_is_unauthenticated(worker):
    connecting = WorkerClient.connect("127.0.0.1", worker.worker.control_port, secret="guess", client="web")
    assert await failure(connecting) == "unauthenticated"


async def test_a_worker_that_never_answers_the_hello_is_given_up(impostor):
    port = await impostor(lambda reader, writer: asyncio.sleep(60))
    connecting = WorkerClient.connect("127.0.0.1", port, secret=SECRET, client="web", timeout=0.2)
    assert await failure(connecting) == "media_unavailable"


async def test_an_answer_that_does_not_come_in_time_is_media_unavailable(impostor):
    port = await impostor(greet)
    client = await WorkerClient.connect("127.0.0.1", port, secret=SECRET, client="web")
    assert await failure(client.request(p.OpenRoom(room="algebra"), timeout=0.2)) == "media_unavailable"
    assert client._waiting == {}
    await client.close()


async def test_a_late_answer_is_not_taken_for_another(impostor):
    async def answer_late(reader, writer):
        await greet(reader, writer)
        await reader.readline()
        await reader.readline()
        writer.write(b'{"id":2,"result":{"producers":[],"recording":"late"}}\n')
        writer.write(b'{"id":3,"result":{"producers":[],"recording":"right"}}\n')

    port = await impostor(answer_late)
    client = await WorkerClient.connect("127.0.0.1", port, secret=SECRET, client="web")
    assert await failure(client.request(p.OpenRoom(room="algebra"), timeout=0.1)) == "media_unavailable"
    assert (await client.request(p.OpenRoom(room="algebra"))).recording == "right"
    await client.close()


async def test_an_answer_of_another_shape_is_internal(impostor):
    async def answer_wrongly(reader, writer):
        await greet(reader, writer)
        await reader.readline()
        writer.write(b'{"id":2,"result":{"producers":5}}\n')

    port = await impostor(answer_wrongly)
    client = await WorkerClient.connect("127.0.0.1", port, secret=SECRET, client="web")
    assert await failure(client.request(p.OpenRoom(room="algebra"))) == "internal"
    await client.close()


async def test_a_lost_worker_fails_what_is_waited_for_and_is_told_once(impostor):
    async def die(reader, writer):
        await greet(reader, writer)
        await reader.readline()
        writer.transport.abort()

    closed = []
    port = await impostor(die)
    client = await WorkerClient.connect(
        "127.0.0.1", port, secret=SECRET, client="web", on_closed=lambda: closed.append(1)
    )
    assert await failure(client.request(p.OpenRoom(room="algebra"))) == "media_unavailable"
    assert client.closed
    assert await failure(client.request(p.OpenRoom(room="algebra"))) == "media_unavailable"
    await client.close()
    assert closed == [1]


async def test_closing_oneself_is_no_news(worker):
    closed = []
    client = await worker.client(on_closed=lambda: closed.append(1))
    await client.close()
    await client.close()
    assert client.closed
    assert closed == []


async def test_a_broken_listener_does_not_break_the_connection(worker):
    def broken(event):
        raise RuntimeError("the listener's own bug")

    client = await worker.client(on_event=broken)
    await client.request(p.OpenRoom(room="algebra"))
    await client.request(p.OpenPeer(room="algebra", peer="sam"))
    await client.request(p.ClosePeer(room="algebra", peer="sam"))
    assert await client.request(p.OpenRoom(room="algebra")) == p.RoomState([], None)


async def test_a_request_longer_than_a_line_is_refused_here(worker):
    client = await worker.client()
    request = p.MarkRecording(room="algebra", recording="r", mark={"x": "y" * p.MAX_LINE})
    assert await failure(client.request(request)) == "too_large"
    assert await client.request(p.OpenRoom(room="algebra")) == p.RoomState([], None)


async def test_a_worker_that_does_not_read_is_hung_up_on(impostor):
    async def stop_reading(reader, writer):
        await greet(reader, writer)
        reader._transport.pause_reading()

    closed = []
    port = await impostor(stop_reading)
    client = await WorkerClient.connect(
        "127.0.0.1", port, secret=SECRET, client="web", on_closed=lambda: closed.append(1)
    )
    mark = p.MarkRecording(room="algebra", recording="r", mark={"x": "y" * 200_000})
    asking = [asyncio.create_task(failure(client.request(mark, timeout=20))) for _ in range(100)]
    await until(lambda: closed, within=10)
    assert set(await asyncio.gather(*asking)) == {"media_unavailable"}
