"""Give viewers their files: `/live/<id>/720p-17.2.m4s` and the like, by a path through the web process of its own.

Two hundred viewers ask a thousand times a second. None of that touches a media worker, the database or a session: a
signed cookie, which the page's view gives after its access check (`views`), opens a stream for PASS_LIVES; a public one
needs none. Playlists that tell of parts are waited for here (RFC 8216bis, section 6.2.5.2), and so is the part that a
playlist has hinted at.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.core import signing
from redis.exceptions import RedisError

from meetings.redis_client import connect

Scope = dict[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]

PATH = re.compile(r"/live/([0-9a-f]{24})/([a-z0-9][a-z0-9.-]{0,40}\.(m3u8|mpd|m4s|mp4|json))")
TYPES = {
    "m3u8": b"application/vnd.apple.mpegurl",
    "mpd": b"application/dash+xml",
    "m4s": b"video/iso.segment",
    "mp4": b"video/mp4",
    "json": b"application/json",
}
PRIVATE = {"job.json", "shelf.json"}
PASS, SALT = "live", "recordings.live"
PASS_LIVES = 300  # seconds
WAIT_MOST = 3.0  # seconds for what is about to come: three segments
LOOK_EVERY = 0.02  # seconds, for all who wait for the same file together
VIEWING = 25.0  # seconds after a viewer's last question
VIEWER = re.compile(r"[A-Za-z0-9_-]{8,40}")
COUNT_EVERY = 2.0  # seconds
MOST_VIEWERS = 100_000  # of a stream that one process counts between two times


def viewers_key(public_id: str) -> str:
    return f"lectern:stream:{public_id}:viewers"


def give_pass(public_id: str) -> str:
    return signing.TimestampSigner(salt=SALT).sign(public_id)


class LiveFiles:
    """An ASGI application in front of the pages: takes what is a stream's file, and passes on everything else."""

    def __init__(self, pages: App) -> None:
        self._pages = pages
        self._waits: dict[Path, asyncio.Task[None]] = {}
        self._seen: dict[str, dict[str, float]] = {}
        self._counting: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        found = PATH.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._pages(scope, receive, send)
            return
        public_id, name, ending = found.groups()
        folder = Path(settings.LIVE_DIR) / public_id
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405)
        elif name in PRIVATE or not self._may(scope, public_id, folder):
            await _answer(send, 404)
        else:
            await self._give(scope, send, folder / name, ending)

    def _may(self, scope: Scope, public_id: str, folder: Path) -> bool:
        if (folder / "public").exists():
            return True
        for name, value in scope["headers"]:
            if name == b"cookie":
                try:
                    passed = SimpleCookie(value.decode("latin-1")).get(PASS)
                    if passed is not None:
                        signer = signing.TimestampSigner(salt=SALT)
                        return signer.unsign(passed.value, max_age=PASS_LIVES) == public_id
                except (CookieError, signing.BadSignature):
                    return False
        return False

    async def _give(self, scope: Scope, send: Send, path: Path, ending: str) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1")) if scope["query_string"] else {}
        if ending == "m3u8" and "_HLS_msn" in query:
            try:
                wanted = (int(query["_HLS_msn"][0]), int(query.get("_HLS_part", ["-1"])[0]))
            except ValueError:
                await _answer(send, 400)
                return
            if not await self._told(path, wanted):
                await _answer(send, 400 if _position(path) is not None else 404)
                return
        elif ending == "m4s" and _read(path) is None:
            await self._hinted(path)
        elif ending == "json" and (viewer := query.get("viewer")) and VIEWER.fullmatch(viewer[0]):
            self._count(path.parent.name, viewer[0])
        data = _read(path)
        if data is None:
            await _answer(send, 404)
            return
        # A segment never changes; whoever has it may keep it. What is told is of this moment.
        kept = b"max-age=60, immutable" if ending in ("m4s", "mp4") else b"no-cache"
        scope_of_cache = b"public, " if (path.parent / "public").exists() else b"private, "
        headers = [
            (b"content-type", TYPES[ending]),
            (b"content-length", str(len(data)).encode()),
            (b"cache-control", scope_of_cache + kept),
            (b"x-content-type-options", b"nosniff"),
        ]
        if ending != "json":
            headers.append((b"access-control-allow-origin", b"*"))  # players on other sites; cookies do not go with it
        await _answer(send, 200, b"" if scope["method"] == "HEAD" else data, headers)

    # --- waiting ---

    async def _told(self, path: Path, wanted: tuple[int, int]) -> bool:
        """Does the playlist tell of that part (segment, where part is -1)? After waiting for it."""
        until = time.monotonic() + WAIT_MOST
        while (position := _position(path)) is not None:
            segment, part = wanted
            told = segment < position.segment or (segment == position.segment and 0 <= part < position.part)
            if told or position.over:
                return True
            if segment > position.segment + 1 or time.monotonic() > until:
                return False  # too far ahead (section 6.2.5.2), or the stream stands still
            await self._changed(path)
        return False

    async def _hinted(self, path: Path) -> None:
        """The part that the playlist names as the next one comes within a moment."""
        name, _, place = path.stem.rpartition("-")
        playlist = path.with_name(f"{name}.m3u8")
        until = time.monotonic() + WAIT_MOST
        while (position := _position(playlist)) is not None and time.monotonic() < until:
            if place != f"{position.segment}.{position.part}" or position.over:
                return
            await self._changed(playlist)

    async def _changed(self, path: Path) -> None:
        """Wait for another version of the file, or for a second. One looks for all."""
        task = self._waits.get(path)
        if task is None:
            task = self._waits[path] = asyncio.create_task(_wait_for_change(path))
            task.add_done_callback(lambda done: self._waits.pop(path, None))
        await asyncio.shield(task)

    # --- counting ---

    def _count(self, public_id: str, viewer: str) -> None:
        seen = self._seen.setdefault(public_id, {})
        if len(seen) < MOST_VIEWERS:
            seen[viewer] = time.time()
        if self._counting is None:
            self._counting = asyncio.create_task(self._store_counts())

    async def _store_counts(self) -> None:
        await asyncio.sleep(COUNT_EVERY)
        self._counting = None
        seen, self._seen = self._seen, {}
        redis = connect()
        try:
            for public_id, viewers in seen.items():
                await redis.zadd(viewers_key(public_id), viewers)
                await redis.expire(viewers_key(public_id), 3600)
        except (RedisError, OSError):
            return  # a number that is missing for a while
        finally:
            await redis.aclose()


