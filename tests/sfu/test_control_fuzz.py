"""Anything at all on the control connection: each line is answered once, nothing is raised, nothing piles up."""

import asyncio

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sfu.client import WorkerClient
from sfu.protocol import MAX_LINE, Nothing, Request, Welcome
from sfu.worker.connection import ControlConnection
from tests.sfu.worker import SECRET

HELLO = msgspec.json.encode({"id": 0, "request": {"method": "hello", "secret": SECRET, "client": "x"}}) + b"\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self):
        super().__init__()
        self.sent = b""
        self.ended = False

    def write(self, data):
        self.sent += data

    def is_closing(self):
        return self.ended

    def abort(self):
        self.ended = True

    close = abort

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


async def answers(data: bytes, *, hello: bytes = HELLO) -> tuple[list[dict], Wire, list[Request]]:
    """What the worker says to `data`, without its answer to the hello."""
    done: list[Request] = []

    def handle(connection, request):
        done.append(request)
        return Nothing()

    connection = ControlConnection(
        secret=SECRET,
        welcome=lambda: Welcome("w", "e", {}),
        handle=handle,
        opened=lambda connection: True,
        ended=lambda connection: None,
    )
    wire = Wire()
    connection.connection_made(wire)
    connection.data_received(hello)
    wire.sent = b"" if hello == HELLO else wire.sent
    connection.data_received(data)
    while connection._backlog:
        await asyncio.sleep(0)
    lines = [msgspec.json.decode(line) for line in wire.sent.splitlines()]
    connection.connection_lost(None)
    return lines, wire, done


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
methods = st.sampled_from(
    ["hello", "room.open", "peer.open", "transport.create", "recording.mark", "stats", "pipe.bring", "pipe.open", "x"]
)
almost = st.fixed_dictionaries(
    {"id": st.integers() | json, "request": st.fixed_dictionaries({"method": methods | json, "room": json})}
)
hostile_lines = st.one_of(
    st.binary(max_size=200).map(lambda data: data.replace(b"\n", b" ")),
    json.map(msgspec.json.encode),
    almost.map(msgspec.json.encode),
)


@settings(max_examples=80)
@given(lines=st.lists(hostile_lines, min_size=1, max_size=20))
@example(lines=[b'{"id": 1, "request": {"method": "room.open", "room": "\\ud800"}}'])
@example(lines=[b'{"id": 99999999999999999999999, "request": {"method": "stats", "room": "a"}}'])
async def test_each_line_is_answered_once(lines):
    heard, wire, _ = await answers(b"".join(line + b"\n" for line in lines))
    assert len(heard) == len(lines)
    assert not wire.ended


@settings(max_examples=80)
@given(data=st.binary(max_size=400) | hostile_lines.map(lambda line: line + b"\n"))
async def test_without_the_secret_nothing_is_done(data):
    _, _, done = await answers(b"", hello=data)
    assert done == []


@settings(max_examples=3)
@given(size=st.integers(1, 3))
async def test_what_is_too_long_ends_the_connection(size):
    _, wire, done = await answers(b"x" * (MAX_LINE * size + 1))
    assert wire.ended
    assert done == []


@settings(max_examples=80)
@given(data=st.lists(hostile_lines, max_size=10).map(lambda lines: b"\n".join(lines) + b"\n"))
async def test_a_client_survives_whatever_calls_itself_a_worker(data):
    client = WorkerClient()
    client.connection_made(Wire())
    client.data_received(data)
    assert not client.closed
    client.connection_lost(None)
    assert client.closed
