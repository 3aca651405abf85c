"""A media worker in this process and browsers at it with the page's media library, but without a classroom.

For what is between browser and worker alone: codecs and layers. The worker is the real one, in a thread with a loop of
its own, and a test may look into it.
"""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from playwright.sync_api import Browser, Page

from sfu.core.consumer import Consumer
from sfu.core.producer import Producer
from sfu.worker.media import MediaServer
from tests.lectern import ROOT, free_media_port, wait_until

ROOM = "studio"
FILES = {"/": Path(__file__).parent / "studio.html", "/mediasoup-client.js": ROOT / "static/vendor/mediasoup-client.js"}


def own_address() -> str:
    """Firefox connects to no loopback address: the one that this machine would reach the world from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


class _Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = FILES.get(self.path)
        if path is None:
            self.send_error(404)
            return
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if path.suffix == ".js" else "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Studio:
    def __init__(self, loop: asyncio.AbstractEventLoop, media: MediaServer, url: str) -> None:
        self._loop = loop
        self.media = media
        self.url = url
        self._names = 0

    def call(self, action: Callable[[], Any]) -> Any:
        """In the worker's own thread."""

        async def run() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def visit(self, browser: Browser) -> Guest:
        self._names += 1
        return Guest(self, browser, f"guest{self._names}")

    def producer(self, id: str) -> Producer:
        return self.media.routers[ROOM].producers[id]


class Guest:
    """One browser's page."""

    def __init__(self, studio: Studio, browser: Browser, name: str) -> None:
        self.studio = studio
        self.name = name
        self.context = browser.new_context(viewport={"width": 400, "height": 300})
        self.page: Page = self.context.new_page()
        self.log: list[str] = []
        self.page.on("console", lambda message: self.log.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.log.append(f"error: {error}"))
        self.page.expose_function("worker", self._ask)
        self.page.goto(studio.url)
        self.page.wait_for_function("globalThis.studio")
        studio.call(lambda: studio.media.open_peer(ROOM, name))
        self.receivable: list[str] = self._evaluate("load", studio.media.router_rtp_capabilities)

    def _ask(self, verb: str, fields: str) -> str | None:
        answer = self.studio.call(partial(getattr(self.studio.media, verb), ROOM, self.name, **json.loads(fields)))
        if answer is None:
            return None
        return json.dumps(msgspec.to_builtins(answer))

    def _evaluate(self, action: str, *arguments: object) -> Any:
        return self.page.evaluate(f"(given) => studio.{action}(...given)", list(arguments))

    @property
    def codecs(self) -> list[str]:
        return list(self._evaluate("codecs"))

    def produce(self, mime_type: str, encodings: list[dict[str, Any]], **picture: int) -> str:
        return str(self._evaluate("produce", mime_type, encodings, picture))

    def stop(self, producer_id: str) -> None:
        self._evaluate("stop", producer_id)

    def consume(self, producer_id: str) -> Watched:
        return Watched(self, **self._evaluate("consume", producer_id))

    def sent(self) -> list[dict[str, Any]]:
        return list(self._evaluate("sent"))

    def leave(self) -> None:
        self.context.close()
        self.studio.call(lambda: self.studio.media.close_peer(ROOM, self.name))


class Watched:
    def __init__(self, guest: Guest, consumer_id: str, type: str) -> None:
        self.guest = guest
        self.consumer_id = consumer_id
        self.type = type

    def stats(self) -> dict[str, Any]:
        return dict(self.guest._evaluate("received", self.consumer_id))

    def prefer(self, **fields: int) -> None:
        self.guest._evaluate("prefer", {"consumer_id": self.consumer_id, **fields})

    def forget_gaps(self) -> None:
        self.guest._evaluate("forgetGaps", self.consumer_id)

    def longest_gap(self) -> float:
        """Milliseconds without a new picture."""
        return float(self.guest._evaluate("longestGap", self.consumer_id))

    @property
    def consumer(self) -> Consumer:
        router = self.guest.studio.media.routers[ROOM]
        return router.consumer(router.peer(self.guest.name), self.consumer_id)

    @property
    def rung(self) -> tuple[int, int] | None:
        """Spatial and temporal layer that the worker sends."""
        seat = self.consumer.seat
        return None if seat is None else (seat.feed.layer.index, seat.feed.temporal)

    def wait_for(self, what: str, condition: Callable[[dict[str, Any]], object], within: float = 20) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def look() -> bool:
            found.update(self.stats())
            return bool(condition(found))

        wait_until(look, within=within, what=what)
        return found


@contextmanager
def running_studio() -> Iterator[Studio]:
    loop = asyncio.new_event_loop()
    media_thread = threading.Thread(target=loop.run_forever)
    media_thread.start()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    server_thread = threading.Thread(target=server.serve_forever)
    server_thread.start()
    media = MediaServer()
    try:
        asyncio.run_coroutine_threadsafe(media.start("0.0.0.0", free_media_port(), [own_address()]), loop).result(10)
        studio = Studio(loop, media, f"http://127.0.0.1:{server.server_port}/")
        studio.call(lambda: media.open_room(ROOM))
        yield studio
        asyncio.run_coroutine_threadsafe(media.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        media_thread.join()
        loop.close()
        server.shutdown()
        server_thread.join()
        server.server_close()
