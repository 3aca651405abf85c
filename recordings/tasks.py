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
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from celery import shared_task
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Q
from django.utils import timezone
from kombu.exceptions import OperationalError

from recordings import announce, files, finishing, keeping, outputs, states, storage
from recordings.errors import CompositionFailed, NothingRecorded, StillRecording, is_full_disk
from recordings.models import FIRST_QUALITY, UNFINISHED, Recording
from recordings.states import AlongLease, Held, Lease, LeaseLost, OutputsLease
from sfu.manifest import Joined, read_timeline

log = logging.getLogger(__name__)

SWEEP_EVERY = 10.0  # seconds; the schedule stands in apps.py
ALONG_EVERY = 5.0  # seconds
HELPERS = 7  # tasks that compose beside the one that holds the lease; idle ones cost nothing
LOW = 9  # the priority of composing, where everything else has 0: it waits for no segment but the one that is begun
EXPIRE_EVERY = 3600.0  # seconds
UNCLAIMED_KEPT = 7 * 86400.0  # seconds: a database restored from a backup may not know of the latest recordings yet
UPLOAD_AGAIN = 20.0  # seconds: a storage that comes back has the composition within a minute
ROOM_AGAIN = 60.0  # seconds: to find out that a disk is still full takes as long as to draw what would not fit
NOTED_AGAIN = 1.0  # seconds: well before the sweeper sees that a lease has run out meanwhile
DISK_FULL = "The server's disk is full. It goes on when somebody has made room."
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
    except Exception as error:
        if is_full_disk(error):
            log.warning("recording %s waits for room on the disk: %s", lease.pk, error)
            _once_it_fits(lambda: lease.give_back(after=ROOM_AGAIN, reason=DISK_FULL))
            return
        if not isinstance(error, CompositionFailed):
            log.exception("recording %s could not be composed", lease.pk)
        lease.failed(_reason(error))


def _reason(error: Exception) -> str:
    """For people: what they could do something about, or where to look."""
    if isinstance(error, storage.NotStored | CompositionFailed):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}."
    return UNKNOWN_FAILURE


def _once_it_fits(note: Callable[[], None]) -> None:
    """The full disk may be the database's, too. A process that ended now would leave a try behind that counts."""
    while True:
        try:
            note()
            return
        except DatabaseError as error:
            if not is_full_disk(error):
                raise
            log.warning("the database waits for room on its disk: %s", error)
            time.sleep(NOTED_AGAIN)


def _compose(lease: Lease) -> None:
    from recordings.composing.compose import compose_all, plan  # bring the decoders, which a web process does without
    from recordings.composing.join import join

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
        planned = plan(folder, recording.layout)
        _call_helpers(recording, planned.segments)
        compose_all(folder, planned.segments, FIRST_QUALITY, _Progress(lease))
        join(folder, planned.segments, FIRST_QUALITY, out)
        names = {entry.peer: entry.name for entry in read_timeline(folder) if isinstance(entry, Joined)}
        lease.uploading(planned.tracks, names, planned.duration, planned.gap)
    stored = storage.store(out, storage.key(recording.public_id, film))
    try:
        lease.ready(stored, film)
    except LeaseLost:
        if not Recording.objects.filter(pk=lease.pk).exists():
            storage.remove(stored.key)  # deleted meanwhile, when nobody knew of this file
        raise


def _call_helpers(recording: Recording, segments: int) -> None:
    """Whoever has time composes a segment. Without them it takes longer."""
    from recordings.composing.compose import left

    with contextlib.suppress(OperationalError):
        for _ in range(min(HELPERS, left(recording.folder, segments, FIRST_QUALITY) - 1)):
            help_compose.apply_async((recording.pk,), priority=LOW, retry=False)


@shared_task
def help_compose(pk: int) -> None:
    """Compose one segment of what another process composes, then go behind everybody else in the queue."""
    from recordings.composing.compose import compose_next

    recording = Recording.objects.filter(pk=pk, state=Recording.State.COMPOSING).first()
    if recording is None:
        return
    try:
        if compose_next(recording.folder, FIRST_QUALITY):
            help_compose.apply_async((pk,), priority=LOW)
    except CompositionFailed as error:
        # Whoever holds the lease meets it, too, and counts the try.
        log.warning("recording %s: a segment could not be composed: %s", recording.public_id, error)


# --- while the class goes on -----------------------------------------------------------------------------------------


@shared_task
def compose_along() -> None:
    """Every few seconds: have the next segment composed of each class that goes on and is long enough past it."""
    from recordings.composing.planner import READY_AFTER
    from recordings.composing.segments import SECONDS

    now = timezone.now()
    for recording in Recording.objects.filter(state=Recording.State.RECORDING, paused_at=None):
        recorded = (now - recording.started_at).total_seconds() - recording.seconds_paused
        free = recording.lease_until is None or recording.lease_until < now
        if free and recorded >= (recording.segments_done + 1) * SECONDS + READY_AFTER:
            compose_while_recording.apply_async((recording.pk,), priority=LOW, expires=ALONG_EVERY)


