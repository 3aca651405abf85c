"""`python -m recordings.live JOB PARENT`: the process of one stream, until SIGTERM (the stream is over) or death.

It ends with the process PARENT that started it (told, for that may be gone before we can look), and waits for every
class on the machine (its niceness).
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from recordings.live.job import read_job
from recordings.live.show import Show, TooLate
from recordings.programs import BASE_DIR

PUSH_AGAIN = 5.0  # seconds between two starts of the push
NICENESS = 5  # the media workers come first
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(path: Path, parent: int) -> int:
    os.nice(NICENESS)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    over = False

    def end(number: int, frame: object) -> None:
        nonlocal over
        over = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    job = read_job(path)
    show = Show(job)
    push = Pushing(path) if job.push else None
    try:
        while not over:
            if os.getppid() != parent:  # nobody would end us; the stream goes on with our successor
                return 1
            if (wait := show.due()) > 0:
                time.sleep(wait)
            show.step()
            if push is not None:
                push.look(time.monotonic())
        show.end()
    except TooLate as error:
        logging.error("the stream begins anew: %s", error)
        return 1
    finally:
        if push is not None:
            push.close()
    return 0


class Pushing:
    """The process that passes the stream on to an RTMP server; started again when it dies."""

    def __init__(self, job: Path) -> None:
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None
        self._again_at = 0.0

    def look(self, now: float) -> None:
        if now < self._again_at or (self._process is not None and self._process.poll() is None):
            return
        self._again_at = now + PUSH_AGAIN
        command = [sys.executable, "-m", "recordings.live.push", str(self._job), str(os.getpid())]
        self._process = subprocess.Popen(command, cwd=BASE_DIR, stdin=subprocess.DEVNULL)

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
