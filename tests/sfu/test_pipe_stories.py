"""Whatever happens on two workers in whatever order: no number stands for two packets, and nothing is kept."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.core.consumer import Consumer
from sfu.core.layers import Preference
from sfu.core.pipe import PipeProducer
from sfu.core.rtcp import Nack
from sfu.core.rtp import parse_rtp
from tests.sfu.layered import assert_no_number_twice
from tests.sfu.network import FakePeer
from tests.sfu.senders import OpusSender, Vp8Sender, opus_parameters, simulcast_parameters
from tests.sfu.test_simulcast import Encoder
from tests.sfu.voices import SPEECH
from tests.sfu.workers import Side, TwoWorkers


class Story:
    """Tina's camera and voice at home, viewers on both workers."""

    def __init__(self) -> None:
        self.workers = TwoWorkers()
        self.random = random.Random(1)
        home = self.workers.home.network
        self.tina = home.join("tina", "send")
        self.encoder = Encoder(home, self.tina)
        self.voice = OpusSender(7, level=SPEECH)
        self.producers = [
            home.produce(self.tina, "video", simulcast_parameters()),
            home.produce(self.tina, "audio", opus_parameters(7)),
        ]
        home.each_tick += [self.encoder.tick, lambda: self.tina.send_rtp(self.voice.packet())]
        self.mirrors: list[PipeProducer] = []
        self.viewers: list[tuple[Side, FakePeer]] = []
        self.consumers: list[Consumer] = []
        self.bring()
        self.watch(1, None)

    def run(self, ticks: int) -> None:
        self.workers.advance(ticks * 0.02)

    def bring(self) -> None:
        """As when nobody at the edge wanted it for a while: all of it anew."""
        for mirror in self.mirrors:
            self.workers.edge.router.close_producer(mirror, "unwanted", tell=False)
            self.workers.home.pipe.outgoing[mirror.id].close()
        self.consumers = [consumer for consumer in self.consumers if not isinstance(consumer.producer, PipeProducer)]
        self.mirrors = [self.workers.bring(producer, to=self.workers.edge) for producer in self.producers]

    def watch(self, worker: int, spatial: int | None) -> None:
        side = self.workers.sides[worker]
        viewer = side.network.join(f"viewer-{len(self.viewers)}", "recv")
        self.viewers.append((side, viewer))
        for producer in self.mirrors if side is self.workers.edge else self.producers:
            consumer = side.network.consume(viewer, producer)
            consumer.prefer(Preference(spatial=spatial), self.workers.now)
            self.consumers.append(consumer)

    def turn(self, which: int) -> None:
        if self.consumers:
            consumer = self.consumers[which % len(self.consumers)]
            if consumer.paused:
                consumer.resume(self.workers.now)
            else:
                consumer.pause()

    def ask_again(self, which: int) -> None:
        _, viewer = self.viewers[which % len(self.viewers)]
        if viewer.rtp:
            headers = self.random.sample(viewer.headers()[-40:], min(5, len(viewer.rtp)))
            viewer.send_rtcp(*[Nack(1, header.ssrc, [header.sequence_number]) for header in headers])

    def mute(self) -> None:
        """Or unmute."""
        for home, far in zip(self.producers, self.mirrors, strict=True):
            if home.paused:
                self.workers.edge.router.resume_producer(far, self.workers.now)
                self.workers.home.router.resume_producer(home, self.workers.now)
            else:
                self.workers.home.router.pause_producer(home)
                self.workers.edge.router.pause_producer(far)

    def lose(self, percent: int) -> None:
        self.workers.home.lose = lambda packet: self.random.random() < percent / 100

    def begin_anew(self) -> None:
        """The encoders' numbers have nothing to do with those before, but may be some of them."""
        senders: list[Vp8Sender | OpusSender] = [*self.encoder.layers, self.voice]
        for sender in senders:
            sender.number = sender.number + self.random.choice((20_000, -20_000)) & 0xFFFF

    def end(self) -> None:
        for side in self.workers.sides:
            side.router.close("over")
            side.router.close_pipe(side.pipe, "over")


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("watch"), st.integers(0, 1), st.sampled_from([None, 0, 1])),
        st.tuples(st.sampled_from(["turn", "ask_again"]), st.integers(0, 9)),
        st.tuples(st.sampled_from(["mute", "bring", "begin_anew"])),
        st.tuples(st.just("lose"), st.sampled_from([0, 20])),
        st.tuples(st.just("run"), st.integers(1, 120)),
    ),
    min_size=3,
    max_size=14,
)


@settings(max_examples=25)
@given(ACTIONS)
def test_no_number_stands_for_two_packets_and_nothing_is_kept(actions: list[tuple[Any, ...]]) -> None:
    story = Story()
    story.run(100)
    for action, *arguments in actions:
        getattr(story, action)(*arguments)
        story.run(5)
    crossed: dict[tuple[int, int], bytes] = {}
    for packet in story.workers.home.crossed:
        header = parse_rtp(packet)
        assert crossed.setdefault((header.ssrc, header.sequence_number), packet) == packet
    for _, viewer in story.viewers:
        # A voice is sent again as it was.
        assert_no_number_twice([*dict.fromkeys(viewer.rtp)])
    story.end()
    for side in story.workers.sides:
        agenda = side.network.agenda
        assert not side.pipe.by_ssrc
        assert not side.pipe.outgoing
        assert not side.pipe.streams
        assert not [*agenda.pipes, *agenda.nacking, *agenda.wanting, *agenda.talking]
        assert not side.router.producers