@shared_task
def compose_while_recording(pk: int) -> None:
    """Plan as far as the class has come, and compose one segment."""
    lease = states.claim_along(pk)
    if lease is None:
        return
    try:
        with _kept(lease):
            _compose_along(lease)
    except LeaseLost:
        log.info("recording %s is over: its segments are composed with the rest", pk)
    except Exception as error:
        log.warning("recording %s: a segment could not be composed yet: %s", pk, error)
        with contextlib.suppress(LeaseLost):
            lease.failed()


def _compose_along(lease: AlongLease) -> None:
    from recordings.composing.compose import compose_next, left, plan_along
    from recordings.programs import NICENESS_ALONG

    recording = Recording.objects.filter(pk=lease.pk).first()
    if recording is None:
        raise LeaseLost
    planned = plan_along(recording.folder, recording.layout)
    # A segment that was begun while the class went on is begun anew if it is not done soon after the class: on a busy
    # machine what waits for everybody would keep the film waiting for minutes, and only root can raise a priority.
    compose_next(recording.folder, FIRST_QUALITY, NICENESS_ALONG, wanted=lambda: not lease.lost.is_set())
    undone = left(recording.folder, planned, FIRST_QUALITY)
    lease.release(planned - undone)
    if undone:
        compose_while_recording.apply_async((lease.pk,), priority=LOW)


# --- once it is ready ------------------------------------------------------------------------------------------------


@shared_task
def make_outputs(pk: int) -> None:
    """All that `recordings.outputs` makes; then the packets may go."""
    lease = states.claim_outputs(pk)
    if lease is None:
        return
    try:
        with _kept(lease):
            _make_outputs(lease)
    except LeaseLost:
        log.warning("recording %s: another process makes the rest of it", pk)
    except storage.StorageAway as error:
        log.warning("recording %s waits for its storage: %s (%s)", pk, error, error.__cause__)
        with contextlib.suppress(LeaseLost):
            lease.give_back(after=UPLOAD_AGAIN)
    except Exception as error:
        with contextlib.suppress(LeaseLost):
            if is_full_disk(error):
                log.warning("recording %s waits for room on the disk: %s", pk, error)
                _once_it_fits(lambda: lease.give_back(after=ROOM_AGAIN))
                return
            log.exception("recording %s: not all could be made of it", pk)
            lease.failed(_reason(error))


def _make_outputs(lease: OutputsLease) -> None:
    recording = Recording.objects.filter(pk=lease.pk).first()
    if recording is None:
        raise LeaseLost
    folder = recording.folder
    outputs.make(recording, folder, folder / files.film(FIRST_QUALITY))
    lease.made()
    _let_go(folder)


def _let_go(folder: Path) -> None:
    """All is stored and verified, and the database says so: only now may the packets go. The timeline stays."""
    from recordings.composing.compose import clear

    for path in (*folder.glob("*.rtpdump"), *folder.glob("*.mp4")):
        path.unlink(missing_ok=True)
    clear(folder)


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
def _kept(lease: Held) -> Iterator[None]:
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
                    lease.lost.set()
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
    try:
        _sweep(timezone.now())
    except DatabaseError as error:
        if not is_full_disk(error):
            raise
        log.error("The database's disk is full (%s). No recording goes on until somebody has made room.", error)


def _sweep(now: datetime) -> None:
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
    folders = _folders()
    # Also of those that expired before, when the storage was away: what is there of one tells that it must go.
    left = Q(compositions__isnull=False) | Q(public_id__in=list(folders))
    for recording in Recording.objects.filter(left, state=Recording.State.EXPIRED).distinct():
        try:
            storage.erase(recording.public_id)
        except Exception:
            log.exception("recording %s could not be deleted yet", recording.public_id)
            continue
        recording.compositions.all().delete()
        shutil.rmtree(recording.folder, ignore_errors=True)
    _clear_folders(folders, time.time())
    return expired


def _folders() -> dict[str, Path]:
    """By the recordings' ids."""
    root = Path(settings.RECORDINGS_DIR)
    return {path.name: path for path in root.iterdir() if path.is_dir()} if root.is_dir() else {}


def _clear_folders(folders: dict[str, Path], now: float) -> None:
    """Those that no recording claims: a start that failed, rows that were deleted.

    And what a process left that was killed before it had let the packets go.
    """
    claimed = set(Recording.objects.filter(public_id__in=folders).values_list("public_id", flat=True))
    made = Recording.objects.filter(public_id__in=folders, outputs=Recording.Outputs.MADE)
    for name in made.values_list("public_id", flat=True):
        _let_go(folders[name])
    for name, folder in folders.items():
        if name not in claimed and folder.is_dir() and finishing.quiet_for(folder, now) > UNCLAIMED_KEPT:
            log.warning("recording %s: no recording of that name is known, its folder is deleted", name)
            shutil.rmtree(folder, ignore_errors=True)


def unfinished_since() -> float:
    """Seconds that the oldest recording has waited for its composition since the class, for the metrics."""
    oldest = (
        Recording.objects.filter(state__in=UNFINISHED - {Recording.State.RECORDING})
        .order_by("stopped_at")
        .values_list("stopped_at", flat=True)
        .first()
    )
    return 0.0 if oldest is None else max(0.0, (timezone.now() - oldest).total_seconds())
