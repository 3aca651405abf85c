"""Give freed memory back to the system.

A handshake's memory is freed with its end (docs/decisions/0008). When a class joins at once, what is kept of each lies
between what was freed of the others, and glibc gives back only what lies at its heap's end.
"""

from __future__ import annotations

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's (malloc_trim(3)); musl and macOS have none


def give_back() -> None:
    """Some milliseconds after hundreds of joins: not for every single one."""
    if _trim is not None:
        _trim(0)
