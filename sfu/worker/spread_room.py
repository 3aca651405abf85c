"""One room that is on several workers, as one of them sees it: the other ends, and what is known of those on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

import structlog
from msgspec.structs import replace

from sfu.client import WorkerClient
from sfu.core.pipe import Pipe, PipeConsumer, PipeProducer
from sfu.core.router import Router
from sfu.protocol import InvalidRequest, ProducerInfo, RoomState
from sfu.worker.pipe_messages import Bring, Closed, Drop, Layers, Paused, PipeRequest, Voices, Want

if TYPE_CHECKING:
    from sfu.worker.connection import ControlConnection

log = structlog.get_logger("sfu.pipes")

ANSWER_WITHIN = 2.0  # seconds
IDLE = 5.0  # seconds after which a producer that nobody here has is not piped any more: a page's tiles come and go


class End:
    """The other end of one pipe of the room."""

    def __init__(self, *, client: WorkerClient, epoch: str, number: int) -> None:
        self.client = client
        self.epoch = epoch
        self.number = number  # by which it speaks to us
        self.theirs = 0  # by which we speak to it
        self.pipe: Pipe | None = None  # while it is open
        self.connection: ControlConnection | None = None  # by which it speaks
        self.given: set[str] = set()  # the producers that it has from us
        self.voices_told: Voices | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, request: Any) -> Any:
        """Raises InvalidRequest."""
        if isinstance(request, PipeRequest):
            request.pipe = self.theirs
        return await self.client.request(request, timeout=ANSWER_WITHIN)

    def tell(self, request: Any) -> None:
        """Ask without waiting for the answer; what is told first arrives first."""
        self.follow(self.ask(request), type(request).__name__)

    def follow(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        task = asyncio.ensure_future(_quietly(work, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class SpreadRoom:
    def __init__(self, router: Router, *, home: End | None = None) -> None:
        self.router = router
        self.home = home  # None: we are
        self.ends: list[End] = [home] if home is not None else []
        self.far: dict[str, tuple[End, ProducerInfo]] = {}  # what those on edges send; known to home alone
        self.far_peers: dict[str, End] = {}
        self.own: set[str] = set()  # of ours, what home was told of
        self._bringing: dict[str, asyncio.Task[None]] = {}

    # --- producers of others ---

    async def bring(self, producer_id: str, now: float) -> None:
        """Have a producer of another worker here. Raises InvalidRequest."""
        if producer_id in self.router.producers:
            return
        task = self._bringing.get(producer_id)
        if task is None:
            task = self._bringing[producer_id] = asyncio.ensure_future(self._bring(producer_id, now))
            task.add_done_callback(lambda task: self._brought(producer_id, task))
        await asyncio.shield(task)

    async def _bring(self, producer_id: str, now: float) -> None:
        end = self.far[producer_id][0] if producer_id in self.far else self.home
        if end is None or end.pipe is None:
            raise InvalidRequest("not_found", "no such producer")
        about = await end.ask(Bring(pipe=0, producer_id=producer_id))
        if end.pipe is None or producer_id in self.router.producers:
            return
        if self.home is None and producer_id not in self.far:
            raise InvalidRequest("not_found", "the producer was closed meanwhile")
        self.router.create_pipe_producer(end.pipe, about, now)

    def _brought(self, producer_id: str, task: asyncio.Task[None]) -> None:
        self._bringing.pop(producer_id, None)
        if not task.cancelled():
            task.exception()  # seen: whoever waits for it has it, too

    async def bring_all(self, now: float) -> None:
        """What the recorder wants. What cannot be brought is left out."""
        wanted = [id for id, (_, about) in self.far.items() if self.is_recorded(about.peer)]
        found = await asyncio.gather(*[self.bring(id, now) for id in wanted], return_exceptions=True)
        for error in found:
            if isinstance(error, BaseException):
                log.warning("producer_not_brought", why=str(error))

    def is_recorded(self, peer: str) -> bool:
        return any(tap.wants(peer) for tap in self.router.taps)

    async def settled(self, producer_id: str) -> PipeProducer | None:
        """The producer of another worker, when it is here, or is on its way."""
        task = self._bringing.get(producer_id)
        if task is not None:
            await asyncio.wait([task])
        producer = self.router.producers.get(producer_id)
        return producer if isinstance(producer, PipeProducer) else None

    # --- producers of ours ---

    def give(self, end: End, producer_id: str) -> PipeConsumer:
        producer = self.router.producers.get(producer_id)
        if producer is None or end.pipe is None or producer.transport is end.pipe:
            raise InvalidRequest("not_found", "no such producer")
        end.given.add(producer_id)
        return producer.pipe_consumers.get(end.pipe) or PipeConsumer(producer, end.pipe)

    def outgoing(self, end: End, producer_id: str) -> PipeConsumer | None:
        return end.pipe.outgoing.get(producer_id) if end.pipe is not None else None

    def who_has(self, producer_id: str, *, but: End | None = None) -> list[End]:
        """The ends that must hear of the producer: those that have it, and home."""
        return [
            end
            for end in self.ends
            if end is not but and (producer_id in end.given or (end is self.home and producer_id in self.own))
        ]

    async def tell_paused(self, producer_id: str, paused: bool, *, but: End | None = None) -> None:
        """Returns when all have done it; one that does not answer is about to be gone."""
        await _all(
            end.ask(Paused(pipe=0, producer_id=producer_id, paused=paused))
            for end in self.who_has(producer_id, but=but)
        )

    def tell_closed(self, producer_id: str, reason: str) -> None:
        self.far.pop(producer_id, None)
        for end in self.who_has(producer_id):
            end.given.discard(producer_id)
            end.tell(Closed(pipe=0, producer_id=producer_id, reason=reason))
        self.own.discard(producer_id)

    def note_paused(self, producer_id: str, paused: bool) -> None:
        if producer_id in self.far:
            end, info = self.far[producer_id]
            self.far[producer_id] = (end, replace(info, paused=paused))

    # --- time ---

    def tell_voices(self, *, again: bool = False) -> None:
        """Home tells its edges whose voices are forwarded: at once, for words begin with it."""
        speakers = self.router.speakers
        for end in self.ends:
            voices = Voices(pipe=end.theirs, limit=speakers.limit, chosen=sorted(speakers.forwarded))
            if again or voices != end.voices_told:
                end.voices_told = voices
                end.tell(voices)

    def each_second(self, now: float) -> None:
        if self.home is None:
            self.tell_voices(again=True)
        for end in self.ends:
            if end.pipe is None:
                continue
            for producer in list(end.pipe.producers.values()):
                assert isinstance(producer, PipeProducer)
                self._look_after(end, producer, now)
            for outgoing in end.pipe.outgoing.values():
                if (layers := outgoing.news(now)) is not None:
                    end.tell(Layers(pipe=0, producer_id=outgoing.producer.id, layers=layers))

    def _look_after(self, end: End, producer: PipeProducer, now: float) -> None:
        if producer.is_used:
            producer.wanted_at = now
        elif now - producer.wanted_at > IDLE:
            end.tell(Drop(pipe=0, producer_id=producer.id))
            self.router.close_producer(producer, "unwanted", tell=False)
            return
        self.tell_wish(end, producer)

    def tell_wish(self, end: End, producer: PipeProducer) -> None:
        wish = producer.wish()
        if wish != producer.wish_told:
            producer.wish_told = wish
            end.tell(Want(pipe=0, producer_id=producer.id, wish=wish))

    # --- telling ---

    def state(self) -> RoomState:
        """With what those on edges send."""
        here = self.router.state().producers
        known = {info.producer_id for info in here}
        far = [info for _, info in self.far.values() if info.producer_id not in known]
        return RoomState(producers=[*here, *far], recording=None)


async def _quietly(work: Coroutine[Any, Any, Any], what: str) -> None:
    try:
        await work
    except InvalidRequest as error:
        log.info("worker_not_told", what=what, why=error.code)


async def _all(asked: Iterable[Awaitable[Any]]) -> None:
    for error in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(error, InvalidRequest):
            log.warning("worker_did_not_answer", why=error.code)
        elif isinstance(error, BaseException):
            raise error
