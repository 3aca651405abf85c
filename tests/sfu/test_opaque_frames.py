"""End-to-end encrypted frames are forwarded by what stays clear: nothing depends on a byte behind it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from sfu.core.layers import Preference
from sfu.core.rtcp import Nack, PictureLossIndication, SenderReport
from sfu.core.rtp import parse_rtp
from tests.sfu.network import FakeNetwork, FakePeer
from tests.sfu.senders import OpusSender, Vp8Sender, opus_parameters, simulcast_parameters, vp8_parameters

Scramble = Callable[[int], bytes]

KEY_FRAME = bytes.fromhex("5042009d012a4001b400")  # 320x180 (RFC 6386, 9.1)
DELTA_FRAME = bytes.fromhex("314200")
DESCRIPTOR = 6  # bytes, with a temporal layer
PATTERN = ((0, False), (2, True), (1, True), (2, False))  # of pictures: temporal layer, and whether it is a step up

SCRAMBLES: dict[str, Scramble] = {
    "zeros": bytes,
    "ones": lambda length: b"\xff" * length,
    "start codes": lambda length: (KEY_FRAME * length)[:length],
    "chance": random.Random(19).randbytes,
}


def encrypted(packets: list[bytes], scramble: Scramble) -> list[bytes]:
    """A frame's packets, with all but its clear bytes made anew: they stand in the first."""
    found = []
    for number, packet in enumerate(packets):
        header = parse_rtp(packet)
        at = header.payload_offset + DESCRIPTOR
        clear = b"" if number else DELTA_FRAME if packet[at] & 1 else KEY_FRAME
        found.append(packet[:at] + clear + scramble(header.payload_end - at - len(clear)))
    return found


class Camera:
    """Three layers of a picture, in three temporal layers each; one packet of 97 gets lost."""

    def __init__(self, network: FakeNetwork, peer: FakePeer, scramble: Scramble) -> None:
        self.network, self.peer, self.scramble = network, peer, scramble
        self.layers = [Vp8Sender(100 * (index + 1), rid=rid, size=200) for index, rid in enumerate("qhf")]
        self.pictures = self.packets = self.asked = 0
        network.each_tick.append(self.tick)

    def tick(self) -> None:
        key = len(self.peer.heard(PictureLossIndication)) > 0  # Chromium answers in every layer
        self.asked += key
        self.peer.rtcp.clear()
        temporal, sync = PATTERN[self.pictures % 4]
        self.pictures += 1
        for layer in self.layers:
            frame = layer.frame(3, key=key, ticks=1800, temporal=0 if key else temporal, sync=sync)
            for packet in encrypted(frame, self.scramble):
                self.packets += 1
                if self.packets % 97:
                    self.peer.send_rtp(packet)
            if self.pictures % 50 == 1:
                ntp = (0xE000_0000 << 32) + (int(self.network.now * 1000) << 32) // 1000
                self.peer.send_rtcp(SenderReport(ssrc=layer.ssrc, ntp_timestamp=ntp, rtp_timestamp=layer.timestamp))


def a_class(scramble: Scramble) -> tuple[Any, ...]:
    """Layers go down and up, a packet is asked for again, somebody comes late: what of it can be seen from outside."""
    network = FakeNetwork()
    tina, sam, olga = network.join("tina", "send"), network.join("sam", "recv"), network.join("olga", "recv")
    producer = network.produce(tina, "video", simulcast_parameters())
    camera = Camera(network, tina, scramble)
    consumer = network.consume(sam, producer)
    network.advance(6.0)
    consumer.prefer(Preference(width=320, height=180), network.now)
    network.advance(3.0)
    consumer.prefer(Preference(width=1280, height=720, temporal=1), network.now)
    network.consume(olga, producer)
    network.advance(4.0)
    last = sam.headers()[-1]
    sam.send_rtcp(Nack(sender_ssrc=1, media_ssrc=last.ssrc, lost=[last.sequence_number - 1]))
    network.advance(1.0)
    seen = [
        [(h.ssrc, h.sequence_number, h.timestamp, h.marker, h.payload_type, len(p)) for h, p in received(peer)]
        for peer in (sam, olga)
    ]
    sizes = [(stream["width"], stream["height"]) for stream in producer.stats(network.now)["streams"]]
    assert len(seen[0]) > 300
    assert len(seen[1]) > 100
    return seen, sizes, camera.asked, dict(network.agenda.dropped)


def received(peer: FakePeer) -> list[tuple[Any, bytes]]:
    return list(zip(peer.headers(), peer.payloads(), strict=True))


@pytest.fixture(scope="module")
def as_zeros() -> tuple[Any, ...]:
    return a_class(SCRAMBLES["zeros"])


@pytest.mark.parametrize("name", ["ones", "start codes", "chance"])
def test_whatever_the_encrypted_bytes_are_the_same_is_forwarded(as_zeros: tuple[Any, ...], name: str) -> None:
    assert a_class(SCRAMBLES[name]) == as_zeros


def test_the_size_of_a_picture_is_told_by_the_clear_bytes(as_zeros: tuple[Any, ...]) -> None:
    assert set(as_zeros[1]) == {(320, 180)}


def test_an_encrypted_frame_arrives_byte_for_byte_and_who_is_late_begins_with_a_key_frame() -> None:
    network = FakeNetwork()
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    camera = network.produce(tina, "video", vp8_parameters(1111))
    network.consume(sam, camera)
    sender, chance = Vp8Sender(1111), random.Random(5).randbytes
    tina.send_rtp(*encrypted(sender.frame(2, temporal=0), chance))
    assert not sam.rtp, "no delta frame is taken for a key frame"
    sent = encrypted(sender.frame(2, key=True, temporal=0), chance) + encrypted(sender.frame(2, temporal=0), chance)
    tina.send_rtp(*sent)
    bodies = [packet[parse_rtp(packet).payload_offset + DESCRIPTOR :] for packet in sent]
    assert [payload[DESCRIPTOR:] for payload in sam.payloads()] == bodies


def test_an_encrypted_voice_is_judged_by_the_level_beside_it() -> None:
    network = FakeNetwork()
    tina, sam = network.join("tina", "send"), network.join("sam", "recv")
    network.consume(sam, network.produce(tina, "audio", opus_parameters(2222)))
    voice, chance = OpusSender(2222, level=20), random.Random(7).randbytes
    sent = []
    for _ in range(60):
        packet = voice.packet()
        at = parse_rtp(packet).payload_offset
        sent.append(b"\x78" + chance(len(packet) - at - 1))
        tina.send_rtp(packet[:at] + sent[-1])
        network.advance(0.02)
    assert sam.payloads() == sent
    assert network.router.speakers.active == "tina"
