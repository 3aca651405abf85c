"""A real S3 for tests: OpenStack Swift with its S3 interface, in one child process, on free ports, kept in memory.

Swift is a proxy (which speaks S3) before three servers: accounts, containers (buckets) and objects. Run as a module,
this file is that child: `python -m tests.object_store FOLDER`, the listening sockets inherited.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.redis_server import PR_SET_PDEATHSIG

ROOT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
ACCESS_KEY = "school:lectern"  # Swift's account and user
SERVERS = ("proxy", "account", "container", "object")

PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper s3api tempauth bulk slo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:s3api]
use = egg:swift#s3api
location = {region}

[filter:tempauth]
use = egg:swift#tempauth
user_school_lectern = {secret} .admin

[filter:bulk]
use = egg:swift#bulk

[filter:slo]
use = egg:swift#slo
"""

# Objects in memory: on a disk Swift needs extended attributes, which not every file system has.
BACKEND = """
[app:main]
use = egg:swift#{app}
devices = {folder}/devices
mount_check = false
fallocate_reserve = 0
"""


class ObjectStore:
    """`url`, `secret_key` and ACCESS_KEY are what a client needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret_key = secrets.token_urlsafe(16)
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in SERVERS}
        ports = {name: listener.getsockname()[1] for name, listener in sockets.items()}
        self.port = ports["proxy"]
        self._configure(ports)
        (self.folder / "sockets.json").write_text(json.dumps({name: s.fileno() for name, s in sockets.items()}))
        with (self.folder / "swift.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.object_store", str(self.folder)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno() for listener in sockets.values()],
                preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        for listener in sockets.values():
            listener.close()  # the child's now
        self._wait()

    def _configure(self, ports: dict[str, int]) -> None:
        (self.folder / "devices" / "disk").mkdir(parents=True)
        (self.folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = lectern\n")
        (self.folder / "ports.json").write_text(json.dumps(ports))
        (self.folder / "proxy.conf").write_text(PROXY.format(secret=self.secret_key, region=REGION))
        for app in ("account", "container", "object"):
            text = BACKEND.format(app="mem_object" if app == "object" else app, folder=self.folder)
            (self.folder / f"{app}.conf").write_text(text)
        for path in self.folder.glob("*.conf"):
            path.write_text(path.read_text() + f"\n[DEFAULT]\nswift_dir = {self.folder}\n")

    def _wait(self) -> None:
        """The sockets listen from the beginning: wait for an answer."""
        assert self.process is not None
        deadline = time.monotonic() + 30
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Swift did not start: {(self.folder / 'swift.log').read_text()[-3000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1")
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def options(self, bucket: str, url: str = "") -> dict[str, Any]:
        """What settings.S3_OPTIONS says of a store."""
        return {
            "endpoint_url": url or self.url,
            "bucket_name": bucket,
            "access_key": ACCESS_KEY,
            "secret_key": self.secret_key,
            "region_name": REGION,
        }


@contextlib.contextmanager
def running_object_store(folder: Path) -> Iterator[ObjectStore]:
    store = ObjectStore(folder)
    try:
        store.start()
        yield store
    finally:
        store.stop()


# --- the child -------------------------------------------------------------------------------------------------------


def serve(folder: Path) -> None:
    """All four servers in this process, each a green thread, until it is killed."""
    import eventlet
    from eventlet import wsgi

    eventlet.monkey_patch()
    from swift.common import utils

    utils.set_swift_dir(str(folder))
    utils.validate_hash_conf()
    from swift.common.http_protocol import SwiftHttpProtocol
    from swift.common.wsgi import loadapp

    ports = json.loads((folder / "ports.json").read_text())
    _write_rings(folder, ports)
    sockets = json.loads((folder / "sockets.json").read_text())
    threads = []
    for name in ("account", "container", "object", "proxy"):
        listener = eventlet.greenio.GreenSocket(socket.socket(fileno=sockets[name]))
        app = loadapp(str(folder / f"{name}.conf"))
        threads.append(
            eventlet.spawn(
                wsgi.server, listener, app, protocol=SwiftHttpProtocol, capitalize_response_headers=False, debug=False
            )
        )
    for thread in threads:
        thread.wait()


def _write_rings(folder: Path, ports: dict[str, int]) -> None:
    """Where each kind of thing lies: all of it on the one device of the one server."""
    from swift.common.ring import RingBuilder

    for name in ("account", "container", "object"):
        builder = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
        builder.add_dev(
            {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": ports[name], "device": "disk", "weight": 1.0}
        )
        builder.rebalance()
        builder.get_ring().save(os.path.join(folder, f"{name}.ring.gz"))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
