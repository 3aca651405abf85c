"""DTLS without sockets: what an authenticated peer sends after the handshake costs no memory and hides nothing."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES
from OpenSSL import SSL

from sfu.worker.dtls import Certificate, DtlsServer
from sfu.worker.memory import give_back
from tests.sfu.peer import CERTIFICATE, split_records


class Client:
    """A browser's end of the handshake, hand in hand with the server."""

    def __init__(self, *, lose: frozenset[int] = frozenset(), rounds: int = 20) -> None:
        """`lose`: which of the server's datagrams do not arrive; a round takes 0.1 s."""
        self.server = DtlsServer(Certificate())
        fingerprint = CERTIFICATE.getFingerprints()[0]
        self.server.start([(fingerprint.algorithm, fingerprint.value)])
        self.ssl = SSL.Connection(CERTIFICATE._create_ssl_context(srtp_profiles=SRTP_PROFILES))
        self.ssl.set_connect_state()
        self.ssl.set_ciphertext_mtu(1200)
        sent = 0
        for round_ in range(rounds):
            with contextlib.suppress(SSL.WantReadError):
                self.ssl.do_handshake()
            for datagram in split_records(self.written()):
                self.server.receive(datagram, round_ / 10)
            self.server.repeat(round_ / 10)
            for datagram in self.server.datagrams_to_send():
                if sent not in lose:
                    self.ssl.bio_write(datagram)
                sent += 1
        assert self.server.state == "connected"

    def written(self) -> bytes:
        try:
            return self.ssl.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.server.receive(datagram, 0.0)

    def data(self, records: int) -> bytes:
        """One datagram with that many records of one byte each."""
        for _ in range(records):
            self.ssl.send(b"x")
        return self.written()

    def goodbye(self) -> bytes:
        self.ssl.shutdown()
        return self.written()


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.mark.parametrize(("lose", "rounds"), [({0}, 5), ({0, 1}, 9)])
def test_a_flight_that_was_lost_is_soon_sent_again(lose: set[int], rounds: int) -> None:
    """After 0.2 s, and 0.4 s later; OpenSSL's own patience is a second."""
    Client(lose=frozenset(lose), rounds=rounds)


def test_a_flight_that_nobody_answers_is_repeated_ever_less_often_and_not_for_ever() -> None:
    client = Client()
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


def test_a_goodbye_is_heard_whatever_was_sent_before_it(client: Client) -> None:
    for _ in range(20):
        client.send(client.data(records=25))
    assert client.server.state == "connected"
    client.send(client.goodbye())
    assert client.server.state == "closed"


def test_what_comes_after_the_goodbye_is_not_kept(client: Client) -> None:
    client.send(client.goodbye())
    assert client.server.state == "closed"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    junk = b"\x17\xfe\xfd" + bytes(1397)
    for _ in range(50_000):
        client.server.receive(junk, 0.0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert grown < 20_000


def test_junk_in_the_midst_of_a_class_is_not_kept_either(client: Client) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for first in (20, 21, 22, 23, 24, 63):
        junk = bytes([first]) + b"\xfe\xfd" + bytes(1397)
        for _ in range(10_000):
            client.server.receive(junk, 0.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    assert client.server.state == "connected"
    client.send(client.goodbye())
    assert client.server.state == "closed"


def test_a_connection_that_was_let_go_still_says_goodbye(client: Client) -> None:
    client.server.let_go()
    client.send(client.data(records=3))
    assert client.server.datagrams_to_send() == []
    assert client.server.state == "connected"
    client.server.close()
    for datagram in client.server.datagrams_to_send():
        client.ssl.bio_write(datagram)
    with pytest.raises(SSL.ZeroReturnError):
        client.ssl.recv(100)


def test_a_handshake_that_is_not_over_is_not_let_go() -> None:
    server = DtlsServer(Certificate())
    server.start([("sha-256", "AA")])
    server.let_go()
    hello = SSL.Connection(CERTIFICATE._create_ssl_context(srtp_profiles=SRTP_PROFILES))
    hello.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        hello.do_handshake()
    for datagram in split_records(hello.bio_read(1 << 16)):
        server.receive(datagram, 0.0)
    assert server.datagrams_to_send()


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_what_was_let_go_between_what_is_kept_goes_back_to_the_system():
    joined = [Client() for _ in range(100)]  # each client's own connection stays, next to the one of the server
    give_back()
    before = resident()
    for client in joined:
        client.server.let_go()
    give_back()
    assert before - resident() > 100 * 30_000
