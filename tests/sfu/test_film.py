"""Recorders get of each camera what the film can show: of whoever may be large the best layer, of others small ones."""

from __future__ import annotations

from typing import Any

import pytest

from recordings.composing.composition import SIZES, grid, presentation
from recordings.composing.floor import SPEAKS_FOR
from sfu.core.film import SURELY_LARGE, Spotlight, tile
from sfu.core.producer import Producer
from tests.sfu.layered import Decoder
from tests.sfu.network import FakeNetwork
from tests.sfu.test_quality_changes import Camera
from tests.sfu.voices import SPEECH, Conversation


class Everybody:
    """A recorder of all."""

    def wants(self, peer: str) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


@pytest.mark.parametrize("people", range(1, 40))
def test_no_layout_shows_anybody_larger_than_is_assumed(people: int) -> None:
    film = SIZES["1080p"]
    for shown, drawn in (
        (tile(people, beside=False), grid(min(people, 25), film)[0]),
        (tile(people, beside=True), presentation(5, film)[1][0]),
    ):
        assert shown.width is not None
        assert shown.height is not None
        assert drawn.width <= shown.width
        assert drawn.height <= shown.height


class Class:
    """Tina and Sam with cameras in three sizes, who are recorded, and many who watch. 25 pictures a second."""

    def __init__(self, watching: int) -> None:
        self.network = FakeNetwork()
        self.talk = Conversation(self.network, "tina", "sam")
        for number in range(watching):
            self.network.join(f"viewer{number}", "recv")
        self.cameras: dict[str, Camera] = {}
        self.producers: dict[str, Producer] = {}
        for name in ("tina", "sam"):
            transport = next(iter(self.network.router.peer(name).transports.values()))
            camera = self.cameras[name] = Camera(self.network.peers[transport], "VP8")
            self.producers[name] = self.network.produce(camera.peer, "video", camera.parameters)
        self.taken: list[bytes] = []
        self.network.on_tapped = lambda producer, packet, now: self.taken.append(bytes(packet))
        self.network.router.add_tap(Everybody(), self.network.now)

    def run(self, seconds: float, **says: int | None) -> None:
        for step in range(round(seconds * 25)):
            self.talk.pass_time(0.04, **says)
            for camera in self.cameras.values():
                camera.peer.send_rtp(*camera.picture((1, 2, 3)))
                if camera.pictures % 25 == 1:
                    camera.report()
            if step % 25 == 0:
                self.network.router.refresh_for_taps(self.network.now)

    def recorded(self, name: str) -> Decoder:
        return Decoder(self.cameras[name].frames, "VP8", self.taken, self.producers[name].ssrc)

    def size(self, name: str) -> int:
        """Of the layer that is recorded; 2: the best."""
        (size,) = {frame.spatial for _, frame in self.recorded(name).got[-10:]}
        return size


def test_a_small_tile_is_recorded_small_and_who_speaks_in_the_best_layer_before_he_is_large() -> None:
    lesson = Class(watching=23)
    lesson.run(5)
    assert (lesson.size("tina"), lesson.size("sam")) == (2, 0), "until somebody speaks, who came first may be large"
    lesson.run(5, sam=SPEECH)
    assert (lesson.size("tina"), lesson.size("sam")) == (0, 2)
    before = lesson.cameras["sam"].key_pictures
    lesson.run(40, sam=None)
    assert (lesson.size("tina"), lesson.size("sam")) == (0, 2), "silence changes nothing"
    assert lesson.cameras["sam"].key_pictures <= before + 2, "one about each 25 s"
    for name in ("tina", "sam"):
        lesson.recorded(name).assert_whole()


def test_the_best_layer_comes_within_the_second_that_the_film_waits() -> None:
    lesson = Class(watching=23)
    lesson.run(5, tina=SPEECH)
    lesson.run(1, tina=None, sam=SPEECH)
    while lesson.network.router.speakers.active != "sam":
        lesson.run(0.04)
    lesson.run(SPEAKS_FOR)
    assert lesson.size("sam") == 2


def test_in_a_small_class_all_are_recorded_in_the_best_layer() -> None:
    lesson = Class(watching=0)
    lesson.run(5)
    assert (lesson.size("tina"), lesson.size("sam")) == (2, 2)


def test_when_many_leave_the_tiles_grow_and_what_is_recorded_does() -> None:
    lesson = Class(watching=23)
    lesson.run(5)
    for number in range(23):
        lesson.network.router.close_peer(f"viewer{number}", "left")
    lesson.run(3)
    assert (lesson.size("tina"), lesson.size("sam")) == (2, 2)


def test_who_may_be_large_is_the_last_who_was_so_for_certain_and_all_who_spoke_after_him_or_lately() -> None:
    light = Spotlight()
    light.turn("ann", 0.0)
    light.turn(None, SURELY_LARGE + 1)
    light.turn("ben", 100.0)
    light.turn(None, 100.5)
    assert light.may_be_large(500.0) == {"ann", "ben"}, "a word or two may not have made him large"
    light.turn("cleo", 501.0)
    light.turn("ann", 510.0)
    assert light.may_be_large(511.0) == {"cleo", "ann"}
    light.turn(None, 520.0)
    assert light.may_be_large(521.0) == {"cleo", "ann"}, "they may go on"
    assert light.may_be_large(600.0) == {"ann"}
