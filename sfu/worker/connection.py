"""One web process's control connection, seen from the worker: lines in, replies and events out.

It knows the protocol's manners (Hello first, one reply a request, nothing unbounded) and none of its verbs.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from msgspec import Struct

from sfu.client import keep_alive
from sfu.lines import LineParser
from sfu.protocol import (
    EVENTS,
    MAX_LINE,
    ErrorBody,
    ErrorCode,
    Hello,
    InvalidRequest,
    ReplyEnvelope,
    Request,
    Welcome,
)
from sfu.worker import pipe_messages
from sfu.worker.logs import OncePerSecond

log = structlog.get_logger("sfu.control")
rarely = OncePerSecond(log)

HELLO_WITHIN = 5.0  # seconds
HELLO_LIMIT = 4096  # bytes of a line from someone who has not shown the secret
UNSENT_LIMIT = 8 * 1024 * 1024  # bytes: the events of a large class ending, many times over
AT_ONCE = 8  # requests between two looks at the media sockets: a thousand joins in one segment must not silence a class
UNDER_WAY = 64  # requests of one connection that wait for the disk

Answer = Struct | Awaitable[Struct]

_encoder = msgspec.json.Encoder()
_requests = pipe_messages.requests


class _OnlyId(Struct):
    id: int


_only_id = msgspec.json.Decoder(_OnlyId)


class ControlConnection(asyncio.Protocol):
    """`handle` does a request; what it raises is answered. `ended` is called once, when a welcomed one is gone."""

    def __init__(
        self,
        *,
        secret: str,
        welcome: Callable[[], Welcome],
        handle: Callable[[ControlConnection, Request], Answer],
        opened: Callable[[ControlConnection], bool],
        ended: Callable[[ControlConnection], None],
    ) -> None:
        self.client = "?"
        self.rooms: set[str] = set()  # whose events it gets
        self._secret = secret
        self._welcome = welcome
        self._handle = handle
        self._opened = opened
        self._on_ended = ended
        self._welcomed = False
        self._lines = LineParser(HELLO_LIMIT)
        self._bugs = OncePerSecond(log)
        self._backlog: deque[bytes] = deque()
        self._working = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport | None = None
        self._hello_timer: asyncio.TimerHandle | None = None

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._opened(self):
            transport.abort()
            return
        transport.set_write_buffer_limits(high=UNSENT_LIMIT)
        keep_alive(transport)
        self._hello_timer = asyncio.get_running_loop().call_later(HELLO_WITHIN, self.drop, "said nothing")

    def data_received(self, data: bytes) -> None:
        self._backlog.extend(self._lines.feed(data))
        if not self._working:
            self._work()

    def pause_writing(self) -> None:
        """It does not read what it is told: better to lose it than to keep everything for it."""
        self.drop("does not read")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._backlog.clear()
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self._on_ended(self)

    # --- requests ---

    def _work(self) -> None:
        self._working = False
        for _ in range(AT_ONCE):
            if not self._backlog or self._transport is None or self._transport.is_closing():
                break
            if len(self._under_way) >= UNDER_WAY:
                self._transport.pause_reading()
                return  # `_finished` goes on
            self._take(self._backlog.popleft())
        if self._transport is None or self._transport.is_closing():
            return
        if self._backlog:
            self._working = True
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._work)
        elif self._lines.overflowed:
            self.drop("sent a line that is too long")
        else:
            self._transport.resume_reading()

    def _take(self, line: bytes) -> None:
        number: int | None = None
        try:
            envelope = _requests.decode(line)
            number, request = envelope.id, envelope.request
            if not self._welcomed:
                self._greet(number, request)
                return
            answer = self._handle(self, request)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if number is None and not self._welcomed:
                self.drop("did not begin with a hello")
            else:
                self._refuse(number if number is not None else _id_of(line), "bad_request", str(error))
            return
        except InvalidRequest as error:
            self._refuse(number, error.code, error.message)
            return
        except Exception:
            self._own_bug(number, request)
            return
        if isinstance(answer, Struct):
            self._send(ReplyEnvelope(id=number, result=msgspec.Raw(_encoder.encode(answer))))
        else:
            task = asyncio.ensure_future(self._finish(number, request, answer))
            self._under_way.add(task)
            task.add_done_callback(self._finished)

    def _greet(self, number: int, request: Request) -> None:
        if not isinstance(request, Hello):
            self.drop("did not begin with a hello")
        elif not hmac.compare_digest(request.secret.encode(), self._secret.encode()):
            # Told why, for the operator's sake; a guesser learns nothing that the closing would not tell.
            self._refuse(number, "unauthenticated", "wrong secret")
            self.drop("had the wrong secret", flush=True)
        else:
            self._welcomed = True
            self.client = request.client[:100]
            self._lines.limit = MAX_LINE
            if self._hello_timer is not None:
                self._hello_timer.cancel()
            self._send(ReplyEnvelope(id=number, result=msgspec.Raw(_encoder.encode(self._welcome()))))
            log.info("control_opened", client=self.client)

    async def _finish(self, number: int, request: Request, answer: Awaitable[Struct]) -> None:
        try:
            result = await answer
        except InvalidRequest as error:
            self._refuse(number, error.code, error.message)
        except Exception:
            self._own_bug(number, request)
        else:
            self._send(ReplyEnvelope(id=number, result=msgspec.Raw(_encoder.encode(result))))

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not self._working:
            self._work()

    def _own_bug(self, number: int | None, request: Request) -> None:
        # Names alone: parameters hold fingerprints and passwords.
        names = {name: getattr(request, name) for name in ("room", "peer", "recording") if hasattr(request, name)}
        self._bugs.exception("control_request_failed", request=type(request).__name__, **names)
        self._refuse(number, "internal", "the worker failed; see its log")

    # --- what goes out ---

    def send_event(self, event: EVENTS) -> None:
        self._send(ReplyEnvelope(event=event))

    def _refuse(self, number: int | None, code: ErrorCode, message: str) -> None:
        self._send(ReplyEnvelope(id=number, error=ErrorBody(code, message[:500])))

    def _send(self, reply: ReplyEnvelope) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        line = _encoder.encode(reply)
        if len(line) > MAX_LINE:
            error = ErrorBody("too_large", f"the answer would have {len(line)} bytes")
            line = _encoder.encode(ReplyEnvelope(id=reply.id, error=error))
        self._transport.write(line + b"\n")

    @property
    def welcomed(self) -> bool:
        return self._welcomed

    def drop(self, why: str, *, flush: bool = False) -> None:
        """End the connection at once, or (`flush`) when what was said last is sent. Twice does no harm."""
        if self._transport is None or self._transport.is_closing():
            return
        rarely.warning("control_dropped", client=self.client, why=why)
        if flush:
            self._transport.close()
        else:
            self._transport.abort()

    def close(self) -> None:
        """The worker ends."""
        if self._transport is not None:
            self._transport.close()


def _id_of(line: bytes) -> int | None:
    """The number of a request that could not be understood otherwise, so that who waits for it learns of it."""
    try:
        return _only_id.decode(line).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
