"""One room on two workers, both on fake networks in one fake time, with a pipe between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from sfu.core.agenda import TICK
from sfu.core.pipe import Pipe, PipeConsumer, PipeProducer
from sfu.core.producer import Producer
from sfu.core.rtp import parse_rtp
from tests.sfu.network import FakeNetwork


class Side:
    """One worker, and its end of the pipe."""

    def __init__(self, prefix: int) -> None:
        self.network = FakeNetwork()
        ids = (f"{prefix}-{number}" for number in itertools.count())
        self.router = self.network.router
        self.router._new_id = lambda: next(ids)
        self.pipe = Pipe(id="pipe", room="room", agenda=self.network.agenda, prefix=prefix)
        self.router.open_pipe(self.pipe)
        self.crossed: list[bytes] = []  # RTP that left by the pipe
        self.lose: Callable[[bytes], bool] = lambda packet: False


class TwoWorkers:
    """`home` judges the voices, `edge` is a further worker."""

    def __init__(self) -> None:
        self.home, self.edge = Side(1), Side(2)
        self.edge.router.is_home = False
        self.telling = True  # False: what they say by their control connection is late
        self.home.network.pipes[self.home.pipe] = lambda datagram: self._cross(self.home, self.edge, datagram)
        self.edge.network.pipes[self.edge.pipe] = lambda datagram: self._cross(self.edge, self.home, datagram)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.home, self.edge

    @property
    def now(self) -> float:
        return self.home.network.now

    def _cross(self, sender: Side, receiver: Side, datagram: bytes) -> None:
        if 192 <= datagram[1] <= 223:
            receiver.pipe.receive_rtcp(datagram, self.now)
        else:
            sender.crossed.append(datagram)
            if sender.lose(datagram):
                return
            assert receiver.pipe.admits(parse_rtp(datagram).ssrc)
            receiver.pipe.receive_rtp(datagram, len(datagram), self.now)
        receiver.network.deliver()

    def bring(self, producer: Producer, *, to: Side) -> PipeProducer:
        """The same producer on the other side."""
        source = self.home if to is self.edge else self.edge
        about = PipeConsumer(producer, source.pipe).about(self.now)
        return to.router.create_pipe_producer(to.pipe, about, self.now)

    def advance(self, seconds: float) -> None:
        for step in range(round(seconds / TICK)):
            for side in self.sides:
                side.network.now = self.now + TICK if side is self.home else self.now
                for action in side.network.each_tick:
                    action()
                side.network.agenda.tick(side.network.now)
                side.network.deliver()
            if step % 50 == 0 and self.telling:
                self.tell()

    def tell(self) -> None:
        """What the workers tell each other by their control connection, about each second."""
        for side, other in (self.sides, self.sides[::-1]):
            for producer in side.pipe.producers.values():
                other.pipe.outgoing[producer.id].wish(producer.wish())  # type: ignore[attr-defined]
            for outgoing in side.pipe.outgoing.values():
                if (layers := outgoing.news(self.now)) is not None:
                    other.pipe.producers[outgoing.producer.id].tell(layers, self.now)  # type: ignore[attr-defined]
        self.edge.router.speakers.limit = self.home.router.speakers.limit
        self.edge.router.speakers.chosen = self.home.router.speakers.forwarded
