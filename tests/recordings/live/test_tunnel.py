"""A push by RTMPS reaches the machine that was looked at, under its name, or nobody."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from recordings.composing.composition import FPS, SIZES
from recordings.composing.render import Canvas
from recordings.composing.segments import RATE
from recordings.live.encode import PARTS, SoundEncoder, VideoEncoder
from recordings.live.job import Job, write_job
from recordings.live.playlist import SOUND
from recordings.live.shelf import Shelf
from recordings.live.tunnel import Tunnel
from tests.lectern import ROOT

PATIENCE = 20.0  # seconds


def make_certificate(folder: Path, name: str) -> Path:
    """Of that name and of its own making, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / f"{name}.pem"
    path.write_bytes(
        made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


class Platform:
    """A server that takes TLS and notes for which name, and what is said then; it is no RTMP server and hangs up."""

    def __init__(self, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.sni_callback = lambda _, name, __: self.names.append(name)
        # Where "localhost" leads to on this machine.
        family, _, _, _, (self.address, *_) = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)[0]
        self._listener = socket.create_server((self.address, 0), family=family)
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]
        self.names: list[str | None] = []
        self.heard = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        raw, _ = self._listener.accept()
        raw.settimeout(PATIENCE)
        with raw:
            try:
                with self._context.wrap_socket(raw, server_side=True) as connection:
                    self.heard = connection.recv(1)
            except OSError:
                return  # they did not like our certificate

    def stop(self) -> None:
        self._thread.join(PATIENCE)
        self._listener.close()


@pytest.fixture
def make_platform(tmp_path: Path) -> Iterator[Callable[[str], Platform]]:
    made: list[Platform] = []

    def make(name: str) -> Platform:
        made.append(Platform(make_certificate(tmp_path, name)))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda name: monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / f"{name}.pem"))


def test_what_goes_in_comes_out_at_that_address_under_the_servers_name(
    make_platform: Callable[[str], Platform], trusted: Callable[[str], None]
) -> None:
    """Nobody knows where the name leads: nobody is asked."""
    name = "live.lectern.invalid"
    platform = make_platform(name)
    trusted(name)
    tunnel = Tunnel(platform.address, platform.port, name)
    try:
        with socket.create_connection(("127.0.0.1", tunnel.port), timeout=PATIENCE) as connection:
            connection.sendall(b"a")
            assert connection.recv(1) == b""  # it hung up, and so do we
    finally:
        tunnel.close()
    platform.stop()
    assert (platform.names, platform.heard) == ([name], b"a")


@pytest.mark.parametrize("shows", ["another.lectern.invalid", "live.lectern.invalid"])
def test_a_server_that_cannot_show_that_it_is_the_one_hears_nothing(
    make_platform: Callable[[str], Platform], trusted: Callable[[str], None], shows: str
) -> None:
    platform = make_platform(shows)
    if shows != "live.lectern.invalid":
        trusted(shows)
    with pytest.raises(OSError, match="TLS"):
        Tunnel(platform.address, platform.port, "live.lectern.invalid")
    platform.stop()
    assert platform.heard == b""


def test_a_stream_is_pushed_by_rtmps(
    tmp_path: Path, make_platform: Callable[[str], Platform], trusted: Callable[[str], None]
) -> None:
    platform = make_platform("localhost")
    trusted("localhost")
    out = tmp_path / "out"
    out.mkdir()
    made, pictures, sound = Shelf(out, 0.0), VideoEncoder("360p", SIZES["360p"]), SoundEncoder(0)
    canvas = Canvas(SIZES["360p"])
    made.open("360p", pictures.codec, pictures.bitrate, 1 / PARTS, pictures.init)
    made.open(SOUND, sound.codec, sound.bitrate, 1 / PARTS, sound.init)
    for tick in range(FPS):
        for part in pictures.encode(canvas, tick, tick + 1):
            made.put("360p", part)
    for part in sound.encode(np.zeros((RATE, 2), np.float32)):
        made.put(SOUND, part)
    job = Job(str(tmp_path), str(out), 0.0, ["360p"], f"rtmps://localhost:{platform.port}/app/key", push_private=True)
    command = [sys.executable, "-m", "recordings.live.push", str(write_job(job)), str(os.getpid())]
    with subprocess.Popen(command, cwd=ROOT) as process:
        platform.stop()
        process.kill()
    assert platform.names == ["localhost"]
    assert platform.heard == b"\x03"  # RTMP's version: its handshake begins
