"""What the sending loop needs of one receiver, side by side.

With a thousand receivers none of this is in the processor's nearest cache when their turn comes, so each object that
the loop has to look into costs more than what it does there. A lane is one object; the shell opens and closes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sfu.core.bandwidth.sent_history import Departure

if TYPE_CHECKING:
    from sfu.core.pacer import Pacer


class Lane:
    __slots__ = ("detour", "link", "name", "pacer", "sent", "sequence", "session")

    def __init__(self) -> None:
        self.session: Any = None  # SRTP's, for packets that leave as most do: by UDP, with a tag of 16 bytes
        self.name = 0  # where the kernel finds the address to send to
        self.sequence = 0  # the transport-wide number of the next packet
        # (number, what left): None until somebody reports on it
        self.sent: Callable[[int, tuple[Departure, ...]], None] | None = None
        self.detour = False  # whether packets leave in another way: by TCP, with another tag, or paced
        self.pacer: Pacer | None = None  # of who is behind a narrow line
        self.link: Any = None  # the shell's side of the transport
