"""What can keep a recording from being composed."""

from __future__ import annotations

import errno
import os

NO_SPACE = os.strerror(errno.ENOSPC)


class NothingRecorded(Exception):
    """The folder holds no recording at all: trying again cannot help."""


class CompositionFailed(Exception):
    """Its message is for people: it is shown beside Retry."""


class StillRecording(Exception):
    """A media worker writes there."""


def is_full_disk(error: Exception) -> bool:
    """Whether room on a disk would help. Of another process (FFmpeg) its words are all that there is."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or NO_SPACE in str(error)
