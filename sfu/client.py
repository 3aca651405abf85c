"""A web process's end of the control connection to one media worker."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from sfu.lines import LineParser
from sfu.protocol import EVENTS, MAX_LINE, Hello, InvalidRequest, ReplyEnvelope, Request, RequestEnvelope, Welcome

log = logging.getLogger(__name__)

TIMEOUT = 5.0  # seconds: a worker that answers later than this is as good as gone
UNSENT_LIMIT = 4 * 1024 * 1024  # bytes: a worker that does not read is as good as gone, too

_encoder = msgspec.json.Encoder()
_replies = msgspec.json.Decoder(ReplyEnvelope)


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Notice within half a minute that the machine at the other end is gone: no FIN tells of a power cut."""
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 25_000)):
        if hasattr(socket, option):  # macOS names some of them otherwise
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class WorkerClient(asyncio.Protocol):
    """Made by `await WorkerClient.connect(...)`; a lost connection is not made anew, make another client.

    Many requests may be under way at once. `on_event` and `on_closed` are plain functions, called in the event loop;
    `on_closed` once, and not when it was `close()` that ended the connection.
    """

    welcome: Welcome

    def __init__(
        self,
        *,
        on_event: Callable[[EVENTS], None] | None = None,
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        self._on_event = on_event
        self._on_closed = on_closed
        self._lines = LineParser(MAX_LINE)
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, tuple[Request, asyncio.Future[Any]]] = {}
        self._last_id = 0
        self._ended = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        secret: str,
        client: str,
        on_event: Callable[[EVENTS], None] | None = None,
        on_closed: Callable[[], None] | None = None,
        timeout: float = TIMEOUT,
    ) -> WorkerClient:
        """`client` names this process in the worker's log.

        Raises InvalidRequest: `media_unavailable` if nobody answers in time, `unauthenticated` for a wrong secret.
        """
        loop = asyncio.get_running_loop()
        made = cls(on_event=on_event)
        try:
            async with asyncio.timeout(timeout):
                await loop.create_connection(lambda: made, host, port)
        except (OSError, TimeoutError) as error:
            raise InvalidRequest("media_unavailable", f"no worker at {host}:{port}: {type(error).__name__}") from error
        try:
            made.welcome = await made.request(Hello(secret=secret, client=client), timeout=timeout)
        except BaseException:
            await made.close()
            raise
        # Only from here on: who never was welcome is told by the exception.
        made._on_closed = on_closed
        if made.closed:
            made._tell_closed()
        return made

    @property
    def closed(self) -> bool:
        return self._transport is None

    async def request(self, request: Request, *, timeout: float = TIMEOUT) -> Any:
        """The worker's answer, an instance of `request.result`.

        Raises InvalidRequest with the worker's code, or `media_unavailable` if the worker is gone or does not answer
        within `timeout` seconds; whether it did what was asked is then unknown.
        """
        if self._transport is None:
            raise InvalidRequest("media_unavailable", "the connection to the worker is closed")
        self._last_id += 1
        number = self._last_id
        line = _encoder.encode(RequestEnvelope(number, request))  # type: ignore[arg-type]  # every Request is one of them
        if len(line) > MAX_LINE:
            raise InvalidRequest("too_large", f"a request of {len(line)} bytes")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (request, future)
        self._transport.write(line + b"\n")
        try:
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise InvalidRequest("media_unavailable", f"no answer within {timeout:g} s") from None
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """Twice does no harm. What is still waited for fails with `media_unavailable`."""
        self._on_closed = None
        if self._transport is not None:
            self._transport.abort()
        await asyncio.shield(self._ended)

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=UNSENT_LIMIT)
        keep_alive(transport)

    def data_received(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            try:
                reply = _replies.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                # A newer worker may say what we do not know yet; a request that it answers so runs into its timeout.
                log.warning("a line from the worker was not understood")
                continue
            self._take(reply)
        if self._lines.overflowed and self._transport is not None:
            log.error("the worker sent a line longer than %d bytes", MAX_LINE)
            self._transport.abort()

    def _take(self, reply: ReplyEnvelope) -> None:
        if reply.event is not None:
            if self._on_event is not None:
                try:
                    self._on_event(reply.event)
                except Exception:
                    log.exception("an event of the worker could not be handled")
            return
        if reply.id is None or reply.id not in self._waiting:
            return  # nobody waits for it any more
        request, future = self._waiting[reply.id]
        if future.done():
            return
        if reply.error is not None:
            future.set_exception(InvalidRequest(reply.error.code, reply.error.message))
            return
        try:
            future.set_result(msgspec.json.decode(reply.result or b"null", type=request.result))
        except msgspec.DecodeError as error:
            future.set_exception(InvalidRequest("internal", f"the worker's answer was not understood: {error}"))

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(InvalidRequest("media_unavailable", "the worker is gone"))
        if not self._ended.done():
            self._ended.set_result(None)
        self._tell_closed()

    def _tell_closed(self) -> None:
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed()
