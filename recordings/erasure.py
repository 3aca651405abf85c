"""Files go with their rows: a lesson or course that is deleted takes its recordings' tracks and compositions along.

The database deletes the rows by itself (cascade); what they named lies in a folder and in the storage. A task deletes
it after the commit, since a storage that is away must not keep anybody from deleting a lesson. That it is due stands in
a row of its own, `Erasure`, until it is done: no broker that forgets leaves somebody's face in a bucket.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django.utils import timezone

from recordings import storage
from recordings.models import Erasure, Recording

SWEEP_EVERY = 300.0  # seconds
AGAIN_AFTER = timedelta(minutes=5)  # the first task may still be at it; two of them do no harm


@receiver(pre_delete, sender=Recording)
def erase_files(instance: Recording, **_: object) -> None:
    public_id = instance.public_id
    Erasure.objects.get_or_create(public_id=public_id)  # somebody else may delete it at this moment, too
    transaction.on_commit(lambda: erase_recording.delay(public_id), robust=True)


@shared_task
def erase_recording(public_id: str) -> None:
    """All files of a recording whose row is gone. Again does no harm."""
    shutil.rmtree(Path(settings.RECORDINGS_DIR) / public_id, ignore_errors=True)
    storage.erase(public_id)
    Erasure.objects.filter(public_id=public_id).delete()


@shared_task
def sweep_erasures() -> None:
    """Whose task was lost, or could not finish for a storage that is away: they are due until they are done."""
    for public_id in Erasure.objects.filter(since__lt=timezone.now() - AGAIN_AFTER).values_list("public_id", flat=True):
        erase_recording.delay(public_id)
