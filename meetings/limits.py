"""How much one may ask: a token bucket a socket, and a count of wrong room codes an address."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.cache import cache

# A join to a class of a hundred senders asks some 400 things at once (consume and resume of each track).
REQUESTS_A_SECOND, REQUESTS_BURST = 50.0, 500.0
CHAT_A_SECOND, CHAT_BURST = 10.0, 30.0
# Requests refused by the bucket, forgiven at the bucket's own rate, after which the socket is closed.
FLOOD = 200.0

WRONG_CODES = 20  # a minute and address
WINDOW = 60  # seconds


@dataclass
class TokenBucket:
    """`rate` a second on the long run, `burst` at once. Time is an argument."""

    rate: float
    burst: float
    level: float = -1.0
    filled_at: float = 0.0

    def take(self, now: float, amount: float = 1.0) -> bool:
        if self.level < 0:
            self.level = self.burst
        else:
            self.level = min(self.burst, self.level + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.level < amount:
            return False
        self.level -= amount
        return True


def too_many_wrong_codes(address: str) -> bool:
    """Count one more request for a room that does not exist (or is not theirs); True when it was one too many."""
    key = f"wrong-codes:{address}"
    try:
        cache.add(key, 0, WINDOW)
        return bool(cache.incr(key) > WRONG_CODES)
    except Exception:
        # The count is in Redis, which may be away, or the key expired in between. A code of 16 random bytes is not
        # guessed in that time.
        return False
