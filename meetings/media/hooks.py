"""What the recordings hear of the media part. A function may be called in several processes, so it must be idempotent.

@on_media_restart
async def carried_on(code: str, epoch: str) -> None: ...
"""

from meetings.registry import Hook

on_media_restart = Hook("media_restart")  # (room's code, epoch): it is open on another worker, its recording goes on
# (room's code, recording_id): the worker records, and the room's live state does not say so. Redis came back empty, or
# the worker answered a start too late.
on_recording_found = Hook("recording_found")
# (room's code, recording_id): by the room's live state that is recorded, and the room was opened on a worker, which may
# not know of it, or not of what was decided meanwhile.
on_recording_expected = Hook("recording_expected")
on_recording_failed = Hook("recording_failed")  # (room's code, recording_id, reason): the worker cannot write it
