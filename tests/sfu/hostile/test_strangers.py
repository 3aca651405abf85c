"""What anybody on the internet can send to a worker's media port. The world is in siege.py: others notice nothing."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest
import pytest_asyncio
from aioice import stun

from sfu import protocol as p
from tests.fuzz.control import signed
from tests.fuzz.targets import hello
from tests.sfu.hostile.bystanders import ROOM
from tests.sfu.hostile.siege import MAX_AMPLIFICATION, Mallory, Siege, flood
from tests.sfu.peer import PeerTransport
from tests.sfu.senders import OpusSender

pytestmark = [pytest.mark.service, pytest.mark.asyncio(loop_scope="module")]

ZERO_FRAGMENT = bytes.fromhex("16feff0000000000000000000c" + "010000000000000000000000")
DTLS_JUNK = (ZERO_FRAGMENT, b"\x16", b"\x16\xfe\xfd" + bytes(10), b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def victim(siege: Siege) -> AsyncIterator[Mallory]:
    """One of the class whose ufrag the strangers know, but not his password."""
    victim = await siege.mallory(receives=True)
    yield victim
    await victim.leave()


def empty(to: PeerTransport) -> Iterator[bytes]:
    return itertools.repeat(b"")


def junk(to: PeerTransport) -> Iterator[bytes]:
    for first in itertools.cycle(range(256)):
        yield bytes([first]) + secrets.token_bytes(40)


def truncated_stun(to: PeerTransport) -> Iterator[bytes]:
    request = to.stun_request()
    for length in itertools.cycle(range(1, len(request))):
        yield request[:length]


def stun_of_bad_attribute_length(to: PeerTransport) -> Iterator[bytes]:
    username = f"{to.usernames}:x".encode()
    name = b"\x00\x06" + len(username).to_bytes(2, "big") + username + bytes(-len(username) % 4)
    for size in itertools.cycle((1, 5, 13, 300, 0xFFFF)):
        yield signed(name + b"\x00\x24" + size.to_bytes(2, "big") + b"1234")


def stun_without_integrity(to: PeerTransport) -> Iterator[bytes]:
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{to.usernames}:x"
    request.attributes["PRIORITY"] = 1
    request.attributes["USE-CANDIDATE"] = None
    request.add_fingerprint()
    return itertools.repeat(bytes(request))


def stun_of_a_wrong_ufrag(to: PeerTransport) -> Iterator[bytes]:
    while True:
        yield to.stun_request(ufrag=secrets.token_hex(8))


def stun_of_anothers_ufrag(to: PeerTransport) -> Iterator[bytes]:
    while True:
        yield to.stun_request(password=secrets.token_hex(16), nominate=False)


def spoofed_use_candidate(to: PeerTransport) -> Iterator[bytes]:
    while True:
        yield to.stun_request(password=secrets.token_hex(16), nominate=True)


def stun_with_many_fingerprints(to: PeerTransport) -> Iterator[bytes]:
    """Each of them costs a checksum over all that stands before it."""
    username = f"{to.usernames}:x".encode()
    name = b"\x00\x06" + len(username).to_bytes(2, "big") + username + bytes(-len(username) % 4)
    return itertools.repeat(signed(name + b"\x80\x28\x00\x04abcd" * 170)[:1500])


def client_hellos(to: PeerTransport) -> Iterator[bytes]:
    return itertools.repeat(hello()[:1400])


def dtls_junk(to: PeerTransport) -> Iterator[bytes]:
    return itertools.cycle(DTLS_JUNK)


def plain_rtp(to: PeerTransport) -> Iterator[bytes]:
    sender = OpusSender(2222)
    while True:
        yield sender.packet()


@pytest.mark.parametrize(
    ("attack", "counted"),
    [
        (empty, "empty_datagram"),
        (junk, "unknown_kind"),
        (truncated_stun, "unknown_ufrag"),
        (stun_of_bad_attribute_length, "stun_malformed"),
        (stun_without_integrity, "stun_400"),
        (stun_of_a_wrong_ufrag, "unknown_ufrag"),
        (stun_of_anothers_ufrag, "stun_401"),
        (spoofed_use_candidate, "stun_401"),
        (stun_with_many_fingerprints, "stun_malformed"),
        (client_hellos, "unknown_address"),
        (dtls_junk, "unknown_address"),
        (plain_rtp, "unknown_address"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_nobody_notices(
    siege: Siege, victim: Mallory, attack: Callable[[PeerTransport], Iterator[bytes]], counted: str
) -> None:
    """It is counted, it draws less than ten times its bytes, and no media goes to who sends it."""
    spent = drawn = 0
    with siege.strangers(8) as sockets:

        def send(datagram: bytes) -> None:
            nonlocal spent
            spent += len(datagram) + 28
            sockets[spent % 8].send(datagram)

        await siege.withstands(lambda: flood(attack(victim.down), send, at_once=10))
        for sock in sockets:
            try:
                while answer := sock.recv(2048):
                    drawn += len(answer) + 28
                    assert answer[:2] == b"\x01\x11", "nothing but refusals, and no media"
            except BlockingIOError:
                continue
    assert drawn <= MAX_AMPLIFICATION * spent
    assert (await siege.dropped())[counted] >= 40, "it did arrive"  # of checks the worker looks at 50, the victim's too


async def test_hellos_and_junk_from_elsewhere_do_not_keep_anybody_out(siege: Siege, victim: Mallory) -> None:
    """The ClientHello race: while strangers shake hands with everybody, one who is invited comes in."""
    with siege.strangers(8) as sockets:
        numbers = itertools.count()

        def send(datagram: bytes) -> None:
            sockets[next(numbers) % 8].send(datagram)

        async def attack() -> None:
            attacks = [asyncio.create_task(flood(kind(victim.down), send)) for kind in (client_hellos, dtls_junk, junk)]
            newcomer = await siege.mallory(receives=True)
            await newcomer.down.until(lambda: newcomer.down.rtp)
            await asyncio.gather(*attacks)
            await newcomer.leave()

        await siege.withstands(attack, lines=4)


async def test_junk_of_ones_own_in_the_midst_of_a_handshake(siege: Siege) -> None:
    """RTP before DTLS, hellos cut to pieces, alerts that nothing proves: the handshake comes about all the same."""
    request = siege.client.request

    async def attack() -> None:
        await request(p.OpenPeer(room=ROOM, peer="early"))
        made = await request(p.CreateTransport(room=ROOM, peer="early", direction="recv"))
        transport = PeerTransport(made)
        await transport.open()
        await transport.check()
        await flood(plain_rtp(transport), transport.send_raw, seconds=0.5)
        await flood(itertools.cycle([*DTLS_JUNK, hello()[:100]]), transport.send_raw, seconds=0.2)
        await request(
            p.ConnectTransport(
                room=ROOM, peer="early", transport_id=made.transport_id, dtls_parameters=transport.dtls_parameters
            )
        )
        for datagram in DTLS_JUNK:
            transport.send_raw(datagram)
        await transport.handshake()
        for datagram in DTLS_JUNK:
            transport.send_raw(datagram)
        await transport.check()
        assert (await request(p.OpenPeer(room=ROOM, peer="early"))).transports[0].connected
        await transport.close()
        await request(p.ClosePeer(room=ROOM, peer="early"))

    await siege.withstands(attack, lines=4)
    assert (await siege.dropped())["before_dtls"] > 0


async def test_a_certificate_that_was_not_announced_gets_nothing(siege: Siege) -> None:
    request = siege.client.request

    async def attack() -> None:
        for number in range(5):
            peer = f"wrong-{number}"
            await request(p.OpenPeer(room=ROOM, peer=peer))
            made = await request(p.CreateTransport(room=ROOM, peer=peer, direction="recv"))
            transport = PeerTransport(made)
            parameters = transport.dtls_parameters
            parameters["fingerprints"][0]["value"] = ":".join(["00"] * 32)
            await request(
                p.ConnectTransport(room=ROOM, peer=peer, transport_id=made.transport_id, dtls_parameters=parameters)
            )
            await transport.open()
            await transport.check()
            handshake = asyncio.create_task(transport.handshake())
            await asyncio.sleep(0)
            await transport.until(partial(has_certificate_of_server, transport))
            await transport.check()
            assert not (await request(p.OpenPeer(room=ROOM, peer=peer))).transports[0].connected
            handshake.cancel()
            await transport.close()
            await request(p.ClosePeer(room=ROOM, peer=peer))

    await siege.withstands(attack, lines=30)


def has_certificate_of_server(transport: PeerTransport) -> bool:
    return transport._ssl is not None and transport._ssl.get_peer_certificate() is not None
