"""Network namespaces without names: a thread goes in by `with`, and what it opens or starts there stays there."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading

CLONE_NEWNET = 0x4000_0000
TUN = "/dev/net/tun"
TUNSETIFF = 0x4004_54CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Namespace:
    """A network of its own, with a loopback and nothing else. Lives as long as it is held open or somebody is in it."""

    def __init__(self) -> None:
        self._outside: list[int] = []
        outside = _current()
        _call("unshare", CLONE_NEWNET)
        try:
            self._fileno = _current()
        finally:
            _call("setns", outside, CLONE_NEWNET)
            os.close(outside)
        self.ip("link set lo up")

    def __enter__(self) -> Namespace:
        self._outside.append(_current())
        _call("setns", self._fileno, CLONE_NEWNET)
        return self

    def __exit__(self, *_: object) -> None:
        outside = self._outside.pop()
        _call("setns", outside, CLONE_NEWNET)
        os.close(outside)

    def close(self) -> None:
        os.close(self._fileno)

    @property
    def prefix(self) -> list[str]:
        """Before a command: starts it in here, also from another process than this one."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._fileno}", "--"]

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM) -> socket.socket:
        """A socket of this network, usable from wherever the caller is."""
        with self:
            return socket.socket(family, kind)

    def lend_port(self, port: int, *, to: Namespace) -> None:
        """Whoever connects to this port of the other's loopback, once, is connected to the same one of this one's."""
        listening = to.socket(kind=socket.SOCK_STREAM)
        listening.bind(("127.0.0.1", port))
        listening.listen()

        def serve() -> None:
            with listening:
                near, _ = listening.accept()
            far = self.socket(kind=socket.SOCK_STREAM)
            with near, far:
                far.connect(("127.0.0.1", port))
                back = threading.Thread(target=_carry, args=(far, near), daemon=True)
                back.start()
                _carry(near, far)
                back.join()

        threading.Thread(target=serve, daemon=True).start()

    def ip(self, *commands: str) -> None:
        """`ip` commands of iproute2, one after the other."""
        with self:
            subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)

    def write(self, path: str, value: int) -> None:
        """A setting below /proc/sys/net."""
        with self, open(f"/proc/sys/net/{path}", "w") as file:
            file.write(str(value))

    def tun(self, name: str) -> int:
        """A new device: its packets are read from and written to this descriptor, one at a time, without a header."""
        with self:
            device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
            except OSError:
                os.close(device)
                raise
        return device


def why_not() -> str | None:
    """Why no namespaces can be made here; None: they can."""
    try:
        namespace = Namespace()
    except FileNotFoundError:
        return "the command `ip` (iproute2) is missing"
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespace ({error}): be root, or start it by `unshare --user --map-root-user --net`"
    with contextlib.closing(namespace):
        try:
            os.close(namespace.tun("probe"))
        except OSError as error:
            return f"no TUN device: {error}"
    return None
