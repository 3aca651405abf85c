"""Ask a sender for a key frame, but not more often than it can answer."""

from __future__ import annotations

RETRY_AFTER = 1.0  # seconds: an encoder and the way to it and back need about this long
NOT_BEFORE = 0.5  # seconds between two requests: a key frame is ten times a usual one, and a room may ask all at once
OLD = 25.0  # seconds: a recording is decoded from the last key frame before a moment, which should not lie far back
MAX_TRIES = 10  # then nobody sends; the next one who wants a picture asks anew


class KeyFrameRequests:
    """The requests of one incoming stream. Whoever needs one says so; `due` tells when to send a PLI."""

    __slots__ = ("_tries", "answered_at", "asked_at", "pending")

    def __init__(self) -> None:
        self.pending = False
        self.asked_at = -1e9  # when a request was last sent
        self.answered_at = -1e9  # when a key frame last began, asked for or not
        self._tries = 0

    def request(self) -> None:
        """Someone needs a key frame that begins from now on."""
        if not self.pending:
            self.pending = True
            self._tries = 0

    def due(self, now: float) -> bool:
        """Whether to send a request now. True is an order: it counts as sent."""
        if not self.pending:
            return False
        wait = NOT_BEFORE if self._tries == 0 else RETRY_AFTER
        if now - self.asked_at < wait:
            return False
        if self._tries >= MAX_TRIES:
            self.pending = False
            return False
        self.asked_at = now
        self._tries += 1
        return True

    def answered(self, now: float) -> None:
        """A key frame began."""
        self.pending = False
        self.answered_at = now

    def is_old(self, now: float) -> bool:
        """Whether the last one, and the last request for one, lie far back."""
        return now - max(self.asked_at, self.answered_at) >= OLD
