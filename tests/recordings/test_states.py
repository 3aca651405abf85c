"""Only one moves a recording's state, and only from the state it saw."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from meetings.models import Room
from recordings import states
from recordings.models import Composition, Recording
from recordings.storage import Stored

State = Recording.State
pytestmark = pytest.mark.django_db


def seen(recording: Recording) -> Recording:
    recording.refresh_from_db()
    return recording


def test_a_room_has_one_running_recording(recording: Recording, room: Room, tina: User) -> None:
    with pytest.raises(states.AlreadyRecording):
        states.begin(room, tina)
    states.recorded(recording.pk)
    assert states.begin(room, tina).pk != recording.pk


def test_a_stopped_recording_is_queued_once_and_its_task_waits_for_the_commit(
    recording: Recording, sent: list, django_capture_on_commit_callbacks: Callable
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert states.recorded(recording.pk)
        assert sent == []
    assert sent == [(recording.pk, 0)]
    assert not states.recorded(recording.pk)
    assert seen(recording).state == State.QUEUED
    assert recording.duration is not None


def test_of_two_that_claim_one_composes(recording: Recording) -> None:
    states.recorded(recording.pk)
    assert states.claim(recording.pk) is not None
    assert states.claim(recording.pk) is None
    assert seen(recording).attempts == 1


def test_a_recording_that_runs_is_not_composed(recording: Recording) -> None:
    assert states.claim(recording.pk) is None


def test_a_composition_goes_through_its_states(recording: Recording) -> None:
    states.recorded(recording.pk)
    lease = states.claim(recording.pk)
    assert lease is not None
    lease.progress(2, 5, 12)
    assert seen(recording).words == "Composing 40 %"
    assert (recording.segments_done, recording.segments_total, recording.seconds_left) == (2, 5, 12)
    lease.renew()
    lease.uploading([], {}, 61.5)
    assert seen(recording).state == State.UPLOADING
    assert recording.length == "1:02"
    lease.ready(Stored("key", 5, "ab"), "720p.mp4")
    assert seen(recording).state == State.READY
    assert Composition.objects.get(recording=recording).size == 5


def test_who_lost_the_lease_moves_nothing(recording: Recording) -> None:
    states.recorded(recording.pk)
    late = states.claim(recording.pk)
    assert late is not None
    assert states.take_from_the_dead(timezone.now() + 2 * states.LEASE) == 1
    other = states.claim(recording.pk)
    assert other is not None
    for move in (
        late.renew,
        lambda: late.progress(99, 100, 1),
        lambda: late.uploading([], {}, 1.0),
        lambda: late.failed("late"),
        lambda: late.give_back(1),
    ):
        with pytest.raises(states.LeaseLost):
            move()
    other.progress(1, 10, None)
    assert seen(recording).progress == 10


def test_a_lease_that_is_renewed_is_not_taken(recording: Recording) -> None:
    states.recorded(recording.pk)
    lease = states.claim(recording.pk)
    assert lease is not None
    lease.renew()
    assert states.take_from_the_dead(timezone.now()) == 0
    assert seen(recording).state == State.COMPOSING


def test_three_failures_end_with_the_reason_and_retry_begins_anew(recording: Recording, sent: list) -> None:
    states.recorded(recording.pk)
    for number in range(1, 4):
        assert seen(recording).state == State.QUEUED, number
        lease = states.claim(recording.pk)
        assert lease is not None
        lease.failed("The disk is full.")
    assert seen(recording).state == State.FAILED
    assert recording.reason == "The disk is full."
    assert states.retry(recording.pk)
    assert not states.retry(recording.pk)
    assert (seen(recording).state, recording.attempts, recording.reason) == (State.QUEUED, 0, "")


def test_three_killed_composers_fail_the_recording(recording: Recording) -> None:
    states.recorded(recording.pk)
    later = timezone.now() + 2 * states.LEASE
    for _ in range(3):
        assert states.claim(recording.pk) is not None
        states.take_from_the_dead(later)
    assert seen(recording).state == State.FAILED
    assert recording.reason == states.PROCESS_DIED


def test_a_try_that_found_a_worker_still_writing_does_not_count(recording: Recording) -> None:
    states.recorded(recording.pk)
    lease = states.claim(recording.pk)
    assert lease is not None
    lease.give_back(after=10)
    assert (seen(recording).state, recording.attempts) == (State.QUEUED, 0)


def test_a_lost_task_is_sent_again_but_not_at_once(
    recording: Recording, sent: list, django_capture_on_commit_callbacks: Callable
) -> None:
    states.recorded(recording.pk)
    now = timezone.now()
    with django_capture_on_commit_callbacks(execute=True):
        assert states.queue_the_lost(now) == 0
        assert states.queue_the_lost(now + states.ASK_AGAIN + timedelta(seconds=1)) == 1
        assert states.queue_the_lost(now + states.ASK_AGAIN + timedelta(seconds=2)) == 0
    assert sent == [(recording.pk, 0)]


# --- what else is made of it -----------------------------------------------------------------------------------------

Outputs = Recording.Outputs


@pytest.fixture
def waiting(recording: Recording) -> Recording:
    """Its film is stored a moment ago."""
    states.recorded(recording.pk)
    lease = states.claim(recording.pk)
    assert lease is not None
    lease.uploading([], {}, 3.0)
    lease.ready(Stored("key", 5, "ab"), "720p.mp4")
    assert (seen(recording).state, recording.outputs) == (State.READY, Outputs.WAITING)
    return recording


def test_outputs_are_made_once_and_by_one(waiting: Recording) -> None:
    lease = states.claim_outputs(waiting.pk)
    assert lease is not None
    assert states.claim_outputs(waiting.pk) is None
    lease.renew()
    lease.made()
    assert (seen(waiting).state, waiting.outputs, waiting.lease_until) == (State.READY, Outputs.MADE, None)
    assert states.claim_outputs(waiting.pk) is None
    assert states.queue_the_lost(timezone.now() + timedelta(days=1)) == 0


def test_outputs_that_fail_three_times_leave_the_film_and_can_be_tried_again(waiting: Recording) -> None:
    for number in range(3):
        assert seen(waiting).outputs == Outputs.WAITING, number
        lease = states.claim_outputs(waiting.pk)
        assert lease is not None
        lease.failed("It was so.")
    assert (seen(waiting).state, waiting.outputs, waiting.reason) == (State.READY, Outputs.FAILED, "It was so.")
    assert states.retry(waiting.pk)
    assert (seen(waiting).outputs, waiting.attempts) == (Outputs.WAITING, 0)


def test_outputs_whose_maker_died_or_whose_task_got_lost_are_made_by_another(waiting: Recording) -> None:
    now = timezone.now()
    assert states.queue_the_lost(now) == 0
    assert states.queue_the_lost(now + states.ASK_AGAIN + timedelta(seconds=1)) == 1
    late = states.claim_outputs(waiting.pk)
    assert late is not None
    assert states.take_from_the_dead(now) == 0
    assert states.take_from_the_dead(now + 2 * states.LEASE) == 1
    assert states.claim_outputs(waiting.pk) is not None
    with pytest.raises(states.LeaseLost):
        late.made()


def test_a_storage_that_is_away_is_no_try(waiting: Recording) -> None:
    lease = states.claim_outputs(waiting.pk)
    assert lease is not None
    lease.give_back(after=20)
    assert (seen(waiting).outputs, waiting.attempts) == (Outputs.WAITING, 0)


def test_only_what_is_ready_or_failed_expires(recording: Recording) -> None:
    assert not states.expire(recording.pk)
    Recording.objects.filter(pk=recording.pk).update(state=State.READY)
    assert states.expire(recording.pk)
    assert not states.expire(recording.pk)
    assert not states.retry(recording.pk)


def test_a_recording_that_never_began_is_discarded_but_one_that_is_queued_is_not(recording: Recording) -> None:
    states.recorded(recording.pk)
    assert not states.discard(recording.pk)
    Recording.objects.filter(pk=recording.pk).update(state=State.RECORDING)
    assert states.discard(recording.pk)
    assert not Recording.objects.exists()
