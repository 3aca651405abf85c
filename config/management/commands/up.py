"""`manage.py up`: all of Lectern on this machine, until Ctrl-C or SIGTERM. See config/supervisor.py."""

from __future__ import annotations

import errno
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.utils import DatabaseError

from config.supervisor import CannotStart, Options, Supervisor


class Command(BaseCommand):
    help = "Start everything on this machine: Redis, web, media workers, Celery. What dies is started again."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            Supervisor(Options.from_environ()).run()
        except CannotStart as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise CommandError(f"The disk is full: {error}. Make room, or set LECTERN_DATA.") from None
            raise
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
