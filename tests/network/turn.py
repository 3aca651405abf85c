"""A real coturn with the configuration that docs/turn.md tells, on free ports, where the test is."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.tls import self_signed
from tests.browser.conftest import executable
from tests.lectern import ROOT, free_media_port, wait_until

SECRET = "a-secret-of-the-relay"


@dataclass
class Relay:
    ip: str
    port: int
    tls_port: int
    log: Path

    def listens(self, port: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.ip, port), timeout=1):
            return True
        return False

    def urls(self, *transports: str) -> str:
        """`TURN_URLS` for "udp", "tcp" and "tls"."""
        known = {
            "udp": f"turn:{self.ip}:{self.port}?transport=udp",
            "tcp": f"turn:{self.ip}:{self.port}?transport=tcp",
            "tls": f"turns:{self.ip}:{self.tls_port}?transport=tcp",
        }
        return ",".join(known[transport] for transport in transports)


def configuration(worker: str, **changed: object) -> str:
    """The page's, with what is this test's own in its place."""
    found = re.search(r"^```\n(.*?)^```", (ROOT / "docs/turn.md").read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    text = found[1].replace("allowed-peer-ip=203.0.113.7", f"allowed-peer-ip={worker}")
    for name, value in changed.items():
        text, count = re.subn(rf"^{name.replace('_', '-')}=.*$", f"{name.replace('_', '-')}={value}", text, flags=re.M)
        assert count == 1, f"the page says nothing of {name}"
    return text


@contextlib.contextmanager
def running_relay(folder: Path, ip: str, *, worker: str, more: str = "") -> Iterator[Relay]:
    relay = Relay(ip, free_media_port(), free_media_port(), folder / "turn.log")
    key, certificate = self_signed(folder / "tls", [ip])
    text = configuration(
        worker, listening_port=relay.port, tls_listening_port=relay.tls_port, cert=certificate, pkey=key,
        static_auth_secret=SECRET,
    )  # fmt: skip
    own = f"listening-ip={ip}\nrelay-ip={ip}\npidfile={folder}/turn.pid\nuserdb={folder}/turndb\nlog-file=stdout\n"
    (folder / "turnserver.conf").write_text(f"{text}{own}simple-log\nverbose\n{more}")
    with relay.log.open("wb") as log:
        process = subprocess.Popen(
            [executable("turnserver"), "-c", str(folder / "turnserver.conf")], stdout=log, stderr=log
        )
    try:
        wait_until(lambda: all(map(relay.listens, (relay.port, relay.tls_port))), within=20, what="coturn listening")
        yield relay
    finally:
        process.terminate()
        started = time.monotonic()
        while process.poll() is None and time.monotonic() - started < 5:
            time.sleep(0.05)
        process.kill()
        process.wait()
