"""Compose in the background, and sweep up what died: Celery's tasks.

A task may come twice, late or never. Composing begins by claiming the recording; the sweepers queue what nobody works
on. So a worker killed in the middle costs a new try and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from celery import shared_task
from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from recordings import announce, files, finishing, keeping, states, storage
from recordings.errors import CompositionFailed, NothingRecorded, StillRecording
from recordings.models import FIRST_QUALITY, UNFINISHED, Composition, Recording
from recordings.states import Lease, LeaseLost
from sfu.manifest import Joined, read_timeline

log = logging.getLogger(__name__)

SWEEP_EVERY = 10.0  # seconds; the schedule stands in apps.py
EXPIRE_EVERY = 3600.0  # seconds
UNCLAIMED_KEPT = 7 * 86400.0  # seconds: a database restored from a backup may not know of the latest recordings yet
UPLOAD_AGAIN = 20.0  # seconds: a storage that comes back has the composition within a minute
UNKNOWN_FAILURE = "Composing failed for a reason of ours; the log of the Celery worker tells it."


@shared_task
def compose_recording(pk: int) -> None:
    """Claim, compose, store, verify. Another one's work, or work done, is left alone."""
    lease = states.claim(pk)
    if lease is None:
        return
    try:
        _try(lease)
    except LeaseLost:
        log.warning("recording %s: another process has taken it over", pk)


def _try(lease: Lease) -> None:
    try:
        with _kept(lease):
            _compose(lease)
    except LeaseLost:
        raise
    except StillRecording:
        lease.give_back(after=SWEEP_EVERY)
    except storage.StorageAway as error:
        log.warning("recording %s waits for its storage: %s (%s)", lease.pk, error, error.__cause__)
        lease.give_back(after=UPLOAD_AGAIN, reason=str(error))
    except NothingRecorded as error:
        lease.failed(str(error), final=True)
    except CompositionFailed as error:
        lease.failed(str(error))
    except Exception as error:
        log.exception("recording %s could not be composed", lease.pk)
        lease.failed(_reason(error))


def _reason(error: Exception) -> str:
    """For people: what they could do something about, or where to look."""
    if isinstance(error, storage.NotStored):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}."
    return UNKNOWN_FAILURE


def _compose(lease: Lease) -> None:
    from recordings.compose import clear, compose  # brings the decoders, which a web process does without

    recording = Recording.objects.filter(pk=lease.pk).first()
    if recording is None:  # deleted meanwhile, with its class
        raise LeaseLost
    folder = recording.folder
    finishing.complete(folder, time.time())
    film = files.film(FIRST_QUALITY)
    out = folder / film
    if out.is_file() and recording.tracks.exists():
        lease.uploading_again()  # composed by an earlier try, which could not store it
    else:
        composed = compose(folder, out, layout=recording.layout, on_progress=_Progress(lease))
        names = {entry.peer: entry.name for entry in read_timeline(folder) if isinstance(entry, Joined)}
        lease.uploading(composed.tracks, names, composed.duration, composed.gap)
    stored = storage.store(out, storage.key(recording.public_id, film))
    lease.ready(stored, film)
    # Stored and verified, and the database says so: only now may the tracks go. The timeline stays, it is small.
    for log_file in folder.glob("*.rtpdump"):
        log_file.unlink(missing_ok=True)
    clear(folder)
    out.unlink(missing_ok=True)


class _Progress:
    """Into the database and to the room."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._began: tuple[int, float] | None = None  # segments that were done, and when
        self._told = -1

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began = (done, now)
        if done == self._told:
            return
        self._told = done
        before, since = self._began
        left = round((now - since) / (done - before) * (total - done)) if done > before else None
        self._lease.progress(done, total, left)


@contextlib.contextmanager
def _kept(lease: Lease) -> Iterator[None]:
    """Renew the lease from a thread: reading hours of packets and sending gigabytes come back to nobody for minutes.

    When it is lost, the next move of the lease's holder tells.
    """
    done = threading.Event()

    def keep() -> None:
        try:
            while not done.wait(states.RENEW_EVERY):
                try:
                    lease.renew()
                except LeaseLost:
                    return
                except DatabaseError as error:
                    log.warning("a lease could not be renewed: %s", error)
        finally:
            connection.close()

    thread = threading.Thread(target=keep, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


# --- sweepers --------------------------------------------------------------------------------------------------------


@shared_task
def sweep_recordings() -> None:
    """Recordings whose media worker, Celery worker or task was lost go on."""
    now = timezone.now()
    for recording in Recording.objects.filter(state=Recording.State.RECORDING).select_related("room"):
        folder, begun = recording.folder, recording.started_at.timestamp()
        if finishing.is_complete(folder) or finishing.is_abandoned(folder, now.timestamp(), begun):
            log.info("recording %s: its media worker has ended it, or has died", recording.public_id)
            if states.recorded(recording.pk):
                announce.end(recording)
    states.take_from_the_dead(now)
    states.queue_the_lost(now)


@shared_task
def expire_recordings() -> int:
    """Delete what is older than its course or the site keeps recordings -> how many recordings."""
    expired = 0
    for pk in keeping.too_old(timezone.now()).values_list("pk", flat=True):
        expired += states.expire(pk)
    # Also of those that expired before, when the storage was away.
    for composition in Composition.objects.filter(recording__state=Recording.State.EXPIRED):
        try:
            storage.remove(composition.key)
            composition.delete()
        except Exception:
            log.exception("%s could not be deleted yet", composition.key)
    _clear_folders(time.time())
    return expired


def _clear_folders(now: float) -> None:
    """Those of expired recordings, and those that no recording claims: a start that failed, rows that were deleted."""
    root = Path(settings.RECORDINGS_DIR)
    folders = {path.name: path for path in root.iterdir() if path.is_dir()} if root.is_dir() else {}
    found = dict(Recording.objects.filter(public_id__in=folders).values_list("public_id", "state"))
    for name, folder in folders.items():
        state = found.get(name)
        if state is None and finishing.quiet_for(folder, now) > UNCLAIMED_KEPT:
            log.warning("recording %s: no recording of that name is known, its folder is deleted", name)
        elif state != Recording.State.EXPIRED:
            continue
        shutil.rmtree(folder, ignore_errors=True)


@shared_task(autoretry_for=(Exception,), retry_backoff=60, retry_backoff_max=3600, max_retries=48)
def erase_recording(public_id: str, keys: list[str]) -> None:
    """All files of a recording whose row is gone. While the storage is away it is tried again, for two days."""
    shutil.rmtree(Path(settings.RECORDINGS_DIR) / public_id, ignore_errors=True)
    for key in keys:
        storage.remove(key)


def unfinished_since() -> float:
    """Seconds that the oldest recording has waited for its composition since the class, for the metrics."""
    oldest = (
        Recording.objects.filter(state__in=UNFINISHED - {Recording.State.RECORDING})
        .order_by("stopped_at")
        .values_list("stopped_at", flat=True)
        .first()
    )
    return 0.0 if oldest is None else max(0.0, (timezone.now() - oldest).total_seconds())
