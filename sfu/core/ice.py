"""Answer a browser's ICE checks, as the lite side that never asks (RFC 8445, section 2.5; STUN of RFC 8489).

A STUN request signed with our password proves that whoever shares the session sits behind an address. Such an
address is *known*; one of the known ones is *selected*, and that is where media goes. The caller finds the session of
a datagram by its known address, else by `username_fragment`, and gives it to that session's `IceLite.handle`.

An address is a tuple that starts with (ip, port); more items (as "tcp") keep two of the same ip and port apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sfu.core import stun
from sfu.core.errors import ParseError
from sfu.core.rtp import Buffer

CONSENT_EXPIRES = 30.0  # seconds without an authenticated request (RFC 7675): browsers ask every 2 to 5
MAX_ADDRESSES = 8  # known addresses of one session: a browser has a few, a liar as many as we let him

Address = tuple[Any, ...]

# What a check must have (RFC 8445, 7.1).
NEEDED = {stun.USERNAME, stun.MESSAGE_INTEGRITY, stun.FINGERPRINT, stun.PRIORITY}


@dataclass(frozen=True, slots=True)
class IceResult:
    """What became of one datagram: `response` goes back to where it came from; the rest is only set if authenticated.

    `nominated`: the datagram's address is now the selected one by this check. `evicted`: an address that is no longer
    known, to be taken out of the caller's table. `retired_ufrag`: credentials that ended with this check.
    """

    response: bytes | None = None
    authenticated: bool = False
    nominated: bool = False
    remote_ufrag: str = ""
    error: int | None = None
    evicted: Address | None = None
    retired_ufrag: str | None = None


DROPPED = IceResult()


@dataclass(slots=True)
class _Credentials:
    ufrag: str
    password: bytes
    used: bool = False


class IceLite:
    """One transport's ICE: its credentials, its known addresses, the selected one, and when consent was last given."""

    def __init__(
        self, local_ufrag: str, local_password: str, *, on_selected: Callable[[Address], None] = lambda address: None
    ) -> None:
        """`on_selected` hears of every address that media goes to from now on."""
        self._current = _Credentials(local_ufrag, local_password.encode())
        self._previous: _Credentials | None = None
        self._verified: dict[Address, float] = {}  # known address -> time of its last valid check, oldest first
        self.selected: Address | None = None
        self.consent_at: float | None = None
        self._on_selected = on_selected

    @property
    def local_ufrags(self) -> tuple[str, ...]:
        """The ufrags that are valid now: the current one, and during a restart the one before it."""
        return (self._current.ufrag,) if self._previous is None else (self._current.ufrag, self._previous.ufrag)

    @property
    def addresses(self) -> list[Address]:
        """The known addresses, the longest unverified first."""
        return list(self._verified)

    def restart(self, ufrag: str, password: str) -> None:
        """Issue new credentials; the old ones stay valid until the new are used. Addresses, DTLS and SRTP stay."""
        # New credentials that nobody used give way to newer ones: the peer still speaks with the ones before.
        if self._current.used or self._previous is None:
            self._previous = self._current
        self._current = _Credentials(ufrag, password.encode())

    def consent_expired(self, now: float) -> bool:
        """Whether the peer has been silent for 30 s. Never before the first valid check: that wait is the caller's."""
        return self.consent_at is not None and now - self.consent_at > CONSENT_EXPIRES

    def select(self, address: Address) -> bool:
        """Valid DTLS or SRTP came from `address`: follow it if it is known. Whether the selection changed.

        A browser that nominates aggressively may send from a pair before it says so by USE-CANDIDATE.
        """
        if address == self.selected or address not in self._verified:
            return False
        self._select(address)
        return True

    def _select(self, address: Address | None) -> None:
        if address != self.selected:
            self.selected = address
            if address is not None:
                self._on_selected(address)

    def forget(self, address: Address) -> None:
        """A TCP connection closed: its address is gone."""
        self._verified.pop(address, None)
        if self.selected == address:
            # The most recently verified one is the likeliest to be alive.
            self._select(self.addresses[-1] if self._verified else None)

    def handle(self, data: Buffer, address: Address, now: float) -> IceResult:
        """Verify a check and answer it. Nothing changes unless it is signed with our password. Never raises."""
        try:
            request = stun.parse(data)
            if request.kind != stun.REQUEST:
                return DROPPED  # an indication needs no answer, and a lite agent asked nothing that could be answered
            attributes = request.attributes
            if not attributes.keys() >= NEEDED:
                return _refused(request, 400, "Bad Request")
            local_ufrag, _, remote_ufrag = request.username.partition(":")
        except ParseError:
            return DROPPED
        credentials = self._find(local_ufrag)
        if credentials is None or not remote_ufrag or not request.is_signed_with(credentials.password):
            return _refused(request, 401, "Unauthorized")
        if stun.ICE_CONTROLLED in attributes:
            return _refused(request, 487, "Role Conflict", credentials)

        retired = self._use(credentials)
        evicted = self._remember(address, now)
        nominated = stun.USE_CANDIDATE in attributes or self.selected is None
        if nominated:
            self._select(address)
        return IceResult(
            response=stun.success(request, address[0], address[1], credentials.password),
            authenticated=True,
            nominated=nominated,
            remote_ufrag=remote_ufrag,
            evicted=evicted,
            retired_ufrag=retired,
        )

    def _find(self, ufrag: str) -> _Credentials | None:
        if ufrag == self._current.ufrag:
            return self._current
        if self._previous is not None and ufrag == self._previous.ufrag:
            return self._previous
        return None

    def _use(self, credentials: _Credentials) -> str | None:
        """Mark credentials as used; the ufrag that this retires."""
        credentials.used = True
        if credentials is self._current and self._previous is not None:
            retired, self._previous = self._previous.ufrag, None
            return retired
        return None

    def _remember(self, address: Address, now: float) -> Address | None:
        """Make an address known, or known anew; the address that had to give way to it."""
        self.consent_at = now
        self._verified.pop(address, None)
        evicted = None
        if len(self._verified) >= MAX_ADDRESSES:
            evicted = next(known for known in self.addresses if known != self.selected)
            del self._verified[evicted]
        self._verified[address] = now
        return evicted


def _refused(request: stun.Message, code: int, reason: str, credentials: _Credentials | None = None) -> IceResult:
    password = None if credentials is None else credentials.password
    return IceResult(response=stun.error(request, code, reason, password), error=code)
