"""One child of the supervisor: started in a session of its own, restarted when it dies, ended with all it made."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FIRST_RETRY = 0.1  # seconds before the first restart; doubled for each quick death after it
LAST_RETRY = 10.0  # seconds
STEADY = 10.0  # seconds: a child that lived this long starts its count of deaths anew

_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Grandchildren whose parent died become ours, so that none outlives the supervisor (prctl(2), Linux only)."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@dataclass
class Child:
    """`command` gives the argument list anew for each start, for what may have changed since the last one."""

    name: str
    command: Callable[[], Sequence[str]]
    environ: Mapping[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    deaths: int = 0

    def start(self, *, now: float) -> None:
        self.process = subprocess.Popen(
            list(self.command()),
            env={**os.environ, **self.environ},
            pass_fds=self.pass_fds,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # so that the group can be killed whole, and Ctrl-C reaches the supervisor alone
            preexec_fn=_die_with_parent,  # safe here: the supervisor has one thread
        )
        self.started_at = now

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def reap(self, *, now: float) -> int | None:
        """The exit status if the child has died since the last call; its restart is then due at `restart_at`."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        self.kill_group()
        self.process = None
        self.deaths = 1 if now - self.started_at > STEADY else self.deaths + 1
        self.restart_at = now + min(LAST_RETRY, FIRST_RETRY * 2 ** (self.deaths - 1))
        return status

    def ask_to_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)

    def kill_group(self) -> None:
        """End what is left of the child's group: a Celery pool or an FFmpeg that lost its parent."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return

    def stop(self, *, within: float) -> None:
        """Wait for the child to end by itself, then end its whole group. `within` is seconds."""
        if self.process is None:
            return
        deadline = time.monotonic() + within
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self.kill_group()
        self.process.wait()
        self.process = None
