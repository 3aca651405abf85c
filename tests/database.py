"""The test's own database: its address, for the processes that a test starts, and how it is emptied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db import connection
from django.db.models.signals import post_migrate


def database_url() -> str:
    """As DATABASE_URL has it."""
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    user, password = quote(settings["USER"]), quote(settings["PASSWORD"])
    return f"postgres://{user}:{password}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"


MADE_BY_MIGRATING = {"django_content_type", "auth_permission"}


@contextmanager
def quickly_emptied() -> Iterator[None]:
    """After a test with transactions of its own Django empties all tables, and makes all content types and permissions
    anew. Here these stay. PostgreSQL takes longer to cut off a table than to delete its rows.
    """
    post_migrate.disconnect(create_permissions, dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)
    with patch.object(type(connection.ops), "sql_flush", deletes):
        yield


def deletes(ops: Any, style: Any, tables: list[str], **_: Any) -> list[str]:
    """In one transaction, at the end of which foreign keys are looked at."""
    emptied = [table for table in tables if table not in MADE_BY_MIGRATING]
    return [f"DELETE FROM {ops.quote_name(table)};" for table in emptied]  # noqa: S608  of our own
