"""`./run` on this machine: it gets ready, restarts what dies, ends all it started, and says what is in its way."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.network import lan_addresses
from tests.lectern import ROOT, Lectern, running_lectern, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]
PROCESSES = ["valkey", "daphne", "-m sfu", "config worker", "config beat", "manage.py streams"]


@pytest.fixture(scope="module")
def lectern(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lectern]:
    with running_lectern(tmp_path_factory.mktemp("up")) as running:
        yield running


def test_it_tells_the_address_and_the_demo_sign_ins(lectern: Lectern) -> None:
    address = f"Lectern is ready at http://127.0.0.1:{lectern.port}/"
    for words in (address, "lectern-demo", "/meetings/demo-class/"):
        wait_until(lambda words=words: words in lectern.output, within=10, what=f"{words} being told")


@pytest.mark.parametrize("what", PROCESSES)
def test_a_child_that_is_killed_is_started_again(lectern: Lectern, what: str) -> None:
    before = set(lectern.pids_of(what))
    lectern.kill(what)
    wait_until(
        lambda: len(lectern.pids_of(what)) == len(before) and set(lectern.pids_of(what)) != before,
        within=20,
        what=f"{what} being started again",
    )
    wait_until(lectern.ready, within=30, what="Lectern being ready again")


def test_sigterm_ends_everything_within_10_seconds(lectern: Lectern) -> None:
    """The last of the tests of that Lectern."""
    children = lectern.children()
    assert lectern.process is not None
    started = time.monotonic()
    lectern.process.send_signal(signal.SIGTERM)
    lectern.process.wait(timeout=15)
    assert time.monotonic() - started <= 10
    left = {pid: command for pid, command in children.items() if is_alive(pid)}
    assert left == {}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def up(data: Path, *, before: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    command = f"{before} exec {sys.executable} manage.py up"
    return subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT,
        env={**os.environ, "LECTERN_DATA": str(data), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = up(tmp_path, PORT=str(port))
    assert result.returncode != 0
    assert f"127.0.0.1:{port} is taken by another program" in result.stderr
    assert "PORT=" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_taken_media_port_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, socket.socket() as web:
        taken.bind(("0.0.0.0", 0))
        web.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        free = web.getsockname()[1]
        web.close()
        result = up(tmp_path, PORT=str(free), SFU_PORT=str(port), SFU_WORKERS="1")
    assert result.returncode != 0
    assert f"UDP port {port} (media) is taken" in result.stderr
    assert "SFU_PORT=" in result.stderr


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """On a file system of 20 MB, mounted in a namespace of its own."""
    mount = f"mount -t tmpfs -o size=20m tmpfs {tmp_path} &&"
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    result = subprocess.run(
        ["unshare", "--mount", *user, "sh", "-c", f"{mount} exec {sys.executable} manage.py up"],
        cwd=ROOT,
        env={**os.environ, "LECTERN_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0
    assert "The disk is full" in result.stderr
    assert "LECTERN_DATA" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_that_is_no_number_is_named(tmp_path: Path) -> None:
    result = up(tmp_path, PORT="eighty")
    assert result.returncode != 0
    assert "PORT" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def by_https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lectern]:
    with running_lectern(tmp_path_factory.mktemp("https"), HTTPS="1") as running:
        yield running


def test_https_serves_every_address_with_a_certificate_that_names_it(by_https: Lectern) -> None:
    tls = by_https.data / "tls"
    trusting = ssl.create_default_context(cafile=str(tls / "certificate.pem"))
    for host in ["127.0.0.1", *lan_addresses()]:
        address = f"https://{host}:{by_https.port}/"
        assert address in by_https.output
        with urllib.request.urlopen(f"{address}accounts/login/", timeout=10, context=trusting) as page:
            assert page.status == 200
            assert "Secure" in str(page.headers["Set-Cookie"])
    assert (tls / "key.pem").stat().st_mode & 0o077 == 0


def test_a_killed_supervisor_leaves_no_orphan(by_https: Lectern) -> None:
    """The last of the tests of that Lectern."""
    children = by_https.children()
    assert by_https.process is not None
    by_https.process.kill()
    by_https.process.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in children), within=10, what="all children being gone")
