"""A real web server for tests, and browsers that cost almost nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings

from benchmarks.websocket import WebSocket, connect
from tests.database import database_url
from tests.redis_server import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Daphne:
    port: int
    process: subprocess.Popen[bytes]

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def connections(self) -> int:
        """How many clients it has a connection to."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        states = [
            state for local, _, state in (line.split()[1:4] for line in lines) if local.endswith(f":{self.port:04X}")
        ]
        return sum(state in ("01", "08") for state in states)  # established, or closed by the client alone

    async def open(self, code: str, token: str) -> Browser:
        """A page in that room, not joined yet."""
        frames: list[dict[str, Any]] = []
        path = f"/ws/meetings/{code}/?token={token}"
        for _ in range(600):  # until Daphne listens
            with contextlib.suppress(ConnectionError):
                hear = lambda text: frames.append(json.loads(text))  # noqa: E731
                return Browser(await connect("127.0.0.1", self.port, path, hear), frames)
            await asyncio.sleep(0.05)
        raise AssertionError("Daphne does not listen")


@contextlib.contextmanager
def running_daphne(redis_url: str, folder: Path) -> Iterator[Daphne]:
    """On the database that the test uses."""
    port = free_port()
    environ = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "REDIS_URL": redis_url,
        "LECTERN_DATA": str(folder),
        "SECRET_KEY": django_settings.SECRET_KEY,
        "SFU_CONTROL_SECRET": django_settings.SFU_CONTROL_SECRET,
        "ALLOWED_HOSTS": "127.0.0.1",
    }
    with (folder / "daphne.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port), "config.asgi:application"],
            cwd=ROOT,
            env=environ,
            stdout=log,
            stderr=log,
        )
    try:
        yield Daphne(port, process)
    finally:
        process.kill()
        process.wait()


@dataclass
class Browser:
    socket: WebSocket
    frames: list[dict[str, Any]] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    patience: float = 5.0  # seconds to wait for an answer

    async def ask(self, event: str, data: dict[str, Any]) -> dict[str, Any]:
        number = next(self.ids)
        self.socket.send({"id": number, "event": event, "data": data})
        await until(lambda: any(f.get("ack") == number for f in self.frames), within=self.patience)
        return next(f for f in self.frames if f.get("ack") == number)

    def said(self) -> list[str]:
        return [f["data"]["message"] for f in self.frames if f.get("event") == "chat:message"]
