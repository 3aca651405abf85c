"""Why a request was refused: a closed list of codes, each of them stable; the messages are for people."""

from __future__ import annotations

from typing import Literal, get_args

ErrorCode = Literal[
    "bad_request",
    "unauthenticated",
    "forbidden",
    "not_found",
    "wrong_meeting",
    "wrong_state",
    "meeting_full",
    "meeting_ended",
    "rate_limited",
    "too_large",
    "media_unavailable",
    "internal",
]
ERROR_CODES: frozenset[str] = frozenset(get_args(ErrorCode))

# Close codes of the socket. A client retries none of the 4xxx ones, and all others with jittered backoff.
CLOSE_UNAUTHENTICATED = 4001
CLOSE_REMOVED = 4003  # removed by a host, or not allowed in at all
CLOSE_ENDED = 4004
CLOSE_REPLACED = 4009  # the same person came in by another tab
CLOSE_TOO_LARGE = 1009
CLOSE_UNSUPPORTED = 1003  # a binary frame
CLOSE_FLOOD = 1008
CLOSE_TRY_LATER = 1013  # the database or Redis is away
CLOSE_COME_AGAIN = 1012  # events were lost for good: the client comes back for a whole snapshot

# With these a client says goodbye (RFC 6455, section 7.4.1): 1001 by a browser whose tab is closed, reloaded or sent
# elsewhere, 1000 by a program that has done. A connection that was lost says nothing.
GOODBYE = frozenset({1000, 1001})


class Refused(Exception):
    """The caller's fault, or a part that is away: acknowledged with `code` and `message`; the socket lives."""

    def __init__(self, code: ErrorCode, message: str = "") -> None:
        super().__init__(message or code)
        self.code: ErrorCode = code
        self.message = message or code
