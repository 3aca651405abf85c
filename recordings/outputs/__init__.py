"""What is made of a recording besides its first film, once that one is ready and seen. docs/recordings.md lists it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recordings.models import Recording


def make(recording: Recording, folder: Path, joined: Path) -> None:
    """Called in a task of its own after READY, and again if it did not end. What is made already is left as it is.

    `joined`: the film as it was stored. It goes with the folder's packet logs once this returns; what this raises is
    tried again later.
    """
    from recordings.outputs.maker import Maker  # brings the decoders, which a web process does without

    Maker(recording, folder, joined).make()
