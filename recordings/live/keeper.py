"""Keep the processes of all running streams: start them, start them again when they die, end them with their class.

    python manage.py streams

One for a machine; of several, the one that came first has a stream until its lease runs out. It asks the media worker
for each stream's packets again and again: so a worker that a room was moved to goes on with its stream. The processes
die with the keeper, and the keeper that is started next goes on with the streams that run.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.db.models import Q
from django.utils import timezone
from redis.exceptions import RedisError

from meetings import chat
from meetings.live import LiveRoom
from meetings.media.controller import MediaController
from meetings.redis_client import connect, plain
from recordings.live import services
from recordings.live.job import JOB, Job, write_job
from recordings.live.models import Stream
from recordings.live.serve import VIEWING, viewers_key
from recordings.live.shelf import close, write
from recordings.programs import BASE_DIR
from sfu.protocol import InvalidRequest, StartStream, StopStream

log = logging.getLogger(__name__)

LOOK_EVERY = 0.5  # seconds
ASK_EVERY = 1.0  # seconds between two times that the worker is asked for a stream's packets
TELL_EVERY = 1.0  # seconds between two states for viewers
CLEAR_EVERY = 300.0  # seconds
LEASE = timedelta(seconds=10)
GIVE_UP_AFTER = 120.0  # seconds without a worker that has the room
FIRST_RETRY, LAST_RETRY = 0.2, 10.0  # seconds before a process that died is started again
STEADY = 20.0  # seconds: a process that lived so long starts the count of deaths anew
KEPT = timedelta(hours=1)  # what viewers of an ended stream may still look at
CHAT_SHOWN = 50  # messages
CHAT_FIELDS = ("message_id", "name", "role", "message", "sent_at")


@dataclass
class Running:
    stream: Stream
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0  # by the steady clock, as all times here
    restart_at: float = 0.0
    deaths: int = 0
    asked: float = 0.0
    had: float = 0.0  # when a worker had the room for the last time
    told: float = 0.0
    pushing: str = ""  # what the push to RTMP says of itself


class Keeper:
    def __init__(self) -> None:
        self.name = f"{os.uname().nodename[:40]}-{secrets.token_hex(4)}"
        self.running: dict[int, Running] = {}
        self.stopping = False

    async def run(self) -> None:
        """Until SIGTERM. The streams are not over then: another keeper goes on with them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        media = MediaController(connect(), name=f"streams-{self.name}")
        cleared = -CLEAR_EVERY
        try:
            while not self.stopping:
                now = time.monotonic()
                try:
                    await self.look(media, now)
                    if now - cleared >= CLEAR_EVERY:
                        cleared = now
                        await asyncio.to_thread(_in_database, clear, time.time())
                except (DatabaseError, RedisError, OSError) as error:
                    log.warning("streams cannot be looked after: %s", error)
                await asyncio.sleep(LOOK_EVERY)
        finally:
            for one in self.running.values():
                if one.process is not None:
                    one.process.kill()
            await media.pool.close()

    def _stop(self) -> None:
        self.stopping = True

    async def look(self, media: MediaController, now: float) -> None:
        mine = await asyncio.to_thread(_in_database, self._claim)
        for pk in list(self.running.keys() - mine.keys()):
            await self._end(media, self.running.pop(pk))
        for pk, stream in mine.items():
            one = self.running.setdefault(pk, Running(stream, had=now))
            one.stream.state = stream.state
            self._reap(one, now)
            if now - one.asked >= ASK_EVERY:
                one.asked = now
                await self._ask(media, one, now)
            if one.process is None and now >= one.restart_at and one.stream.is_running:
                await asyncio.to_thread(_in_database, self._start, one, now)
            if now - one.told >= TELL_EVERY:
                one.told = now
                await asyncio.to_thread(_in_database, self._tell, one)
        await asyncio.to_thread(_in_database, self._close_left)

    def _claim(self) -> dict[int, Stream]:
        now = timezone.now()
        free = Q(keeper=self.name) | Q(lease_until=None) | Q(lease_until__lt=now)
        Stream.objects.running().filter(free).update(keeper=self.name, lease_until=now + LEASE)
        return {one.pk: one for one in Stream.objects.running().filter(keeper=self.name).select_related("room")}

    # --- the packets ---

    async def _ask(self, media: MediaController, one: Running, now: float) -> None:
        code, logs = one.stream.room.code, one.stream.logs_id
        try:
            await media.ask(code, StartStream(room=code, stream=logs))
            one.had = now
            live = LiveRoom(media.placements.redis, code)
            if await live.info("stream") is None:  # Redis came back empty: all must go on seeing that they are seen
                await services.show(live, services.about(one.stream))
        except (InvalidRequest, OSError) as error:
            if now - one.had > GIVE_UP_AFTER or "disk_full" in str(error):
                reason = "The disk is full." if "disk_full" in str(error) else "The class has no media any more."
                log.warning("stream %s ends: %s", one.stream.public_id, error)
                await asyncio.to_thread(_in_database, _give_up, one.stream, reason)

    # --- the process ---

    def _start(self, one: Running, now: float) -> None:
        stream = one.stream
        if one.started or stream.folder.exists():
            services.next_start(stream)  # logs that a dead process has read half are no use to the next one
        one.asked = 0.0
        folder = stream.folder
        folder.mkdir(parents=True, exist_ok=True)
        public = folder / "public"
        if stream.access == Stream.Access.PUBLIC:
            public.touch()
        job = Job(
            logs=str(stream.logs),
            out=str(folder),
            began=stream.started_at.timestamp(),
            qualities=stream.qualities,
            push=stream.push_url,
            push_private=settings.STREAM_TO_PRIVATE,
        )
        one.process = subprocess.Popen(
            [sys.executable, "-m", "recordings.live", str(write_job(job)), str(os.getpid())],
            cwd=BASE_DIR,
            stdin=subprocess.DEVNULL,
        )
        one.started = now
        log.info("stream %s: its process is started (%d)", stream.public_id, stream.starts)

    def _reap(self, one: Running, now: float) -> None:
        if one.process is None or one.process.poll() is None:
            return
        one.deaths = 1 if now - one.started > STEADY else one.deaths + 1
        one.restart_at = now + min(LAST_RETRY, FIRST_RETRY * 2 ** (one.deaths - 1))
        log.warning("stream %s: its process ended with %d", one.stream.public_id, one.process.returncode)
        one.process = None

    async def _end(self, media: MediaController, one: Running) -> None:
        """It is over: the last segment is closed, viewers are told so."""
        if await asyncio.to_thread(_in_database, services.runs, one.stream.public_id):
            if one.process is not None:  # our lease ran out, and another keeper has it
                one.process.kill()
                one.process.wait()
            return
        code = one.stream.room.code
        try:
            await media.ask(code, StopStream(room=code, stream=one.stream.logs_id))
        except (InvalidRequest, RedisError, OSError):
            log.info("stream %s: no worker was there to be told of its end", one.stream.public_id)
        if one.process is not None:
            one.process.terminate()
            try:
                await asyncio.to_thread(one.process.wait, 5)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
        await asyncio.to_thread(_close, one.stream.folder)
        shutil.rmtree(one.stream.logs, ignore_errors=True)

    def _close_left(self) -> None:
        """Streams that were stopped while no keeper was there, or whose room was deleted: their viewers wait."""
        left = {path.parent.name: path.parent for path in Path(settings.LIVE_DIR).glob(f"*/{JOB}")}
        for one in self.running.values():
            left.pop(one.stream.public_id, None)
        for public_id in Stream.objects.running().filter(public_id__in=left).values_list("public_id", flat=True):
            del left[public_id]
        for folder in left.values():
            log.warning("stream %s: it is over, and its viewers are told so now", folder.name)
            _close(folder)

    # --- telling ---

    def _tell(self, one: Running) -> None:
        """`state.json` for viewers, once a second for all of them; the room, when the state changes."""
        stream = one.stream
        if not stream.folder.exists():
            return
        begun = stream.state == Stream.State.STARTING and (stream.folder / "live.m3u8").exists()
        if begun and services.live(stream.pk):
            stream.state = Stream.State.LIVE
            services.tell_status(stream, stream.state)
        pushing = _push_state(stream.folder)
        if pushing != one.pushing:
            one.pushing = pushing
            services.tell_status(stream, f"push_{pushing}")
        _tell_viewers(stream.folder, stream.state, _viewers(stream), _chat(stream))


