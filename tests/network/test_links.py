"""The bad network itself: what it does to packets is what it was told."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from tests.network.links import SERVER, SERVER_IPV6, Client, Network


class Echo:
    """Sends each datagram back, and tells where it came from."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("::", 0))
        self.port: int = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            data, address = self.socket.recvfrom(2048)
            if data == b"end":
                self.socket.close()
                return
            self.socket.sendto(f"{address[0]} {address[1]} ".encode() + data, address)

    def end(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", ("127.0.0.1", self.port))
        self.thread.join(5)


@pytest.fixture
def echo(network: Network) -> Iterator[Echo]:
    """In the server's namespace, as everything that the test starts."""
    echo = Echo()
    yield echo
    echo.end()


def exchange(client: Client, echo: Echo, data: bytes = b"?", *, ipv6: bool = False, within: float = 2.0) -> list[str]:
    """[address and port that the server sees, and the text]; TimeoutError."""
    with client.socket(socket.AF_INET6 if ipv6 else socket.AF_INET) as sock:
        sock.settimeout(within)
        sock.sendto(data, (SERVER_IPV6 if ipv6 else SERVER, echo.port))
        return sock.recv(2048).decode().split()


def test_the_server_is_reached_by_both_families(network: Network, echo: Echo) -> None:
    sam, olga = network.client(), network.client()
    assert exchange(sam, echo)[0] == "::ffff:10.77.1.2"
    assert exchange(olga, echo, ipv6=True)[0] == "fd77:2::2"


def test_delay_is_added_each_way_and_can_change(network: Network, echo: Echo) -> None:
    sam = network.client(delay=0.05)
    begin = time.monotonic()
    exchange(sam, echo)
    assert 0.1 <= time.monotonic() - begin < 0.3
    sam.link.set(delay=0.0, up={"delay": 0.15})
    begin = time.monotonic()
    exchange(sam, echo)
    assert 0.15 <= time.monotonic() - begin < 0.3


def test_a_slow_link_queues_and_then_drops(network: Network, echo: Echo) -> None:
    sam = network.client(down={"rate": 400_000, "queue": 0.1})
    with sam.socket() as sock:
        sock.settimeout(1.0)
        begin = time.monotonic()
        for _ in range(30):  # 1,028 bytes take 20.6 ms each, so 100 ms hold five of them
            sock.sendto(bytes(1000), (SERVER, echo.port))
        came = 0
        with contextlib.suppress(TimeoutError):
            while sock.recv(2048):
                came += 1
                last = time.monotonic() - begin
    down = sam.link.stats()["down"]
    assert came == down["packets"] == 30 - down["overflowed"]
    assert 5 <= came <= 8
    assert came * 0.02 <= last < 0.4
    assert 0.1 < down["waited"]["most"] < 0.13


def test_so_many_are_lost(network: Network, echo: Echo) -> None:
    sam = network.client(up={"loss": 0.2})
    with sam.socket() as sock:
        for _ in range(2000):
            sock.sendto(b"?", (SERVER, echo.port))
    deadline = time.monotonic() + 5
    carried = lost = 0
    while carried + lost < 2000:
        assert time.monotonic() < deadline
        up = sam.link.stats()["up"]
        carried, lost = carried + up["packets"], lost + up["lost"]
    assert 340 < lost < 460  # 400, and three deviations of 18


@pytest.mark.parametrize("ipv6", [False, True])
def test_a_nat_gives_another_port_and_address(network: Network, echo: Echo, ipv6: bool) -> None:
    sam = network.client()
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    with sam.socket(family) as sock:
        sock.settimeout(2.0)

        def seen() -> list[str]:
            sock.sendto(b"?", (SERVER_IPV6 if ipv6 else SERVER, echo.port))
            return sock.recv(2048).decode().split()[:2]

        before = seen()
        assert before[1] == str(sock.getsockname()[1])
        sam.link.rebind()
        after = seen()
        assert after[0] == before[0]
        assert after[1] != before[1]
        sam.link.rebind(address=True)
        assert seen()[0] not in before
        # Nothing comes in by the old port any more.
        echo.socket.sendto(b"late", (before[0], int(before[1])))
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(100)


def test_another_network_is_another_address(network: Network, echo: Echo) -> None:
    sam = network.client()
    before = exchange(sam, echo)[0], exchange(sam, echo, ipv6=True)[0]
    sam.move()
    assert (exchange(sam, echo)[0], exchange(sam, echo, ipv6=True)[0]) == ("::ffff:10.77.1.3", "fd77:1::3") != before


def test_without_udp_there_is_tcp(network: Network, echo: Echo) -> None:
    sam = network.client(udp=False)
    with pytest.raises(TimeoutError):
        exchange(sam, echo, within=0.2)
    with socket.create_server((SERVER, 0)) as server, sam.socket(kind=socket.SOCK_STREAM) as sock:
        sock.settimeout(2.0)
        sock.connect(server.getsockname())
        server.accept()[0].close()


def test_a_blackout_ends(network: Network, echo: Echo) -> None:
    sam = network.client()
    sam.link.set(connected=False)
    with pytest.raises(TimeoutError):
        exchange(sam, echo, within=0.2)
    sam.link.set(connected=True)
    assert exchange(sam, echo)


def test_clients_reach_each_other(network: Network) -> None:
    sam, olga = network.client(), network.client(delay=0.01)
    with sam.socket() as one, olga.socket() as other:
        other.bind((olga.ipv4, 0))
        other.settimeout(2.0)
        one.sendto(b"hello", other.getsockname())
        assert other.recvfrom(100) == (b"hello", (sam.ipv4, one.getsockname()[1]))


def test_a_process_started_on_a_machine_is_there(network: Network) -> None:
    sam = network.client()
    with sam:
        told = subprocess.run(["ip", "address"], capture_output=True, text=True, check=True).stdout
    assert sam.ipv4 in told
    assert SERVER not in told
