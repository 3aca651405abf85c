"""Database work from async code: in a few threads of its own, so that one slow query does not hold up all sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync
from django.db import connections

THREADS = 4  # SQLite writes one at a time anyway, and PostgreSQL sees this many connections a process more
_executor = ThreadPoolExecutor(THREADS, thread_name_prefix="database")

P = ParamSpec("P")
T = TypeVar("T")


class _InDatabase(SyncToAsync[P, T]):
    """As Channels' database_sync_to_async, but a connection stays open for the next call in its thread.

    Opening one for SQLite costs a millisecond (Django gives it some sixty functions), three times a join.
    """

    def thread_handler(self, loop: asyncio.AbstractEventLoop, *args: Any, **kwargs: Any) -> T:
        _tidy()
        try:
            return super().thread_handler(loop, *args, **kwargs)
        finally:
            _tidy()


def _tidy() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.settings_dict["CONN_MAX_AGE"]:
            connection.close_at = None  # zero is for pages, each of which has a thread of its own
        connection.close_if_unusable_or_obsolete()


def in_database(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """`await in_database(services.enter)(code, ...)`: one hop to a thread for everything that the function asks."""
    return _InDatabase(function, thread_sensitive=False, executor=_executor)
