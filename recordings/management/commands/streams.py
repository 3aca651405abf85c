"""`manage.py streams`: keep the processes of live streams. See recordings/live/keeper.py."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand

from recordings.live.keeper import Keeper


class Command(BaseCommand):
    help = "Keep the processes of live streams: start them, start them again when they die, end them with their class."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(Keeper().run())
