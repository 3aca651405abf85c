"""nginx with its RTMP module, on a port of its own and in a folder of its own: it writes down what it receives."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.lectern import free_port, wait_until

MODULES = [Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules")]
CONFIG = """
load_module {module};
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log info; {user}
events {{ worker_connections 64; }}
rtmp {{ server {{
    listen 127.0.0.1:{port};
    application class {{ live on; record all; record_path {folder}/received; record_unique on; }}
}} }}
"""


class Nginx:
    def __init__(self, folder: Path) -> None:
        module = next((one for path in MODULES if (one := path / "ngx_rtmp_module.so").exists()), None)
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
        if module is None or program is None:
            pytest.fail("nginx and its RTMP module are not installed: ./test installs them where it may")
        self.port = free_port()
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "received").mkdir(parents=True)
        (folder / "received").chmod(0o777)
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(module=module, folder=folder, port=self.port, user=""))
        self._command = [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]

    def url(self, key: str) -> str:
        return f"rtmp://127.0.0.1:{self.port}/class/{key}"

    def start(self) -> None:
        self.process = subprocess.Popen(self._command)
        wait_until(self._listens, within=20, what="nginx")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2):
            return True
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def received(self) -> list[Path]:
        return sorted((self.folder / "received").glob("*.flv"), key=lambda path: path.stat().st_mtime)

    def wait_for(self, size: int) -> None:
        wait_until(lambda: any(path.stat().st_size > size for path in self.received()), within=30, what="RTMP at nginx")
