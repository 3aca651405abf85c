"""coturn as docs/turn.md sets it up: whom it serves, by what, and whom it relays to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aioice.stun
import aioice.turn
import pytest

from meetings.media.ice_servers import LIFETIME, turn_credentials
from tests.network.links import SERVER, SERVER_IPV6, Network
from tests.network.turn import SECRET, Relay, running_relay

WORKER = SERVER  # the one address that is relayed to


@pytest.fixture
def relay(network: Network, tmp_path: Path) -> Iterator[Relay]:
    with running_relay(tmp_path, SERVER, worker=WORKER) as running:
        yield running


class Heard(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.came: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.came.put_nowait((data, address))


@contextlib.asynccontextmanager
async def allocation(
    relay: Relay, *, transport: str = "udp", now: float = 0.0, secret: str = SECRET
) -> AsyncIterator[tuple[aioice.turn.TurnTransport, Heard]]:
    """A relayed address, as a browser gets one with the credential that Lectern gave it at `now`."""
    username, password = turn_credentials("sam", secret, now=now or time.time())
    context = None
    if transport == "tls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the test's own certificate
    relayed, heard = await aioice.turn.create_turn_endpoint(
        Heard,
        (relay.ip, relay.tls_port if transport == "tls" else relay.port),
        username,
        password,
        ssl=context,
        transport="udp" if transport == "udp" else "tcp",
    )
    try:
        yield relayed, heard
    finally:
        relayed.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_packets_go_to_the_worker_and_back_by_each_transport(relay: Relay, transport: str) -> None:
    loop = asyncio.get_running_loop()
    worker, heard_there = await loop.create_datagram_endpoint(Heard, local_addr=(WORKER, 0))
    async with allocation(relay, transport=transport) as (relayed, heard), asyncio.timeout(5):
        relayed.sendto(b"to the worker", worker.get_extra_info("sockname"))
        data, address = await heard_there.came.get()
        assert data == b"to the worker"
        worker.sendto(b"and back", address)
        assert (await heard.came.get())[0] == b"and back"
    worker.close()


async def refusal(relay: Relay, **how: object) -> int:
    with pytest.raises(aioice.stun.TransactionFailed) as failed:
        async with allocation(relay, **how):  # type: ignore[arg-type]
            pass
    return int(failed.value.response.attributes["ERROR-CODE"][0])


async def test_a_credential_that_ran_out_is_refused_and_so_is_one_of_another_secret(relay: Relay) -> None:
    assert await refusal(relay, now=time.time() - LIFETIME - 5) == 401
    assert await refusal(relay, secret="guessed") == 401
    async with allocation(relay, now=time.time() - LIFETIME + 60):
        pass


@pytest.mark.parametrize(
    "peer",
    ["127.0.0.1", "127.0.0.53", "169.254.169.254", "10.77.1.2", "192.168.0.1", "8.8.8.8", "0.0.0.0", "224.0.0.1"],
)
async def test_nobody_but_the_worker_is_relayed_to(relay: Relay, peer: str) -> None:
    async with allocation(relay) as (relayed, _):
        client = relayed._TurnTransport__inner_protocol  # type: ignore[attr-defined]
        with pytest.raises(aioice.stun.TransactionFailed) as failed:
            await client.channel_bind(0x4001, (peer, 9))
        assert failed.value.response.attributes["ERROR-CODE"][0] == 403
        await client.channel_bind(0x4002, (WORKER, 9))


@pytest.mark.parametrize("peer", ["::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.77.0.1", "fe80::1"])
async def test_not_by_ipv6_either(network: Network, tmp_path: Path, peer: str) -> None:
    keep = "allocation-default-address-family=keep\n"  # aioice cannot ask for IPv6
    with running_relay(tmp_path, SERVER_IPV6, worker=SERVER_IPV6, more=keep) as relay:
        async with allocation(relay) as (relayed, _):
            client = relayed._TurnTransport__inner_protocol  # type: ignore[attr-defined]
            assert ":" in relayed.get_extra_info("sockname")[0]
            with pytest.raises(aioice.stun.TransactionFailed) as failed:
                await client.channel_bind(0x4001, (peer, 9))
            assert failed.value.response.attributes["ERROR-CODE"][0] == 403
            await client.channel_bind(0x4002, (SERVER_IPV6, 9))
