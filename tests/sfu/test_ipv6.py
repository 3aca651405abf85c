"""One UDP and one TCP port for IPv4 and IPv6: checks, media by both ways of sending, and TCP, from either family."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from sfu.worker.datagrams import address_of, destination_of, socket_address
from tests.sfu.classroom import ROOM, Classroom
from tests.sfu.senders import OpusSender, Vp8Sender

pytestmark = pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")


@pytest.fixture
async def both() -> AsyncIterator[Classroom]:
    """A classroom whose worker listens on `::`."""
    room = Classroom()
    await room.media.start("::", 0, ["::1", "127.0.0.1"])
    room.media.open_room(ROOM)
    yield room
    await room.close()


@pytest.mark.parametrize(("many", "segments"), [(True, True), (True, False), (False, False)])
async def test_media_pass_between_the_families_by_all_ways_to_send(both: Classroom, many: bool, segments: bool) -> None:
    egress = both.media.endpoint.egress
    egress.many, egress.segments = many, many and segments and egress.segments
    tina = both.person("tina")
    up = await tina.connect("send", ip="::1")
    camera, microphone = tina.camera(), tina.microphone()
    downs = []
    for name, ip in (("sam", "127.0.0.1"), ("olga", "::1"), ("pia", "127.0.0.1")):
        person = both.person(name)
        downs.append(await person.connect("recv", ip=ip))
        person.consume(camera)
        person.consume(microphone)
    picture, voice = Vp8Sender(1111), OpusSender(2222)
    sent = [*picture.frame(7, key=True), voice.packet(), *picture.frame(1), voice.packet()]
    for packet in sent:
        up.send_rtp(packet)
    for down in downs:
        await down.packets(len(sent))
        assert down.unauthentic == 0
    assert both.media.counters()["packets_failed"] == 0


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_a_check_is_answered_with_the_address_that_the_asker_knows_himself_by(both: Classroom, ip: str) -> None:
    down = await both.person("sam").connect("recv", ip=ip)
    answer = await down.check()
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == down.local


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_tcp_is_there_for_both_families(both: Classroom, ip: str) -> None:
    tina, sam = both.person("tina"), both.person("sam")
    up, down = await tina.connect("send", ip="127.0.0.1"), await sam.connect("recv", ip=ip, protocol="tcp")
    sam.consume(tina.microphone())
    up.send_rtp(OpusSender(2222).packet())
    await down.packets(1)


async def test_a_receiver_may_move_from_one_family_to_the_other(both: Classroom) -> None:
    tina, sam = both.person("tina"), both.person("sam")
    up, down = await tina.connect("send", ip="::1"), await sam.connect("recv", ip="127.0.0.1")
    sam.consume(tina.microphone())
    voice = OpusSender(2222)
    up.send_rtp(voice.packet())
    await down.packets(1)
    down.remote = ("::1", down.remote[1])
    down.move()
    await down.check()
    up.send_rtp(voice.packet())
    await down.packets(2)


async def test_candidates_name_both_families_on_one_port(both: Classroom) -> None:
    candidates = both.person("sam").make("send").made.ice_candidates
    assert [(c["protocol"], c["address"]) for c in candidates] == [
        ("udp", "::1"), ("udp", "127.0.0.1"), ("tcp", "::1"), ("tcp", "127.0.0.1"),
    ]  # fmt: skip
    assert {c["port"] for c in candidates} == {both.media.port}
    assert both.media.announced == [f"[::1]:{both.media.port}", f"127.0.0.1:{both.media.port}"]


async def test_a_worker_may_listen_on_ipv6_alone() -> None:
    room = Classroom()
    await room.media.start("::1", 0, [])
    room.media.open_room(ROOM)
    down = await room.person("sam").connect("recv")
    assert down.remote[0] == "::1"
    await room.close()


def test_an_address_on_a_link_keeps_its_scope_and_ipv4_its_place_in_ipv6() -> None:
    key = socket_address(("fe80::1", 5000, 0, 3), socket.AF_INET6)
    assert address_of(key) == ("fe80::1", 5000)
    assert destination_of(key) == ("fe80::1", 5000, 0, 3)
    mapped = socket_address(("::ffff:192.0.2.1", 5000), socket.AF_INET6)
    assert address_of(mapped) == ("192.0.2.1", 5000)
    assert destination_of(mapped) == ("::ffff:192.0.2.1", 5000, 0, 0)
    assert destination_of(socket_address(("192.0.2.1", 5000), socket.AF_INET)) == ("192.0.2.1", 5000)
