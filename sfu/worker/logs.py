"""How the worker logs: structured lines with `event`, `room`, `peer`; and never a line a packet.

Never logged: secrets, ICE passwords, keys, addresses of Redis (they hold its password), chat.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(log_format: str, *, worker_id: str) -> None:
    """JSON lines on standard error, or lines for people (`LOG_FORMAT` other than `json`)."""
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(log_format, worker_id=worker_id))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)


def formatter(log_format: str, *, worker_id: str) -> logging.Formatter:
    def add_worker(logger: Any, name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line["worker"] = worker_id
        return line

    # Plain tracebacks: the handsome ones show local variables, and with them passwords and keys.
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, add_worker, *last],
    )


class OncePerSecond:
    """For what a stranger can bring about as often as he likes: one line a second of each event, and how many not."""

    def __init__(self, log: Any, *, every: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._every = every
        self._clock = clock
        self._last: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def warning(self, event: str, **values: Any) -> None:
        if self._due(event, values):
            self._log.warning(event, **values)

    def exception(self, event: str, **values: Any) -> None:
        if self._due(event, values):
            self._log.exception(event, **values)

    def _due(self, event: str, values: dict[str, Any]) -> bool:
        now = self._clock()
        if now - self._last.get(event, -self._every) < self._every:
            self._held_back[event] = self._held_back.get(event, 0) + 1
            return False
        self._last[event] = now
        if held_back := self._held_back.pop(event, 0):
            values["held_back"] = held_back
        return True
