"""The classroom's WebSocket: envelope, one answer a request, schemas, limits, close codes (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from asgiref.typing import WebSocketScope
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http.request import validate_host
from redis.exceptions import RedisError

from meetings import background, errors, metrics, registry, services
from meetings.database import in_database
from meetings.entrance import Visitor, identify
from meetings.errors import Refused
from meetings.eventlog import body_of, fleeting
from meetings.hub import Hub, Hubs, process_hubs
from meetings.limits import FLOOD, REQUESTS_A_SECOND, REQUESTS_BURST, TokenBucket
from meetings.live import LEASE, SHORT_LEASE
from meetings.messages import MAX_FRAME, Envelope, EnvelopeId
from meetings.session import RoomSession
from meetings.wire import Frame, Wire, wire_for
from sfu.protocol import InvalidRequest

log = logging.getLogger(__name__)

MAX_WAITING = 600  # requests of one lane not yet begun
FINISH = 8.0  # seconds that a request under way may take after its socket closed (Daphne kills after 10)

CLOSE_CODES: dict[services.Reason, int] = {
    "unauthenticated": errors.CLOSE_UNAUTHENTICATED,
    "unknown": errors.CLOSE_UNAUTHENTICATED,
    "forbidden": errors.CLOSE_REMOVED,
    "guests": errors.CLOSE_REMOVED,
    "removed": errors.CLOSE_REMOVED,
    "ended": errors.CLOSE_ENDED,
}
ERROR_CODES: dict[services.Reason, errors.ErrorCode] = {
    "unauthenticated": "unauthenticated",
    "unknown": "not_found",
    "forbidden": "forbidden",
    "guests": "forbidden",
    "removed": "forbidden",
    "ended": "meeting_ended",
    "full": "meeting_full",
}
# Redis or the database is away. What else a database says is a fault of ours, and logged as one.
AWAY = (RedisError, OSError, OperationalError, InterfaceError)
BEGINS_WITH_ID = re.compile(rb'\s*\{\s*"id"\s*:\s*(\d{1,15})\s*[,}]')


class RoomSocket(AsyncWebsocketConsumer):
    # No such layer: the hub reads it for all sockets of the process. A receiver each would cost more than the class.
    channel_layer_alias = "none"

    def __init__(self, hubs: Hubs | None = None) -> None:
        super().__init__()
        self.hubs = hubs
        self.wire: Wire | None = None
        self.session: RoomSession | None = None
        self.bucket = TokenBucket(REQUESTS_A_SECOND, REQUESTS_BURST)
        self.forgiveness = TokenBucket(REQUESTS_A_SECOND, FLOOD)
        self.lanes: dict[str, asyncio.Queue[tuple[int, registry.Entry, Any] | None]] = {}
        self.workers: list[asyncio.Task[None]] = []
        self.entering: asyncio.Future[None] | None = None  # while a room:join is being handled

    async def dispatch(self, message: dict[str, Any]) -> None:
        """As the base class does, without its hop to the database's thread for every frame."""
        kind = message["type"]
        if kind == "websocket.receive":
            await self.websocket_receive(message)
        elif kind == "websocket.connect":
            await self.connect()
        elif kind == "websocket.disconnect":
            await self.disconnect(message.get("code", 1006))
            raise StopConsumer

    # --- coming ------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        token = (parse_qs(self.scope["query_string"].decode("latin1")).get("token") or [""])[0]
        if not origin_allowed(self.scope, required=not token):
            await self.close()  # before accepting: the handshake is answered with 403
            return
        await self.accept()
        self.wire = wire_for(self.base_send)
        code = self.scope["url_route"]["kwargs"]["code"]
        hubs = self.hubs or process_hubs()
        try:
            visitor = await in_database(identify)(self.scope, code, token)
            hub = await hubs.hold(code)
        except services.NotAllowed as refused:
            metrics.DENIED.labels("room:enter").inc()
            self._tell_error(ERROR_CODES[refused.reason], refused.reason)
            self.wire.close(CLOSE_CODES[refused.reason])
            return
        except AWAY as error:
            hubs.complain(error)
            self.wire.close(errors.CLOSE_TRY_LATER)
            return
        self.session = self._session(visitor, hub)
        metrics.SOCKETS.inc()

    def _session(self, visitor: Visitor, hub: Hub) -> RoomSession:
        assert self.wire is not None
        return RoomSession(
            room=visitor.room,
            participant=visitor.participant,
            role=visitor.role,
            socket_id=secrets.token_urlsafe(9),
            hub=hub,
            wire=self.wire,
        )

    def _tell_error(self, code: errors.ErrorCode, message: str) -> None:
        assert self.wire is not None
        self.wire.write(Frame(fleeting(body_of("room:error", {"code": code, "error": message}))))

    # --- hearing -----------------------------------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.session is None or self.wire is None:
            return  # refused already; the close is on its way
        if text_data is None:
            self.wire.close(errors.CLOSE_UNSUPPORTED)
            return
        if len(text_data) > MAX_FRAME or len(frame := text_data.encode("utf-8", "replace")) > MAX_FRAME:
            self.wire.close(errors.CLOSE_TOO_LARGE)
            return
        now = time.monotonic()
        within_limits = self.bucket.take(now)
        if not within_limits and not self.forgiveness.take(now):
            self.wire.close(errors.CLOSE_FLOOD)
            return
        request_id: int | None = None
        try:
            request_id, entry, message = self._read(frame, within_limits)
            self._queue(self.session, entry.lane).put_nowait((request_id, entry, message))
            if not entry.joined and self.entering is None:
                self.entering = asyncio.get_running_loop().create_future()
        except Refused as refused:
            self._refuse(_readable_id(frame) if request_id is None else request_id, refused)
        except asyncio.QueueFull:
            self._refuse(request_id, Refused("rate_limited", "Too many requests are waiting for their answer."))

    def _read(self, frame: bytes, within_limits: bool) -> tuple[int, registry.Entry, Any]:
        if not within_limits:
            raise Refused("rate_limited", "Too many requests. Wait a moment.")
        try:
            envelope = msgspec.json.decode(frame, type=Envelope)
            entry = registry.EVENTS.get(envelope.event)
            if entry is None:
                raise Refused("bad_request", f"There is no event {envelope.event}.")
            message = msgspec.json.decode(envelope.data, type=entry.schema)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused("bad_request", str(error)[:200]) from None
        if message.meeting_id is not msgspec.UNSET and message.meeting_id != self._code:
            raise Refused("wrong_meeting", "This socket belongs to another meeting.")
        return envelope.id, entry, message

    @property
    def _code(self) -> str:
        return str(self.scope["url_route"]["kwargs"]["code"])

    def _queue(self, session: RoomSession, lane: str) -> asyncio.Queue[tuple[int, registry.Entry, Any] | None]:
        queue = self.lanes.get(lane)
        if queue is None:
            queue = self.lanes[lane] = asyncio.Queue(MAX_WAITING)
            self.workers.append(asyncio.create_task(self._work(session, queue)))
        return queue

    async def _work(self, session: RoomSession, queue: asyncio.Queue[tuple[int, registry.Entry, Any] | None]) -> None:
        """One lane: its requests one after another."""
        while (item := await queue.get()) is not None:
            request_id, entry, message = item
            try:
                self._write({"ack": request_id, "ok": True, "data": await self._handle(session, entry, message)})
                session.answered()
            except Refused as refused:
                if refused.code == "forbidden":
                    metrics.DENIED.labels(entry.event).inc()
                self._refuse(request_id, refused)
            if not entry.joined:
                self._entered()

    def _entered(self) -> None:
        """The room:join under way has ended, well or not: the other lanes wait no longer."""
        if self.entering is not None:
            self.entering.set_result(None)
            self.entering = None

    async def _handle(self, session: RoomSession, entry: registry.Entry, message: Any) -> dict[str, Any]:
        if session.closing:  # removed, ended, replaced: what still waits in the lanes is not done
            raise Refused("wrong_state", "This connection is being closed.")
        if entry.joined and not session.joined and self.entering is not None:
            await asyncio.wait([self.entering])  # another lane's room:join came first
        if entry.joined and not session.joined:
            raise Refused("wrong_state", "Join the class first.")
        if entry.needs is not None:
            session.demand(entry.needs)
        if entry.limit is not None and not session.is_within(entry.limit, time.monotonic()):
            raise Refused("rate_limited", "That is too often. Wait a moment.")
        try:
            return await entry.handler(session, message) or {}
        except Refused:
            raise
        except InvalidRequest as refused:
            raise Refused(refused.code, refused.message) from None
        except services.NotAllowed as refused:
            raise Refused(ERROR_CODES[refused.reason], refused.reason) from None
        except AWAY as error:
            session.hub.hubs.complain(error)
            raise Refused("internal", "The class cannot be reached at this moment. Try again.") from None
        except Exception:
            log.exception("%s failed in room %s", entry.event, session.room.code)
            raise Refused("internal", "Something went wrong on the server.") from None

    # --- answering ---------------------------------------------------------------------------------------------------

    def _refuse(self, request_id: int | None, refused: Refused) -> None:
        self._write({"ack": request_id, "ok": False, "error": {"code": refused.code, "message": refused.message}})

    def _write(self, answer: dict[str, Any]) -> None:
        assert self.wire is not None
        self.wire.write(Frame(msgspec.json.encode(answer).decode()))

    # --- going -------------------------------------------------------------------------------------------------------

    async def disconnect(self, code: int) -> None:
        session, self.session = self.session, None
        if session is None:
            return
        metrics.SOCKETS.dec()
        await self._finish_requests()
        hub = session.hub
        hub.detach(session)
        try:
            if session.session_id:  # also when the room:join was never answered
                session.joined = False
                await registry.on_disconnect.run(session)
                lease = SHORT_LEASE if code in errors.GOODBYE else LEASE
                if await hub.live.disconnect(session.participant_id, session.socket_id, lease):
                    await hub.note()
        except (RedisError, OSError) as error:
            hub.hubs.complain(error)  # nobody renews the lease any more: it runs out
        finally:
            await hub.hubs.release(hub)

    async def _finish_requests(self) -> None:
        """What has begun is finished (a message is stored, its event is told); what waits is dropped."""
        for queue in self.lanes.values():
            while not queue.empty():
                item = queue.get_nowait()
                if item is not None and not item[1].joined:
                    self._entered()
            queue.put_nowait(None)
        if self.workers:
            await asyncio.wait(self.workers, timeout=FINISH)
            await background.end(self.workers)


def _readable_id(frame: bytes) -> int | None:
    """The id of a request that is wrong, for its answer; of one that is not even JSON, when it begins with it."""
    try:
        return msgspec.json.decode(frame, type=EnvelopeId).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        begins = BEGINS_WITH_ID.match(frame)
        return int(begins[1]) if begins else None


def origin_allowed(scope: WebSocketScope | dict[str, Any], *, required: bool) -> bool:
    """A browser sends the page's Origin: only our own pages may use the session cookie that comes along unasked.

    With a token (which no foreign page has) a program may send none; one that is sent must be ours all the same.
    """
    headers = {name: value.decode("latin1") for name, value in scope["headers"] if name in (b"origin", b"host")}
    origin, host = headers.get(b"origin"), headers.get(b"host", "")
    if origin is None:
        return not required
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    try:
        parts, own = urlsplit(origin), urlsplit(f"//{host}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.hostname != own.hostname:
            return False
        default = 443 if parts.scheme == "https" else 80
        # A proxy that ends TLS passes a Host without port, or with the one that the browser used.
        if (parts.port or default) != (own.port or default):
            return False
    except ValueError:
        return False
    return validate_host(own.hostname or "", settings.ALLOWED_HOSTS)
