"""What listens to a room without being a peer of it: the recorder."""

from __future__ import annotations

from typing import Any, Protocol

from sfu.protocol import ProducerInfo


class Tap(Protocol):
    """Called from the media loop, so it must not block. One that raises is taken off the room, which goes on."""

    def wants(self, peer: str) -> bool:
        """Whether it gets that person's media. When the answer has changed, the router is told to `heed` it."""

    def peer_opened(self, peer: str, name: str) -> None: ...

    def peer_closed(self, peer: str) -> None: ...

    def producer_added(
        self, info: ProducerInfo, codec: dict[str, Any], mime_type: str, payload_type: int, paused: bool
    ) -> None:
        """`codec` is the router's codec with the producer's fmtp (mediasoup JSON)."""

    def producer_closed(self, producer_id: str) -> None: ...

    def producer_paused(self, producer_id: str) -> None: ...

    def producer_resumed(self, producer_id: str) -> None: ...

    def speaker_changed(self, peer: str | None) -> None:
        """Who holds the floor from now on; None: nobody."""

    def rtp(self, producer_id: str, packet: memoryview, now: float) -> None:
        """One packet of the layer of use (`sfu.core.film`), numbered as a consumer would see it. `packet` is valid
        during the call only."""

    def sender_report(self, producer_id: str, report: bytes) -> None:
        """An RTCP sender report whose RTP timestamp is in the numbering of `rtp`."""
