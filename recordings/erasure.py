"""Files go with their rows: a lesson or course that is deleted takes its recordings' tracks and compositions along.

The database deletes the rows by itself (cascade); what they named lies in a folder and in the storage. A task deletes
it after the commit, since a storage that is away must not keep anybody from deleting a lesson.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from recordings.models import Recording


@receiver(pre_delete, sender=Recording)
def erase_files(instance: Recording, **_: object) -> None:
    from recordings.tasks import erase_recording  # tasks know states and storage, not the other way round

    public_id = instance.public_id
    transaction.on_commit(lambda: erase_recording.delay(public_id), robust=True)
