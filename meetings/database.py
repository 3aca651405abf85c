"""Database work from async code: in a few threads of its own, so that one slow query does not hold up all sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async  # type: ignore[import-untyped]

THREADS = 4  # SQLite writes one at a time anyway, and PostgreSQL sees this many connections a process more
_executor = ThreadPoolExecutor(THREADS, thread_name_prefix="database")

P = ParamSpec("P")
T = TypeVar("T")


def in_database(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """`await in_database(services.enter)(code, ...)`: one hop to a thread for everything that the function asks."""
    return database_sync_to_async(function, thread_sensitive=False, executor=_executor)
