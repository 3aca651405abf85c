"""One hub a room and process: it hears the room's events once and writes one ready-made frame to all its own sockets.

`Hubs` is the process's side: one channel of the channel layer, which joins the group of each room that has a socket
here, one task that reads it, one that ticks. What the layer loses the hub reads from the event log; what the log no
longer has closes the sockets with 1012, and the clients come back for a whole snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from channels.layers import get_channel_layer
from redis.asyncio import Redis
from redis.exceptions import RedisError

from meetings import background, presence, registry
from meetings.errors import CLOSE_COME_AGAIN, CLOSE_REPLACED
from meetings.eventlog import EventLog, body_of, event_data, event_name, fleeting, numbered
from meetings.limits import TokenBucket
from meetings.live import LEASE, LiveRoom, News
from meetings.redis_client import TIMEOUT, connect
from meetings.wire import Frame

if TYPE_CHECKING:
    from meetings.session import RoomSession

log = logging.getLogger(__name__)

TICK = 2.0  # seconds between looks at the room's number: an event lost at the end of a burst is found by then
RENEW_EVERY = LEASE / 3  # seconds
CALM_JOINS = 10.0  # a second: with more, joiners share a snapshot that is at most 0.25 s old
RETRY_AFTER = 1.0  # seconds: a thousand who come while Redis is away do not wait for it one after another
RECENT = 500  # frames kept for a socket that joins while events arrive


class Hub:
    def __init__(self, hubs: Hubs, code: str) -> None:
        self.hubs = hubs
        self.code = code
        self.log = EventLog(hubs.redis, code)
        self.live = LiveRoom(hubs.redis, code)
        self.sessions: dict[str, RoomSession] = {}  # by participant_id; those who have joined
        self.arriving: set[RoomSession] = set()  # those whose room:join is being handled
        self.holders = 0  # sockets that are open here, joined or not
        self.last = 0  # the number of the last event delivered
        self.renewed = 0.0
        self.joins = TokenBucket(CALM_JOINS, CALM_JOINS)
        self.paired = False  # the two who are here are connected directly
        self.whole_room: Any = None  # the last snapshot for joiners, of use in a rush
        self._recent: deque[Frame] = deque(maxlen=RECENT)
        self._ahead: dict[int, str] = {}  # events that arrived before the one that is due
        self._recovery: asyncio.Task[None] | None = None
        self._reaping: asyncio.Task[None] | None = None
        self._flush: asyncio.TimerHandle | None = None

    # --- speaking to the room ----------------------------------------------------------------------------------------

    async def publish(self, event: str, data: dict[str, Any], *, once: str = "") -> int:
        """Number an event and send it to all in the room -> its seq. Raises RedisError when it cannot be numbered.

        Call it after the database has committed. The same `once` again is the same event: nobody gets it twice.
        """
        body = body_of(event, data)
        seq, fresh = await self.log.append(body, once)
        if fresh:
            await self.spread(seq, body)
        return seq

    async def note(self, *news: News) -> None:
        """Tell of participants joined, updated or left: gathered with other news, at most 4 frames a second a room."""
        gathered = await self.live.gather(*news)
        for seq, body in gathered.events:
            await self.spread(seq, body)
        if gathered.wait and self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(gathered.wait / 1000, self._flush_now)

    def _flush_now(self) -> None:
        self._flush = None
        self.hubs.spawn(self.note(), f"telling the news of {self.code}")

    async def send_fleeting(self, event: str, data: dict[str, Any]) -> None:
        """To all in the room, unnumbered: who misses it misses it."""
        frame = fleeting(body_of(event, data))
        self._write_to_all(Frame(frame))
        await self.hubs.tell(self.code, kind="fleeting", frame=frame)

    def send_here(self, event: str, data: dict[str, Any], *, needs: str = "") -> Frame:
        """To the sockets of this process alone, unnumbered: for what each process learns by itself.

        `needs`: only to those who have this permission.
        """
        frame = Frame(fleeting(body_of(event, data)))
        for session in list(self.sessions.values()):
            if not needs or session.may(needs):
                session.wire.write(frame)
        return frame

    async def send_to(self, participant_id: str, event: str, data: dict[str, Any]) -> None:
        """To one participant, wherever the socket is, unnumbered."""
        frame = fleeting(body_of(event, data))
        if session := self.sessions.get(participant_id):
            session.wire.write(Frame(frame))
        else:
            await self.hubs.tell(self.code, kind="private", to=participant_id, frame=frame)

    async def close_participant(self, participant_id: str, code: int, socket: str = "") -> None:
        """Close the sockets of one participant in every process, or only the one of that id."""
        self._close_here(participant_id, code, socket)
        await self.hubs.tell(self.code, kind="close", to=participant_id, close=code, socket=socket)

    async def close_all(self, code: int) -> None:
        self._close_all_here(code)
        await self.hubs.tell(self.code, kind="close", to="", close=code)

    def close_all_soon(self, code: int) -> None:
        self.hubs.spawn(self.close_all(code), f"closing {self.code}")

    async def spread(self, seq: int, body: str) -> None:
        """An event that is numbered and kept already."""
        self.receive(seq, body)
        await self.hubs.tell(self.code, kind="event", seq=seq, body=body)

    # --- hearing the room --------------------------------------------------------------------------------------------

    def heard(self, message: dict[str, Any]) -> None:
        """What another process's hub told."""
        kind = message["kind"]
        if kind == "event":
            self.receive(message["seq"], message["body"])
        elif kind == "fleeting":
            self._write_to_all(Frame(message["frame"]))
        elif kind == "private":
            if session := self.sessions.get(message["to"]):
                session.wire.write(Frame(message["frame"]))
        elif kind == "close":
            if message["to"]:
                self._close_here(message["to"], message["close"], message["socket"])
            else:
                self._close_all_here(message["close"])
        elif (told := registry.TOLD.get(kind)) is not None:
            told(self, message)

    def receive(self, seq: int, body: str) -> None:
        """An event, from wherever, in whatever order: delivered once, in the order of the numbers."""
        if seq <= self.last:
            return
        self._ahead[seq] = body
        while (due := self._ahead.pop(self.last + 1, None)) is not None:
            self._deliver(self.last + 1, due)
        if self._ahead:
            self._recover()

    def _deliver(self, seq: int, body: str) -> None:
        self.last = seq
        for reaction in registry.REACTIONS.get(event_name(body), ()):
            try:
                reaction(self, event_data(body))
            except Exception:
                log.exception("A reaction to %s failed", event_name(body))
        frame = Frame(numbered(seq, body), seq)
        self._recent.append(frame)
        for session in list(self.sessions.values()):
            if seq > session.after:
                session.wire.write(frame)

    def _recover(self) -> None:
        if self._recovery is None or self._recovery.done():
            self._recovery = self.hubs.spawn(self._read_missing(), f"reading what {self.code} missed")

    async def _read_missing(self) -> None:
        while True:
            missed = await self.log.since(self.last)
            if not missed.complete:
                await self._lose()
                return
            if not missed.events:
                return
            for seq, body in missed.events:
                self.receive(seq, body)

    async def _lose(self) -> None:
        """Events are gone for good (Redis restarted empty, or the hub was cut off for long)."""
        log.warning("Room %s has lost events: %d sockets are asked to come again", self.code, len(self.sessions))
        self._close_all_here(CLOSE_COME_AGAIN)
        self._ahead.clear()
        self._recent.clear()
        self.last = await self.log.ensure()

    def _write_to_all(self, frame: Frame) -> None:
        for session in list(self.sessions.values()):
            session.wire.write(frame)

    def sessions_of(self, participant_id: str) -> list[RoomSession]:
        """Here, joined or about to: what is decided about a person reaches also the one who is at the door."""
        joined = self.sessions.get(participant_id)
        arriving = [session for session in self.arriving if session.participant_id == participant_id]
        return [*arriving, joined] if joined else arriving

    def _close_here(self, participant_id: str, code: int, socket: str = "") -> None:
        for session in self.sessions_of(participant_id):
            if socket in ("", session.socket_id):
                session.close(code)

    def _close_all_here(self, code: int) -> None:
        for session in [*self.sessions.values(), *self.arriving]:
            session.close(code)

    # --- sockets -----------------------------------------------------------------------------------------------------

    def attach(self, session: RoomSession, after: int, missed: list[tuple[int, str]]) -> None:
        """From now on the session gets every event above `after`, each once: the `missed` that were read, then ours.

        Runs without a pause behind the acknowledgement of room:join.
        """
        if session.closing:  # removed or replaced while it was joining
            return
        other = self.sessions.get(session.participant_id)
        if other is not None and other is not session:
            other.close(CLOSE_REPLACED)
        for seq, body in missed:
            session.wire.write(Frame(numbered(seq, body), seq))
            after = seq
        for frame in self._recent:
            if frame.seq == after + 1:
                session.wire.write(frame)
                after = frame.seq
        session.after = after
        self.arriving.discard(session)
        self.sessions[session.participant_id] = session
        if after < self.last:  # more arrived in between than we keep: rare, and a snapshot heals it
            session.close(CLOSE_COME_AGAIN)

    def detach(self, session: RoomSession) -> None:
        self.arriving.discard(session)
        if self.sessions.get(session.participant_id) is session:
            del self.sessions[session.participant_id]

    # --- ticking -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        await self._subscribe()
        self.last = await self.log.ensure()
        self.reap_soon()

    def reap_soon(self) -> None:
        """Beside the tick: a media worker that does not answer for those who are lost holds up nobody's renewal."""
        if self._reaping is None or self._reaping.done():
            self._reaping = self.hubs.spawn(presence.reap(self), f"taking out the lost of {self.code}")

    async def _subscribe(self) -> None:
        # The layer's own connections have no time limit: a Redis that hangs must not hold up the process.
        async with asyncio.timeout(TIMEOUT):
            await self.hubs.layer.group_add(group_name(self.code), self.hubs.channel)

    async def tick(self, now: float) -> None:
        await self._subscribe()
        delivered = self.last
        current = await self.log.current()
        if current is None or current < delivered:  # not self.last: that may have gone on while Redis was asked
            await self._lose()
            return
        if current > self.last:
            self._recover()
        if now - self.renewed > RENEW_EVERY:
            self.renewed = now
            for participant_id in await self.live.renew(self.sessions):
                # Another process found the lease expired while Redis was away from us: they are out, and come again.
                self._close_here(participant_id, CLOSE_COME_AGAIN)
        if self.hubs.hubs.get(self.code) is self:  # it may have been shut meanwhile
            self.reap_soon()

    async def shut(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
        await background.end([self._recovery, self._reaping])
        async with asyncio.timeout(TIMEOUT):
            await self.hubs.layer.group_discard(group_name(self.code), self.hubs.channel)


def group_name(code: str) -> str:
    return f"room.{code}"


class Hubs:
    """All hubs of one process (of one event loop)."""

    def __init__(self, layer: Any = None, redis: Redis | None = None) -> None:
        self.layer = layer or get_channel_layer()
        self.redis = redis or connect()
        self.channel = ""
        self.hubs: dict[str, Hub] = {}
        # A lock a room: one whose hooks take their time keeps nobody out of the others.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._running: list[asyncio.Task[None]] = []
        self._complained = 0.0
        self._failed = 0.0  # when a hub could not be opened

    async def hold(self, code: str) -> Hub:
        """The room's hub, open; `release` it once for each hold."""
        if not self.channel:
            channel = await self.layer.new_channel("hub")
            self.channel = self.channel or channel
        async with self._lock(code):
            if not self._running:
                self._running = [asyncio.create_task(self._listen()), asyncio.create_task(self._tick())]
            hub = self.hubs.get(code)
            if hub is None:
                if time.monotonic() - self._failed < RETRY_AFTER:
                    raise ConnectionError("Redis was away a moment ago")
                hub = Hub(self, code)
                try:
                    await hub.open()
                except (RedisError, OSError):
                    self._failed = time.monotonic()
                    raise
                self.hubs[code] = hub
                await registry.on_hub_open.run(hub)
            hub.holders += 1
            return hub

    def _lock(self, code: str) -> asyncio.Lock:
        return self._locks.setdefault(code, asyncio.Lock())

    async def release(self, hub: Hub) -> None:
        async with self._lock(hub.code):
            hub.holders -= 1
            if hub.holders == 0 and self.hubs.get(hub.code) is hub:
                del self.hubs[hub.code]
                try:
                    await hub.shut()
                except (RedisError, OSError) as error:
                    self.complain(error)
                await registry.on_hub_close.run(hub)

    async def tell(self, code: str, **message: Any) -> None:
        """To the hubs of the other processes. What is lost here is found in the log, if it is numbered."""
        try:
            async with asyncio.timeout(TIMEOUT):
                await self.layer.group_send(
                    group_name(code), {"type": "room", "room": code, "from": self.channel, **message}
                )
        except (RedisError, OSError) as error:
            self.complain(error)

    def spawn(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        """Run in the background; a failure is logged, never lost."""
        task = asyncio.ensure_future(self._guard(work, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, work: Coroutine[Any, Any, None], what: str) -> None:
        try:
            await work
        except (RedisError, OSError) as error:
            self.complain(error)
        except Exception:
            log.exception("%s failed", what)

    def complain(self, error: BaseException) -> None:
        """At most one line a second, however many sockets find a part away."""
        now = time.monotonic()
        if now - self._complained >= 1.0:
            self._complained = now
            log.warning("Redis or the database is away: %s", error)

    async def _listen(self) -> None:
        while True:
            try:
                message = await self.layer.receive(self.channel)
                hub = self.hubs.get(message["room"])
                if hub is not None and message["from"] != self.channel:
                    hub.heard(message)
            except asyncio.CancelledError:
                raise
            except (RedisError, OSError) as error:
                self.complain(error)
                await asyncio.sleep(0.5)  # Redis is away: ask again, but not in a storm
            except Exception:
                log.exception("A message of the channel layer could not be read")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            for hub in list(self.hubs.values()):
                await self._guard(hub.tick(time.monotonic()), f"the tick of {hub.code}")

    async def stop(self) -> None:
        """Tests and a process that ends: stop listening, tell nobody."""
        await background.end([*self._running, *self._tasks])
        await self.redis.aclose()


_hubs_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Hubs] = WeakKeyDictionary()


def process_hubs() -> Hubs:
    """This process's hubs: one object an event loop, because Redis connections belong to one."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs_by_loop:
        _hubs_by_loop[loop] = Hubs()
    return _hubs_by_loop[loop]
