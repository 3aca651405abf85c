"""What can keep a recording from being composed."""

from __future__ import annotations

import errno
import os
import sqlite3

NO_SPACE = os.strerror(errno.ENOSPC)
# It cannot write, or not even make the file that its readers share, which it calls an I/O error.
SQLITE_WITHOUT_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


class NothingRecorded(Exception):
    """The folder holds no recording at all: trying again cannot help."""


class CompositionFailed(Exception):
    """Its message is for people: it is shown beside Retry."""


class StillRecording(Exception):
    """A media worker writes there."""


def is_full_disk(error: Exception) -> bool:
    """Whether room on a disk would help, the database's too. Of another process (FFmpeg, PostgreSQL) its words are all
    that there is."""
    if getattr(error.__cause__, "sqlite_errorcode", None) in SQLITE_WITHOUT_ROOM:
        return True
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or NO_SPACE in str(error)
