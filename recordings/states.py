"""The one place that moves a recording's state, and only from the state it saw.

    RECORDING -> QUEUED -> COMPOSING -> UPLOADING -> READY -> EXPIRED
                   ^           |            |
                   +-----------+------------+   a try failed or its process died; after TRIES: FAILED -> QUEUED (Retry)

Once READY, `outputs` tells of what else is made: NONE -> WAITING -> MAKING -> MADE, or FAILED after TRIES. While it is
RECORDING, segments are composed under a lease that moves no state.

Every move is one conditional update: of two that try, one is told False. Whoever composes holds a lease and renews it;
a lease that ran out is another's to take, and the old holder's next move moves nothing. What follows from a move
(a task, a word to the room) waits for the commit.
"""

from __future__ import annotations

import secrets
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import User
from meetings.models import Room
from recordings import announce
from recordings.models import Composition, Recording, Track
from recordings.storage import Stored

if TYPE_CHECKING:
    from recordings.composing.tracks import TrackFile

State = Recording.State
Outputs = Recording.Outputs
WORKING = Q(state__in=(State.COMPOSING, State.UPLOADING))
ALONG = Q(state=State.RECORDING)
MAKING = Q(state=State.READY, outputs=Outputs.MAKING)
TRIES = 3
LEASE = timedelta(seconds=40)  # a composer that was killed is replaced after this, and RENEW_EVERY at the most
RENEW_EVERY = 10.0  # seconds
ASK_AGAIN = timedelta(seconds=120)  # a queued recording whose task got lost is queued anew
RETRY_AFTER = 15  # seconds, times the number of tries
ALONG_AGAIN = timedelta(seconds=300)  # after a segment that could not be composed while the class goes on
PROCESS_DIED = "The composing process was killed or the machine went down."


class AlreadyRecording(Exception):
    """One recording a room at a time."""


class LeaseLost(Exception):
    """Another process has taken the recording over: whatever this one does counts no more."""


def _move(pk: int, seen: State | Q, /, only: Q | None = None, **changes: Any) -> bool:
    seen = seen if isinstance(seen, Q) else Q(state=seen)
    moved = Recording.objects.filter(seen, only or Q(), pk=pk).update(**changes) == 1
    if moved:
        transaction.on_commit(lambda: announce.state(pk), robust=True)
    return moved


def _queue(pk: int, countdown: float = 0) -> None:
    """Send the task once what was moved can be seen. A task that gets lost is sent again by the sweeper."""
    from recordings.tasks import compose_recording  # tasks know states, not the other way round

    transaction.on_commit(lambda: compose_recording.apply_async((pk,), countdown=countdown), robust=True)


def _make_outputs(pk: int, countdown: float = 0) -> None:
    from recordings.tasks import make_outputs  # tasks know states, not the other way round

    transaction.on_commit(lambda: make_outputs.apply_async((pk,), countdown=countdown), robust=True)


# --- while the class runs --------------------------------------------------------------------------------------------


def begin(room: Room, by: User | None, **options: Any) -> Recording:
    """Raises AlreadyRecording."""
    try:
        with transaction.atomic():
            return Recording.objects.create(room=room, started_by=by, public_id=secrets.token_hex(12), **options)
    except IntegrityError:
        raise AlreadyRecording from None


def discard(pk: int) -> bool:
    """It never began."""
    deleted, _ = Recording.objects.filter(pk=pk, state=State.RECORDING).delete()
    return deleted > 0


def pause(pk: int, at: datetime) -> bool:
    """False: it is paused already, or over."""
    return Recording.objects.filter(pk=pk, state=State.RECORDING, paused_at=None).update(paused_at=at) == 1


def resume(pk: int, at: datetime) -> bool:
    """False: it is not paused, or over."""
    recording = Recording.objects.filter(pk=pk, state=State.RECORDING).exclude(paused_at=None).first()
    if recording is None or recording.paused_at is None:
        return False
    pause = max(0.0, (at - recording.paused_at).total_seconds())
    paused = Recording.objects.filter(pk=pk, state=State.RECORDING, paused_at=recording.paused_at)
    return paused.update(paused_at=None, seconds_paused=F("seconds_paused") + pause) == 1


def recorded(pk: int, stopped_at: datetime | None = None) -> bool:
    """The class, or this recording of it, is over: compose."""
    with transaction.atomic():
        now = timezone.now()
        moved = _move(
            pk, State.RECORDING, state=State.QUEUED, stopped_at=stopped_at or now, lease_until=now + ASK_AGAIN
        )
        if moved:
            recording = Recording.objects.get(pk=pk)
            Recording.objects.filter(pk=pk).update(duration=timedelta(seconds=recording.elapsed(now)))
            _queue(pk)
    return moved


# --- composing -------------------------------------------------------------------------------------------------------


