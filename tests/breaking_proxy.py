"""A TCP proxy before a server that speaks HTTP/1.1: it passes all on until a test says that the server is broken."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
PIECE = 65536  # bytes


class BreakingProxy:
    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.failing = False  # every request is answered with 500
        self.fail_after: int | None = None  # after that many good ones every request is
        self.fail_next = 0  # that many requests are, then no more
        self.cut_after: int | None = None  # bytes of what clients send; then a connection is cut, once
        self.cut_answer_after: int | None = None  # the same of what the server sends
        self.flowing = threading.Event()  # while it is not set, what clients send waits here
        self.flowing.set()
        self.waiting = threading.Event()  # something does
        self.failed = 0  # requests answered with 500, connections cut
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # `close` alone would not wake the thread that waits in `accept`.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection(self._server) as server,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while self._pass_on(selector, client):
                pass

    def _pass_on(self, selector: selectors.BaseSelector, client: socket.socket) -> bool:
        for key, _ in selector.select():
            source, other = key.fileobj, key.data
            assert isinstance(source, socket.socket)
            data = source.recv(PIECE)
            if not data:
                return False
            if source is client and not self.flowing.is_set():
                self.waiting.set()
                self.flowing.wait()
            if self._breaks(client, data) if source is client else self._breaks_off(len(data)):
                return False
            other.sendall(data)
        return True

    def _breaks_off(self, size: int) -> bool:
        with self._lock:
            if self.cut_answer_after is None:
                return False
            self.cut_answer_after -= size
            if self.cut_answer_after >= 0:
                return False
            self.cut_answer_after = None
            self.failed += 1
            return True

    def _breaks(self, client: socket.socket, data: bytes) -> bool:
        with self._lock:
            is_request = data.split(b" ", 1)[0] in {b"GET", b"HEAD", b"PUT", b"POST", b"DELETE"}
            if is_request and self.fail_after is not None:
                self.fail_after -= 1
                if self.fail_after < 0:
                    self.failing, self.fail_after = True, None
            if self.failing or (is_request and self.fail_next):
                self.fail_next = max(0, self.fail_next - 1)
                self.failed += 1
                client.sendall(FAILURE)
                return True
            if self.cut_after is not None:
                self.cut_after -= len(data)
                if self.cut_after < 0:
                    self.cut_after = None
                    self.failed += 1
                    return True
            return False


@contextlib.contextmanager
def breaking_proxy(port: int) -> Iterator[BreakingProxy]:
    proxy = BreakingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