class Position:
    """Where a playlist ends: the next part, in which segment; read once a version."""

    __slots__ = ("over", "part", "segment", "version")

    def __init__(self, text: str, version: int) -> None:
        self.version = version
        first = text.partition("#EXT-X-MEDIA-SEQUENCE:")[2].partition("\n")[0]
        whole = text.count("#EXTINF:")
        self.segment = int(first or 0) + whole
        self.part = text[text.rfind("#EXTINF:") + 1 :].count("#EXT-X-PART:")
        self.over = "#EXT-X-ENDLIST" in text


_positions: dict[Path, Position] = {}
MOST_POSITIONS = 1000


def _position(path: Path) -> Position | None:
    """None: there is no such playlist."""
    try:
        version = path.stat().st_mtime_ns
        known = _positions.get(path)
        if known is None or known.version != version:
            if len(_positions) > MOST_POSITIONS:
                _positions.clear()
            known = _positions[path] = Position(path.read_text(), version)
        return known
    except FileNotFoundError:
        return None


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()  # of the last half minute: it lies in memory
    except FileNotFoundError:
        return None


async def _wait_for_change(path: Path) -> None:
    before = _position(path)
    until = time.monotonic() + 1.0
    while before is not None and time.monotonic() < until:
        await asyncio.sleep(LOOK_EVERY)
        now = _position(path)
        if now is None or now.version != before.version:
            return


async def _answer(send: Send, status: int, data: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> None:
    start = {"type": "http.response.start", "status": status, "headers": headers or [(b"content-length", b"0")]}
    await send(start)
    await send({"type": "http.response.body", "body": data})