class Held:
    """The right to work on one recording. Its methods raise LeaseLost when another process has it now."""

    def __init__(self, pk: int, until: datetime, while_: Q = WORKING) -> None:
        self.pk = pk
        self._until: datetime | None = until  # None: given back
        self._while = while_
        self.lost = threading.Event()  # it was another's when it was to be renewed
        self._lock = threading.Lock()  # a thread renews while the composer works: `_until` is what both go by

    def _move(self, seen: State | Q, **changes: Any) -> None:
        with self._lock:
            if not _move(self.pk, seen, Q(lease_until=self._until), **changes):
                raise LeaseLost

    def _note(self, *, last: bool = False, **changes: Any) -> None:
        """What moves no state, and is told to nobody. `last`: nothing follows but the same again, where the transaction
        was undone (by a full disk)."""
        with self._lock:
            held = Recording.objects.filter(self._while, pk=self.pk, lease_until=self._until)
            if self._until is None or held.update(**changes) != 1:
                raise LeaseLost
            if not last:
                self._until = changes.get("lease_until", self._until)

    def renew(self) -> None:
        self._note(lease_until=timezone.now() + LEASE)


class Lease(Held):
    """The right to compose one recording whose class is over."""

    def progress(self, done: int, total: int, seconds_left: int | None) -> None:
        """So many segments are composed."""
        about: dict[str, Any] = {"progress": 100 * done // total, "segments_done": done, "segments_total": total}
        self._note(**about, seconds_left=seconds_left)
        announce.state(self.pk)

    def uploading(self, tracks: list[TrackFile], names: dict[str, str], duration: float, gap: float = 0.0) -> None:
        """The composition is on this machine. Its tracks are noted, those of an earlier try replaced."""
        with transaction.atomic():
            length = timedelta(seconds=round(duration, 3))
            self._move(State.COMPOSING, state=State.UPLOADING, progress=100, duration=length, gap=round(gap, 3))
            Track.objects.filter(recording_id=self.pk).delete()
            Track.objects.bulk_create(
                Track(
                    recording_id=self.pk,
                    producer_id=track.producer_id[:64],
                    participant_id_on_wire=track.peer[:32],
                    name=names.get(track.peer, "")[:100],
                    kind=track.kind,
                    source=track.source,
                    file=track.file,
                    offset=track.offset,
                    duration=track.duration,
                )
                for track in tracks
            )

    def uploading_again(self) -> None:
        """An earlier try has noted the tracks and got no further."""
        self._move(State.COMPOSING, state=State.UPLOADING, progress=100)

    def ready(self, stored: Stored, name: str) -> None:
        """The film of that name is stored."""
        with transaction.atomic():
            now = timezone.now()
            done = {"ready_at": now, "reason": "", "attempts": 0, "seconds_left": None}
            waiting = {"outputs": Outputs.WAITING, "lease_until": now + ASK_AGAIN}
            self._move(State.UPLOADING, state=State.READY, **done, **waiting)
            Composition.objects.note(self.pk, name, stored)
            _make_outputs(self.pk)

    def failed(self, reason: str, *, final: bool = False) -> None:
        """Try again, or after TRIES (or when trying again cannot help) show the reason beside Retry."""
        attempts = Recording.objects.filter(pk=self.pk).values_list("attempts", flat=True).first()
        if attempts is None:  # deleted meanwhile, with its class
            raise LeaseLost
        with transaction.atomic():
            if final or attempts >= TRIES:
                self._move(WORKING, state=State.FAILED, reason=reason[:500], lease_until=None)
                return
            wait = RETRY_AFTER * attempts
            until = timezone.now() + timedelta(seconds=wait) + ASK_AGAIN
            self._move(WORKING, state=State.QUEUED, reason=reason[:500], progress=0, lease_until=until)
            _queue(self.pk, countdown=wait)

    def give_back(self, after: float, reason: str = "") -> None:
        """No try of ours: a media worker still writes in the folder, the storage is away, or the disk full."""
        with transaction.atomic():
            until = timezone.now() + timedelta(seconds=after) + ASK_AGAIN
            back = {"attempts": F("attempts") - 1, "progress": 0, "reason": reason[:500]}
            self._move(WORKING, state=State.QUEUED, lease_until=until, **back)
            _queue(self.pk, countdown=after)


class AlongLease(Held):
    """The right to compose segments of a class that goes on."""

    def release(self, segments_done: int) -> None:
        self._note(segments_done=segments_done, lease_until=None)

    def failed(self) -> None:
        """It is tried again later, and if need be after the class, which counts its tries."""
        self._note(lease_until=timezone.now() + ALONG_AGAIN)


class OutputsLease(Held):
    """The right to make what else is made of a recording that is ready."""

    def made(self) -> None:
        self._note(outputs=Outputs.MADE, attempts=0, lease_until=None, reason="")

    def failed(self, reason: str) -> None:
        """Try again, or after TRIES show the reason beside Retry: the film is there, and the packets stay."""
        attempts = Recording.objects.filter(pk=self.pk).values_list("attempts", flat=True).first()
        with transaction.atomic():
            if attempts is None or attempts >= TRIES:
                self._note(last=True, outputs=Outputs.FAILED, lease_until=None, reason=reason[:500])
                return
            wait = RETRY_AFTER * attempts
            until = timezone.now() + timedelta(seconds=wait) + ASK_AGAIN
            self._note(last=True, outputs=Outputs.WAITING, lease_until=until)
            _make_outputs(self.pk, countdown=wait)

    def give_back(self, after: float) -> None:
        """No try of ours: the storage is away, or the disk full."""
        with transaction.atomic():
            until = timezone.now() + timedelta(seconds=after) + ASK_AGAIN
            self._note(last=True, outputs=Outputs.WAITING, attempts=F("attempts") - 1, lease_until=until)
            _make_outputs(self.pk, countdown=after)


def claim(pk: int) -> Lease | None:
    """None: it is not queued (another composes it, it is done, it failed), which is no error."""
    until = timezone.now() + LEASE
    moved = _move(pk, State.QUEUED, state=State.COMPOSING, progress=0, attempts=F("attempts") + 1, lease_until=until)
    return Lease(pk, until) if moved else None


def claim_along(pk: int) -> AlongLease | None:
    """None: the class is over, or another process composes along with it."""
    now = timezone.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    moved = Recording.objects.filter(ALONG, free, pk=pk).update(lease_until=now + LEASE) == 1
    return AlongLease(pk, now + LEASE, ALONG) if moved else None


def claim_outputs(pk: int) -> OutputsLease | None:
    """None: there is nothing to make, or another process makes it."""
    until = timezone.now() + LEASE
    waiting = Q(state=State.READY, outputs=Outputs.WAITING)
    making = {"outputs": Outputs.MAKING, "attempts": F("attempts") + 1, "lease_until": until}
    moved = Recording.objects.filter(waiting, pk=pk).update(**making) == 1
    return OutputsLease(pk, until, MAKING) if moved else None


def take_from_the_dead(now: datetime) -> int:
    """Queue what a composer held whose lease ran out; fail what outlived TRIES composers -> how many."""
    taken = 0
    stale = Q(lease_until__lt=now) | Q(lease_until=None)
    for pk, attempts in Recording.objects.filter(stale, WORKING).values_list("pk", "attempts"):
        with transaction.atomic():
            if attempts >= TRIES:
                taken += _move(pk, WORKING, stale, state=State.FAILED, reason=PROCESS_DIED, lease_until=None)
            elif _move(
                pk, WORKING, stale, state=State.QUEUED, reason=PROCESS_DIED, progress=0, lease_until=now + ASK_AGAIN
            ):
                taken += 1
                _queue(pk)
    for pk, attempts in Recording.objects.filter(stale, MAKING).values_list("pk", "attempts"):
        with transaction.atomic():
            if attempts >= TRIES:
                taken += _move(pk, MAKING, stale, outputs=Outputs.FAILED, reason=PROCESS_DIED, lease_until=None)
            elif _move(pk, MAKING, stale, outputs=Outputs.WAITING, lease_until=now + ASK_AGAIN):
                taken += 1
                _make_outputs(pk)
    return taken


def queue_the_lost(now: datetime) -> int:
    """Send a task again for what nobody has taken for ASK_AGAIN -> how many. Doubles do no harm."""
    sent = 0
    overdue = Q(lease_until__lt=now) | Q(lease_until=None)
    for waiting, send in (
        (Q(state=State.QUEUED), _queue),
        (Q(state=State.READY, outputs=Outputs.WAITING), _make_outputs),
    ):
        for pk in Recording.objects.filter(overdue, waiting).values_list("pk", flat=True):
            with transaction.atomic():
                if Recording.objects.filter(overdue, waiting, pk=pk).update(lease_until=now + ASK_AGAIN) == 1:
                    sent += 1
                    send(pk)
    return sent


# --- afterwards ------------------------------------------------------------------------------------------------------


def retry(pk: int) -> bool:
    """Somebody pressed Retry: for the film, or for what else was to be made."""
    with transaction.atomic():
        until = timezone.now() + ASK_AGAIN
        again: dict[str, Any] = {"attempts": 0, "lease_until": until, "reason": ""}
        if _move(pk, State.FAILED, state=State.QUEUED, progress=0, **again):
            _queue(pk)
        elif _move(pk, Q(state=State.READY, outputs=Outputs.FAILED), outputs=Outputs.WAITING, **again):
            _make_outputs(pk)
        else:
            return False
    return True


def expire(pk: int) -> bool:
    """Its time is over, and nobody holds it. What is stored of it goes after the commit, by the task that asked."""
    with transaction.atomic():
        Recording.objects.select_for_update().filter(pk=pk).first()  # a hold that is being placed is waited for
        over = Q(state__in=(State.READY, State.FAILED), hold=None)
        return _move(pk, over, state=State.EXPIRED, outputs=Outputs.NONE, reason="", lease_until=None)
