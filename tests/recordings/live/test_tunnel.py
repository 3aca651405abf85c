"""A push by RTMPS reaches the machine that was looked at, under its name, or nobody."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from recordings.composing.composition import FPS
from recordings.live.job import Job, write_job
from recordings.live.tunnel import Tunnel
from tests.lectern import ROOT, wait_until
from tests.recordings.live.conftest import Nothing
from tests.recordings.live.nginx import Nginx
from tests.recordings.live.tls import Front, listen_at_localhost, make_certificate

PATIENCE = 20.0  # seconds


class Platform:
    """A server that takes TLS and notes for which name, and what is said then; it is no RTMP server and hangs up."""

    def __init__(self, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.sni_callback = lambda _, name, __: self.names.append(name)
        self._listener = listen_at_localhost()
        self._listener.settimeout(PATIENCE)
        self.address, self.port, *_ = self._listener.getsockname()
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


@pytest.mark.service
def test_a_stream_arrives_by_rtmps(tmp_path: Path, nginx: Nginx, trusted: Callable[[str], None]) -> None:
    nginx.start()
    front = Front(make_certificate(tmp_path, "localhost"), nginx.port)
    trusted("localhost")
    out = tmp_path / "out"
    stream = Nothing(out)
    stream.show()
    stream.sound()
    url = f"rtmps://localhost:{front.port}/class/key"
    job = Job(str(tmp_path), str(out), 0.0, ["360p"], url, push_private=True)
    command = [sys.executable, "-m", "recordings.live.push", str(write_job(job)), str(os.getpid())]

    def pictures_there() -> int:
        with contextlib.suppress(av.FFmpegError), av.open(str(nginx.received()[0])) as container:
            return sum(1 for _ in container.decode(video=0)) if len(container.streams) == 2 else 0
        return 0

    with subprocess.Popen(command, cwd=ROOT) as process:
        wait_until(nginx.received, within=PATIENCE, what="the push")
        wait_until(lambda: pictures_there() >= FPS - 1, within=PATIENCE, what="a second of pictures at nginx")
        process.kill()
    front.stop()
    assert front.names == ["localhost"]
