"""How much one may ask: token buckets of a socket, and a count of wrong room codes an address."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.cache import cache

# A join to a class of a hundred senders asks some 400 things at once (consume and resume of each track).
REQUESTS_A_SECOND, REQUESTS_BURST = 50.0, 500.0
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


@dataclass(frozen=True)
class Limit:
    """On some kind of request of one socket; the socket's own limit holds besides."""

    name: str
    rate: float  # a second
    burst: float


CHAT = Limit("chat", 10.0, 30.0)
# One small request, and a thousand others are written to: fifty a second would be a whole core's work.
TOLD_TO_ALL = Limit("told to all", 10.0, 40.0)
# One small request, and the answer is read from the database or is the whole room.
LARGE_ANSWER = Limit("large answer", 5.0, 30.0)
SIGNALS = Limit("signals", 20.0, 100.0)  # a browser with many networks has some thirty candidates
REPORTS = Limit("reports", 1.0, 10.0)  # of a connection's statistics, one in five seconds
JOINS = Limit("joins", 0.5, 10.0)  # each opens an interval of attendance


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
