"""The way of a pipe to another worker: everybody's UDP port, an address that is known, keys that were agreed.

No ICE and no DTLS: both workers know the house's secret, and tell each other addresses and fresh keys by their control
connections. The upper half of an SSRC tells the room, since all rooms of two workers share two addresses.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from sfu.core.pipe import Pipe
from sfu.core.stream import RTCP_SSRC
from sfu.worker.srtp import PROFILES, SrtpSessions

if TYPE_CHECKING:
    from sfu.worker.endpoint import Endpoint

PROFILE = PROFILES[0]  # AES-128-GCM
KEY_LENGTH = PROFILE.key_length + PROFILE.salt_length
_NOBODY = RTCP_SSRC.to_bytes(4, "big")


def new_key() -> str:
    return secrets.token_hex(KEY_LENGTH)


class PipeSessions(SrtpSessions):
    __slots__ = ("_sender",)

    def __init__(self, prefix: int, *, receive_key: str, send_key: str) -> None:
        super().__init__(PROFILE, receive_key=bytes.fromhex(receive_key), send_key=bytes.fromhex(send_key))
        self._sender = (prefix << 16).to_bytes(4, "big")

    def protect_rtcp(self, packet: bytes) -> bytes | None:
        """Feedback has no stream of ours to be found by: it is sent under the pipe's own SSRC."""
        if packet[4:8] == _NOBODY:
            packet = packet[:4] + self._sender + packet[8:]
        return super().protect_rtcp(packet)


class PipeLink:
    """`number`: what the other side puts into the upper half of its SSRCs."""

    __slots__ = ("_closed", "_endpoint", "destination", "inbound", "key", "number", "outbound", "sessions", "transport")

    def __init__(
        self, endpoint: Endpoint, pipe: Pipe, *, address: tuple[str, int], number: int, sessions: PipeSessions
    ) -> None:
        self._endpoint = endpoint
        self._closed = False
        self.transport = pipe
        self.number = number
        self.sessions = sessions
        self.inbound: Any = sessions.inbound
        self.outbound: Any = sessions.outbound
        self.key, self.destination = endpoint.address_of_worker(*address)
        endpoint.add_pipe(self)

    def forget_inbound(self, ssrc: int) -> None:
        self.sessions.forget_inbound(ssrc)

    def forget_outbound(self, ssrc: int) -> None:
        self.sessions.forget_outbound(ssrc)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.inbound = self.outbound = None
            self._endpoint.remove_pipe(self)