def _tell_viewers(folder: Path, state: str, viewers: int = 0, chat: Sequence[dict[str, Any]] = ()) -> None:
    write(folder / "state.json", msgspec.json.encode({"state": state, "viewers": viewers, "chat": chat}))


def _close(folder: Path) -> None:
    """What viewers get of a stream that is over ends, whatever became of its process."""
    if folder.exists():
        close(folder)
        _tell_viewers(folder, Stream.State.ENDED)
        (folder / JOB).unlink(missing_ok=True)  # it has the stream key


def _give_up(stream: Stream, reason: str) -> None:
    if services.end(stream.pk, reason):
        stream.reason = reason
        services.tell_end(stream)


def _push_state(folder: Path) -> str:
    try:
        return (folder / "push").read_text()[:40]
    except FileNotFoundError:
        return ""


def _chat(stream: Stream) -> list[dict[str, Any]]:
    """What was written since all could see that others look on, and of it what the page shows."""
    began = stream.started_at.isoformat()
    messages = chat.history(stream.room_id, limit=CHAT_SHOWN)["messages"]
    return [{name: one[name] for name in CHAT_FIELDS} for one in messages if one["sent_at"] >= began]


def _viewers(stream: Stream) -> int:
    try:
        redis = plain()
        key = viewers_key(stream.public_id)
        redis.zremrangebyscore(key, 0, time.time() - VIEWING)
        return int(redis.zcard(key))
    except RedisError:
        return 0


def clear(now: float) -> None:
    """What is left of streams that are over: viewers have had their hour. Logs of no running stream, too."""
    running = set(Stream.objects.running().values_list("public_id", flat=True))
    for root, kept in ((Path(settings.LIVE_DIR), KEPT.total_seconds()), (Path(settings.STREAMS_DIR), 60.0)):
        for folder in root.iterdir() if root.is_dir() else ():
            if folder.name.rpartition("-")[0] in running or folder.name in running:
                continue
            if now - folder.stat().st_mtime > kept:
                shutil.rmtree(folder, ignore_errors=True)


def _in_database(function: Any, *arguments: Any) -> Any:
    """In a thread of the pool: connections that broke are given back."""
    close_old_connections()
    try:
        return function(*arguments)
    finally:
        close_old_connections()
