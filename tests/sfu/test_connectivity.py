"""How a peer finds its way to the worker and back: checks, handshakes, restarts, moving, silence."""

from __future__ import annotations

import asyncio

import pytest

from sfu.core.rtcp import PictureLossIndication
from sfu.protocol import InvalidRequest
from tests.sfu.classroom import ROOM, Classroom
from tests.sfu.senders import OpusSender, Vp8Sender
from tests.waiting import until


async def test_dtls_may_arrive_before_the_fingerprint_does(classroom: Classroom) -> None:
    sam = classroom.person("sam")
    transport = sam.make("send")
    await transport.open()
    await transport.check()
    handshake = asyncio.create_task(transport.handshake())
    await until(lambda: any(link._early for link in classroom.media.endpoint.links))
    classroom.media.connect_transport(ROOM, "sam", transport.made.transport_id, transport.dtls_parameters)
    await handshake
    await until(lambda: classroom.media.peer_state(ROOM, "sam").transports[0].connected)


async def test_a_wrong_fingerprint_gets_no_media(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up = await tina.connect("send")
    transport = sam.make("recv")
    parameters = transport.dtls_parameters
    parameters["fingerprints"][0]["value"] = ":".join(["00"] * 32)
    classroom.media.connect_transport(ROOM, "sam", transport.made.transport_id, parameters)
    with pytest.raises(TimeoutError):  # the certificate is looked at before the last flight is sent
        await asyncio.wait_for(transport.connect(), 0.5)
    sam.consume(tina.microphone())
    up.send_rtp(OpusSender(2222).packet())
    await until(lambda: classroom.media.stats(ROOM, "tina").producers[0]["streams"][0]["packets"] == 1)
    assert not classroom.media.peer_state(ROOM, "sam").transports[0].connected
    assert classroom.media.endpoint.egress.packets == 0


async def test_connecting_twice_is_refused_and_changes_nothing(classroom: Classroom) -> None:
    sam = classroom.person("sam")
    transport = await sam.connect("send")
    with pytest.raises(InvalidRequest) as refused:
        classroom.media.connect_transport(ROOM, "sam", transport.made.transport_id, transport.dtls_parameters)
    assert refused.value.code == "wrong_state"
    assert classroom.media.peer_state(ROOM, "sam").transports[0].connected


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"fingerprints": []},
        {"fingerprints": [{"algorithm": "md5", "value": "00"}]},
        {"fingerprints": ["sha-256"]},
        {"role": "server", "fingerprints": [{"algorithm": "sha-256", "value": "00"}]},
    ],
)
async def test_dtls_parameters_that_make_no_sense_are_refused(classroom: Classroom, parameters: dict) -> None:
    sam = classroom.person("sam")
    made = sam.make("send").made
    with pytest.raises(InvalidRequest) as refused:
        classroom.media.connect_transport(ROOM, "sam", made.transport_id, parameters)
    assert refused.value.code == "bad_request"


async def test_an_ice_restart_takes_old_credentials_until_the_new_are_used_and_media_goes_on(
    classroom: Classroom,
) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    sam.consume(tina.microphone())
    voice = OpusSender(2222)
    up.send_rtp(voice.packet())
    await down.until(lambda: len(down.rtp) == 1)

    restarted = classroom.media.restart_ice(ROOM, "sam", down.made.transport_id)
    answer = await down.check()
    assert answer.message_class.name == "RESPONSE", "the old credentials are still good"
    old_user, old_password = down.usernames, down.password
    down.restart_ice(restarted.ice_parameters)
    down.move()
    await down.check()
    up.send_rtp(voice.packet())
    await down.until(lambda: len(down.rtp) == 2)

    down.usernames, down.password = old_user, old_password
    answer = await down.check()
    assert answer.message_class.name == "ERROR", "now they are void"
    assert down.unauthentic == 0, "DTLS and SRTP stayed"


