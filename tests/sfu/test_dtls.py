"""DTLS without sockets: a handshake over a path that loses, and what is left of it when it is over."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterable
from pathlib import Path

import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES
from OpenSSL import SSL

from sfu.worker.dtls import Certificate, DtlsServer
from sfu.worker.memory import give_back
from tests.sfu.peer import CERTIFICATE, split_records


class Client:
    """A browser's end of the handshake, hand in hand with the server."""

    def __init__(self) -> None:
        self.flight: list[bytes] = []  # the newest
        self.server = DtlsServer(Certificate())
        fingerprint = CERTIFICATE.getFingerprints()[0]
        self.server.start([(fingerprint.algorithm, fingerprint.value)])
        self.ssl = SSL.Connection(CERTIFICATE._create_ssl_context(srtp_profiles=SRTP_PROFILES))
        self.ssl.set_connect_state()
        self.ssl.set_ciphertext_mtu(1200)

    def shake_hands(self, *, lose: Iterable[int] = (), rounds: int = 20) -> Client:
        """`lose`: which of the server's datagrams do not arrive; a round takes 0.1 s."""
        sent = 0
        for round_ in range(rounds):
            with contextlib.suppress(SSL.WantReadError):
                self.ssl.do_handshake()
            if written := self.written():
                self.flight = list(split_records(written))
                self.send(*self.flight, now=round_ / 10)
            self.server.repeat(round_ / 10)
            for datagram in self.server.datagrams_to_send():
                if sent not in lose:
                    self.ssl.bio_write(datagram)
                sent += 1
        return self

    def written(self) -> bytes:
        try:
            return self.ssl.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""

    def send(self, *datagrams: bytes, now: float) -> None:
        for datagram in datagrams:
            self.server.receive(datagram, now)

    def data(self, records: int) -> bytes:
        """One datagram with that many records of one byte each."""
        for _ in range(records):
            self.ssl.send(b"x")
        return self.written()


@pytest.fixture
def client() -> Client:
    return Client().shake_hands()


@pytest.mark.parametrize(("lose", "rounds"), [({0}, 5), ({0, 1}, 9)])
def test_a_flight_that_was_lost_is_soon_sent_again(lose: set[int], rounds: int) -> None:
    """After 0.2 s, and 0.4 s later; OpenSSL's own patience is a second."""
    assert Client().shake_hands(lose=lose, rounds=rounds).server.state == "connected"


def test_who_lost_the_last_flight_gets_it_as_often_as_a_browser_asks() -> None:
    client = Client().shake_hands(lose={1})
    server = client.server
    assert server.state == "connected"
    client.send(*client.flight, now=3.0)
    lost = server.datagrams_to_send()
    client.send(*client.flight, *client.flight, now=3.01)
    assert server.datagrams_to_send() == [], "so soon nobody asks who wants it for himself"
    client.send(*client.flight, now=3.05)
    assert server.datagrams_to_send() == lost
    for datagram in lost:
        client.ssl.bio_write(datagram)
    client.ssl.do_handshake()


def test_a_flight_that_nobody_answers_is_repeated_ever_less_often_and_not_for_ever(client: Client) -> None:
    server = DtlsServer(Certificate())
    server.start([("sha-256", "AA")])
    hello = SSL.Connection(CERTIFICATE._create_ssl_context(srtp_profiles=SRTP_PROFILES))
    hello.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        hello.do_handshake()
    for datagram in split_records(hello.bio_read(1 << 16)):
        server.receive(datagram, 0.0)
    flight = server.datagrams_to_send()
    assert flight
    repeated = []
    for tick in range(60 * 50):
        assert server.repeat(tick / 50)
        if again := server.datagrams_to_send():
            assert again == flight
            repeated.append(tick / 50)
    assert repeated == pytest.approx([0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 25.4], abs=0.1)
    assert not client.server.repeat(1.0), "who is connected waits for nothing"


def test_what_a_connected_client_sends_is_not_kept(client: Client) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    for first in (20, 21, 22, 23, 24, 63):
        junk = bytes([first]) + b"\xfe\xfd" + bytes(1397)
        for _ in range(10_000):
            client.server.receive(junk, 9.0)
    client.send(client.data(records=25), now=9.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    assert client.server.state == "connected"
    assert client.server.datagrams_to_send() == []


def test_the_goodbye_was_written_before_the_connection_was_let_go(client: Client) -> None:
    client.server.close()
    for datagram in client.server.datagrams_to_send():
        client.ssl.bio_write(datagram)
    with pytest.raises(SSL.ZeroReturnError):
        client.ssl.recv(100)


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_what_many_handshakes_at_once_took_goes_back_to_the_system() -> None:
    joining = [Client().shake_hands(rounds=1) for _ in range(100)]
    give_back()
    before = resident()
    for client in joining:  # each client's own connection stays, next to where the one of the server was
        assert client.shake_hands().server.state == "connected"
    give_back()
    assert before - resident() > 100 * 30_000
