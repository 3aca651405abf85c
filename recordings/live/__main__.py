"""`python -m recordings.live JOB`: the process of one stream, until SIGTERM (the stream is over) or death.

It ends with the one that started it, and waits for every class on the machine (its niceness).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

from recordings.live.job import read_job
from recordings.live.show import Show, TooLate

NICENESS = 5  # the media workers come first
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(path: Path) -> int:
    os.nice(NICENESS)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    over = False

    def end(number: int, frame: object) -> None:
        nonlocal over
        over = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    parent = os.getppid()
    show = Show(read_job(path))
    try:
        while not over:
            if os.getppid() != parent:  # nobody would end us; the stream goes on with our successor
                return 1
            if (wait := show.due()) > 0:
                time.sleep(wait)
            show.step()
        show.end()
    except TooLate as error:
        logging.error("the stream begins anew: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