async def test_media_follows_a_receiver_to_another_port(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    sam.consume(tina.microphone())
    voice = OpusSender(2222)
    up.send_rtp(voice.packet())
    await down.until(lambda: len(down.rtp) == 1)
    down.move()
    await down.check()
    up.send_rtp(voice.packet())
    await down.until(lambda: len(down.rtp) == 2)


async def test_at_another_address_pictures_begin_anew_at_once_both_ways(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    sam.consume(tina.camera())
    picture = Vp8Sender(1111)
    for packet in picture.frame(3, key=True):
        up.send_rtp(packet)
    await down.packets(3)

    def asked() -> int:
        return sum(isinstance(packet, PictureLossIndication) for packet in up.rtcp)

    for who in (down, up):
        for packet in picture.frame(3, key=True):  # who had one just now is asked no sooner than half a second later
            up.send_rtp(packet)
        before = asked()
        who.move()
        await who.check()
        await until(lambda before=before: asked() > before)


def watching(classroom: Classroom, name: str) -> bool:
    """Whether he has begun again to get what he gets; he does so with the next tick after his check."""
    transports = classroom.media.routers[ROOM].peers[name].transports.values()
    return all(consumer.seat or consumer.target for each in transports for consumer in each.consumers.values())


async def test_a_silent_receiver_gets_nothing_after_thirty_seconds_until_he_asks_again(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    sam.consume(tina.microphone())
    voice = OpusSender(2222)
    link = next(x for x in classroom.media.endpoint.links if x.transport.peer.id == "sam")
    up.send_rtp(voice.packet())
    await down.until(lambda: len(down.rtp) == 1)
    assert link.ice.consent_at is not None
    link.ice.consent_at -= 31
    await until(lambda: link.outbound is None)
    for _ in range(5):
        up.send_rtp(voice.packet())
    await until(lambda: classroom.media.stats(ROOM, "tina").producers[0]["streams"][0]["packets"] == 6)
    assert classroom.media.endpoint.egress.packets == 1
    assert classroom.media.peer_state(ROOM, "sam").consumers, "nothing was closed"
    for estimate in (1e6, None):
        link.transport.pace(estimate, 0.0)
        assert link.outbound is None, "that the line seems narrow, or does not, is not his consent"
    await down.check()
    await until(lambda: watching(classroom, "sam"))
    up.send_rtp(voice.packet())
    await down.until(lambda: len(down.rtp) == 2)
    before, after = down.headers()
    # Over a gap of half of all numbers libsrtp takes new ones for old, and protects them under keys that were used.
    assert after.sequence_number == before.sequence_number + 1


async def test_a_second_transport_of_a_direction_replaces_the_first(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    await tina.connect("send")
    before = await sam.connect("recv")
    camera = tina.camera()
    sam.consume(camera)
    after = await sam.connect("recv")
    state = classroom.media.peer_state(ROOM, "sam")
    assert [t.transport_id for t in state.transports] == [after.made.transport_id]
    assert state.consumers == []
    assert before.made.transport_id != after.made.transport_id
    assert len(classroom.media.endpoint.links) == 2
    sam.consume(camera)


async def test_a_goodbye_by_dtls_alone_ends_nothing(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv")
    sam.consume(tina.microphone(2222))
    down.say_goodbye()
    await down.check()
    up.send_rtp(OpusSender(2222).packet())
    await down.packets(1)


async def test_candidates_name_every_announced_address_udp_before_tcp(classroom: Classroom) -> None:
    sam = classroom.person("sam")
    candidates = sam.make("send").made.ice_candidates
    assert [c["protocol"] for c in candidates] == ["udp", "tcp"]
    assert {c["port"] for c in candidates} == {classroom.media.port}
    assert candidates[0]["priority"] > candidates[1]["priority"]
    assert candidates[1]["tcpType"] == "passive"


async def test_a_closed_tcp_connection_is_forgotten_and_a_new_one_takes_over(classroom: Classroom) -> None:
    tina, sam = classroom.person("tina"), classroom.person("sam")
    up, down = await tina.connect("send"), await sam.connect("recv", protocol="tcp")
    sam.consume(tina.microphone())
    voice = OpusSender(2222)
    up.send_rtp(voice.packet())
    await down.until(lambda: len(down.rtp) == 1)
    await down.close()
    await until(lambda: len(classroom.media.endpoint.paths) == 1)
    up.send_rtp(voice.packet())
    await until(lambda: classroom.media.stats(ROOM, "tina").producers[0]["streams"][0]["packets"] == 2)
    await down.open()
    await down.check()
    await until(lambda: watching(classroom, "sam"))
    up.send_rtp(voice.packet())
    await down.until(lambda: len(down.rtp) == 2)
