"""A whole Lectern for a test: the supervisor with all its children, on free ports, with data of its own."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_media_port() -> int:
    """A port that is free for UDP and TCP alike."""
    for _ in range(50):
        port = free_port()
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("0.0.0.0", port))
            return port
    raise RuntimeError("no port is free for both UDP and TCP")


def wait_until(condition: Callable[[], object], *, within: float, what: str, every: float = 0.1) -> object:
    """The condition's first true value; AssertionError after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"{what} did not happen within {within} s"
        time.sleep(every)


def _die_with_parent() -> None:
    """A test run that is killed leaves no Lectern behind: SIGTERM lets the supervisor end its children."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Lectern:
    """`manage.py up` as a child process. `url` ends with a slash."""

    def __init__(self, data: Path, **environ: str) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://{environ.get('HOST', '127.0.0.1')}:{self.port}/"
        self.environ = {
            "PORT": str(self.port),
            "SFU_PORT": str(free_media_port()),
            "SFU_WORKERS": "1",
            "LECTERN_DATA": str(data),
            "LECTERN_DEMO": "1",
            **environ,
        }
        self.lines: list[str] = []
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        environ = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "DATABASE_URL"}}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env={**environ, "PYTHONUNBUFFERED": "1", **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        threading.Thread(target=self._collect, daemon=True).start()
        wait_until(lambda: self.says("Lectern is ready") or self.process_ended(), within=60, what="Lectern being ready")
        assert not self.process_ended(), self.output

    def _collect(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def says(self, text: str) -> bool:
        return text in self.output

    def process_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def children(self) -> dict[int, str]:
        """Every process below the supervisor, by id, with its command line."""
        found: dict[int, str] = {}
        parents: dict[int, int] = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                if stat[0] != "Z":
                    parents[int(folder.name)] = int(stat[1])
        assert self.process is not None
        below = {self.process.pid}
        grown = True
        while grown:
            new = {pid for pid, parent in parents.items() if parent in below} - below
            below |= new
            grown = bool(new)
        for pid in below - {self.process.pid}:
            with contextlib.suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def pids_of(self, what: str) -> list[int]:
        """The children whose command line has `what` in it, oldest first."""
        return sorted(pid for pid, command in self.children().items() if what in command)

    def pid_of(self, what: str) -> int:
        return self.pids_of(what)[0]

    def kill(self, what: str) -> int:
        """kill -9 of one of our own children; its id."""
        pid = self.pid_of(what)
        os.kill(pid, signal.SIGKILL)
        return pid

    def ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url + "readyz", timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    def api(self, path: str, body: dict[str, Any] | None = None, *, token: str = "") -> dict[str, Any]:
        """POST to /api/v1/, or GET without a body; HTTPError for what is refused."""
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}api/v1/{path}", content, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise


@contextlib.contextmanager
def running_lectern(data: Path, **environ: str) -> Iterator[Lectern]:
    lectern = Lectern(data, **environ)
    try:
        lectern.start()
        yield lectern
    finally:
        lectern.stop()
        (data / "output.log").write_text(lectern.output)
