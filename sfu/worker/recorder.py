"""Record rooms: one more listener in the room, which writes down what it hears.

The media loop only appends to buffers; four times a second they go to one thread that writes them, so a slow disk never
holds a packet up. What the loop keeps for the thread is bounded: a disk that stands still ends the recordings, not the
worker.

How a recording ends here:
    StopRecording, CloseRoom    complete: everything is on the disk, then the manifest
    disk full, folder gone      complete as far as it got if a manifest can still be written, and RecordingFailed
    SIGTERM, room abandoned     written and closed without a manifest. The class may go on: another worker goes on in
                                the same folder under the same id, and if none does, the lease grows stale and the
                                sweeper finishes it. With a manifest the recording would end with its worker.
    SIGKILL                     as SIGTERM, less what the last quarter of a second brought
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from sfu.manifest import Stopped
from sfu.protocol import EVENTS, DiskLow, ErrorCode, InvalidRequest, Json, RecordingFailed
from sfu.worker.media import MediaServer
from sfu.worker.recording import Recording
from sfu.worker.recording_folder import CannotRecord, RecordingFolder, is_complete

log = structlog.get_logger("sfu.recorder")

HAND_OVER_EVERY = 0.25  # seconds: what a SIGKILL may cost
TEND_EVERY = 1.0  # seconds: lease, free space, key frames
WARN_EVERY = 60.0  # seconds: hosts who come later hear of it, too
SAVE_WITHIN = 5.0  # seconds
UNWRITTEN_LIMIT = 64 * 1024 * 1024  # bytes of one recording: half a minute of a large class before a disk that hangs


class Recorder:
    """All recordings of a worker; at most one a room. `folder` holds a folder a recording."""

    def __init__(
        self,
        *,
        media: MediaServer,
        folder: Path,
        epoch: str,
        on_event: Callable[[EVENTS], None],
    ) -> None:
        self._media = media
        self._folder = folder
        self._epoch = epoch
        self._on_event = on_event
        self._starts = 0
        self._failed = 0
        self._by_room: dict[str, Recording] = {}
        self._ending: dict[str, asyncio.Future[None]] = {}  # by recording's id: a manifest is being written
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recorder")
        self._ticking: asyncio.Task[None] | None = None

    # --- life ---

    def start_ticking(self) -> None:
        self._ticking = asyncio.create_task(self._tick(), name="recorder")

    async def close(self) -> None:
        """The worker ends: everything heard is written, nothing gets a manifest. Twice does no harm."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
            self._ticking = None
        for room in list(self._by_room):
            self.abandon(room)
        await asyncio.gather(*self._ending.values(), return_exceptions=True)
        # All jobs before this one are done when it is: one thread, in order.
        await asyncio.get_running_loop().run_in_executor(self._writer, _nothing)
        self._writer.shutdown(wait=False)

    async def _tick(self) -> None:
        tended = 0.0
        while True:
            await asyncio.sleep(HAND_OVER_EVERY)
            now = time.monotonic()
            tend = now - tended >= TEND_EVERY
            if tend:
                tended = now
            for recording in list(self._by_room.values()):
                try:
                    if recording.opened:
                        self._hand_over(recording, tend=tend)
                        if tend:
                            self._media.refresh_for_taps(recording.room)
                except Exception:
                    log.exception("recording_failed", room=recording.room, recording=recording.id)
                    self._fail(recording, "internal")

    def counters(self) -> Json:
        return {
            "recordings_running": len(self._by_room),
            "recordings_failed": self._failed,
            "recording_bytes_unwritten": sum(recording.unwritten for recording in self._by_room.values()),
        }

    # --- verbs ---

    def running(self, room: str) -> str | None:
        recording = self._by_room.get(room)
        return recording.id if recording else None

    async def start(
        self, room: str, recording_id: str, *, paused: bool = False, peers: list[str] | None = None
    ) -> None:
        """Returns when the folder is open and the room is listened to. Raises InvalidRequest."""
        while (ending := self._ending.get(recording_id)) is not None:  # left a moment ago by the room it goes on in
            await asyncio.wait([ending])
        running = self._by_room.get(room)
        if running is not None:
            if running.id != recording_id:
                raise InvalidRequest("wrong_state", "the room is recorded already")
            await asyncio.shield(running.opening)
            self._set(running, paused=paused, peers=peers)
            return
        if any(other.id == recording_id for other in self._by_room.values()):
            raise InvalidRequest("wrong_state", "that recording is in use")
        self._media.room_state(room)  # raises not_found
        self._starts += 1
        recording = Recording(
            room=room,
            recording_id=recording_id,
            # Logs of an earlier start must not be written again, not even by the same worker.
            epoch=self._epoch if self._starts == 1 else f"{self._epoch}-{self._starts}",
            folder=RecordingFolder(self._folder / recording_id),
            on_bug=self._on_bug,
            paused=paused,
            peers=peers,
        )
        self._by_room[room] = recording
        try:
            await self._open(recording)
        except BaseException:
            if self._by_room.get(room) is recording:
                del self._by_room[room]
            raise

    async def _open(self, recording: Recording) -> None:
        try:
            await self._run(recording.folder.open)
            if self._by_room.get(recording.room) is not recording:
                raise InvalidRequest("wrong_state", "the room was closed meanwhile")
            recording.begin()
            self._media.tap_room(recording.room, recording)
        except CannotRecord as error:
            code: ErrorCode = "wrong_state" if error.reason == "complete" else "media_unavailable"
            refusal = InvalidRequest(code, f"{error.reason}: {error}")
            recording.opening.set_exception(refusal)
            recording.opening.exception()  # seen: there may be nobody else who waits
            raise refusal from error
        except BaseException as error:
            recording.opening.set_exception(
                error if isinstance(error, InvalidRequest) else InvalidRequest("internal", "could not start")
            )
            recording.opening.exception()
            self._writer.submit(recording.folder.close)
            raise
        recording.opening.set_result(None)
        log.info("recording_started", room=recording.room, recording=recording.id, epoch=recording.epoch)

    async def stop(self, room: str, recording_id: str) -> None:
        """Returns when the manifest is on the disk; again and again if asked again. Raises InvalidRequest."""
        recording = self._by_room.get(room)
        if recording is not None and recording.id == recording_id:
            await asyncio.shield(recording.opening)
            await self.end(room)
        elif recording_id in self._ending:
            await asyncio.shield(self._ending[recording_id])
        elif not await self._run(is_complete, self._folder / recording_id):
            raise InvalidRequest("not_found", "no such recording runs here")

    def _set(self, recording: Recording, *, paused: bool, peers: list[str] | None) -> None:
        if not recording.opened:
            return
        if recording.pause() if paused else recording.resume():
            self._media.heed_tap(recording.room, recording)
        if peers is not None and recording.peers is not None:
            for peer in recording.peers.symmetric_difference(peers):
                self.record_peer(recording.room, recording.id, peer, peer in peers)

    def pause(self, room: str, recording_id: str) -> None:
        """When this returns nothing more is heard."""
        recording = self._find(room, recording_id)
        if recording.pause():
            self._media.heed_tap(room, recording)
            log.info("recording_paused", room=room, recording=recording_id)

    def resume(self, room: str, recording_id: str) -> None:
        recording = self._find(room, recording_id)
        if recording.resume():
            self._media.heed_tap(room, recording)
            log.info("recording_resumed", room=room, recording=recording_id)

    def record_peer(self, room: str, recording_id: str, peer: str, recorded: bool) -> None:
        recording = self._find(room, recording_id)
        if recording.record_peer(peer, recorded):
            if recorded:
                self._media.introduce(room, peer, recording)
            else:
                self._media.heed_tap(room, recording)

    def mark(self, room: str, recording_id: str, mark: Json) -> None:
        self._find(room, recording_id).add_mark(mark)

    def _find(self, room: str, recording_id: str) -> Recording:
        recording = self._by_room.get(room)
        if recording is None or recording.id != recording_id or not recording.opened:
            raise InvalidRequest("not_found", "no such recording runs here")
        return recording

    def end(self, room: str) -> Awaitable[None]:
        """The room's recording, if there is one, is complete. Nothing more is heard when this returns; what it gives
        is awaited for the manifest."""
        recording = self._by_room.get(room)
        if recording is None or not recording.opened:
            self._by_room.pop(room, None)
            return _done()
        self._unhook(recording)
        recording.note(Stopped(at=recording.wall()))
        return asyncio.shield(self._ended(recording, self._finish(recording)))

    def abandon(self, room: str) -> None:
        """Write what was heard and leave the folder as it is, for whoever goes on."""
        recording = self._by_room.get(room)
        if recording is None:
            return
        self._unhook(recording)
        if recording.opened:
            log.info("recording_left", room=room, recording=recording.id)
            self._ended(recording, self._leave(recording))

    # --- the thread ---

    async def _run(self, function, *arguments):  # type: ignore[no-untyped-def]
        return await asyncio.get_running_loop().run_in_executor(self._writer, function, *arguments)

    def _hand_over(self, recording: Recording, *, tend: bool) -> None:
        if recording.unwritten > UNWRITTEN_LIMIT:
            self._fail(recording, "disk_slow")
            return
        chunk = recording.take()
        if not chunk and not chunk.ended and not tend:
            return
        size = len(chunk)
        recording.unwritten += size

        def write() -> int | None:
            recording.folder.write(chunk)
            return recording.folder.tend() if tend else None

        def written(future: asyncio.Future[int | None]) -> None:
            recording.unwritten -= size
            error = future.exception()
            if error is None and (free := future.result()) is not None:
                self._warn(recording, free)
            recording.lost = recording.lost or error
            if error is not None and self._by_room.get(recording.room) is recording:
                log.warning("recording_failed", room=recording.room, recording=recording.id, why=str(error))
                self._fail(recording, error.reason if isinstance(error, CannotRecord) else "internal")

        asyncio.get_running_loop().run_in_executor(self._writer, write).add_done_callback(written)

    def _warn(self, recording: Recording, free: int) -> None:
        now = time.monotonic()
        if now >= recording.warned_at + WARN_EVERY:
            recording.warned_at = now
            self._on_event(DiskLow(room=recording.room, recording=recording.id, free=free))

    async def _finish(self, recording: Recording) -> None:
        try:
            await self._run(recording.folder.write, recording.take())
            if recording.lost is not None:
                raise recording.lost
            await self._run(recording.folder.finish, recording.id, recording.room, recording.started_at)
        except Exception as error:
            log.warning("recording_failed", room=recording.room, recording=recording.id, why=str(error))
            self._failed += 1
            await self._save_what_is_there(recording)
            reason = error.reason if isinstance(error, CannotRecord) else "internal"
            self._on_event(RecordingFailed(room=recording.room, recording=recording.id, reason=reason))
            raise InvalidRequest("media_unavailable", f"the recording could not be completed: {reason}") from error
        log.info("recording_complete", room=recording.room, recording=recording.id)

    async def _leave(self, recording: Recording) -> None:
        try:
            await self._run(recording.folder.write, recording.take())
        except CannotRecord as error:
            log.warning("recording_cut_short", room=recording.room, recording=recording.id, why=str(error))
        finally:
            await self._run(recording.folder.close)

    def _fail(self, recording: Recording, reason: str) -> None:
        """The recording stops, the class goes on."""
        self._failed += 1
        self._unhook(recording)
        recording.note(Stopped(at=recording.wall()))

        self._ended(recording, self._save(recording, reason))

    async def _save(self, recording: Recording, reason: str) -> None:
        saving = asyncio.ensure_future(self._save_what_is_there(recording))
        # A disk that hangs must not keep the news back, too.
        await asyncio.wait([saving], timeout=SAVE_WITHIN)
        self._on_event(RecordingFailed(room=recording.room, recording=recording.id, reason=reason))
        await saving

    async def _save_what_is_there(self, recording: Recording) -> None:
        with contextlib.suppress(CannotRecord):  # the last chunk may be the very one that does not fit
            await self._run(recording.folder.write, recording.take())
        try:
            await self._run(recording.folder.finish, recording.id, recording.room, recording.started_at)
        except CannotRecord as error:
            # The sweeper finishes it from what is there.
            log.warning("recording_without_manifest", recording=recording.id, why=str(error))

    def _on_bug(self, recording: Recording) -> None:
        log.exception("recording_failed", room=recording.room, recording=recording.id)
        if self._by_room.get(recording.room) is recording:
            self._fail(recording, "internal")

    def _unhook(self, recording: Recording) -> None:
        recording.deaf = True
        if self._by_room.get(recording.room) is recording:
            del self._by_room[recording.room]
        if recording.opened:
            try:
                self._media.untap_room(recording.room, recording)
            except InvalidRequest:
                return  # the room is gone, and its listeners with it

    def _ended(self, recording: Recording, work: Awaitable[None]) -> asyncio.Future[None]:
        task = asyncio.ensure_future(work)
        self._ending[recording.id] = task

        def done(task: asyncio.Future[None]) -> None:
            self._ending.pop(recording.id, None)
            task.exception()  # seen: whoever awaits it has it, too

        task.add_done_callback(done)
        return task


def _nothing() -> None:
    return None


async def _done() -> None:
    return None
