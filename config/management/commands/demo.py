"""`manage.py demo`: make the demo data, or what is missing of them. See config/demo.py."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from config import demo


class Command(BaseCommand):
    help = "Make the demo's people, course and classroom. Run again, it makes what is missing."

    def handle(self, *args: Any, **options: Any) -> None:
        room = demo.make()
        self.stdout.write(f"People: {', '.join(demo.USERNAMES)}; the password of new ones is {demo.PASSWORD}")
        self.stdout.write(f"Classroom: /meetings/{room.code}/")
