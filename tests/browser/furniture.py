"""What the pages of a test show: `python -m tests.browser.furniture` fills the database of a Lectern that runs.

Prints a JSON object of what the addresses are made of. The demo's people and course are there already.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any


def furnish() -> dict[str, Any]:
    from allauth.account.models import EmailAddress
    from django.utils import timezone

    from accounts.models import User
    from classroom import services
    from classroom.models import Course, Enrolment, Lesson
    from meetings.models import Attendance, ChatMessage, ConnectionSummary, Participant, Room
    from recordings.models import Composition, LegalHold, Notice, Recording, RecordingPolicy, Track, Viewing
    from recordings.storage import Stored

    now = timezone.now()
    teacher, student = User.objects.get(username="teacher"), User.objects.get(username="student1")
    teacher.first_name, teacher.last_name = "Adaeze", "Okafor-Featherstonehaugh"
    teacher.save()
    for address, is_primary in [("teacher@demo.example", True), ("okafor@demo.example", False)]:
        EmailAddress.objects.create(user=teacher, email=address, primary=is_primary, verified=is_primary)

    course = Course.objects.get(slug="demo-course")
    for number, title in enumerate(["The cell", "Light and leaves: how plants eat", "Rivers", "数学入門"]):
        small = services.create_course(by=teacher, title=title, description="What it is about. " * 4 * number)
    Lesson.objects.create(course=small, title="Numbers", starts_at=now + timedelta(days=9))
    for number in range(14):
        person = User.objects.create(username=f"pupil{number}", first_name="Pupil", last_name=f"Number {number}")
        Enrolment.objects.create(course=course, user=person)

    def lesson(title: str, starts_in: timedelta) -> Lesson:
        text = "Bring your book.\n\nWe begin with the questions of last week."
        return Lesson.objects.create(course=course, title=title, description=text, starts_at=now + starts_in)

    on_now = lesson("Osmosis, and why a raisin swells in water overnight", timedelta(minutes=-10))
    lesson("Diffusion", timedelta(days=3))
    for week in range(22):
        lesson(f"Week {week}", timedelta(weeks=-30 + week))

    room = Room.objects.create(title=on_now.title, lesson=on_now, created_by=teacher, guests_allowed=True)
    Room.objects.create(code="ended-class", title="Ended", created_by=teacher, ended_at=now, guests_allowed=True)
    full = Room.objects.create(code="full-class", title="Full", lesson=lesson("Full", timedelta(0)),
                               created_by=teacher, capacity=0)  # fmt: skip
    member = Participant.objects.create(room=room, public_id="p1", user=student, name="student1", role="attendee")
    interval = Attendance.objects.create(
        participant=member, session="s1", left_at=now + timedelta(minutes=9), reason="left"
    )
    ConnectionSummary.objects.create(
        attendance=interval, room=room, day=now.date(), seconds=540, rtt=42.5, worst_rtt=310, loss=0.4, worst_loss=12,
        jitter=7, worst_jitter=60, score=4.3, worst_score=2.9, warning_share=3, danger_share=1,
        bytes_received=81_000_000, bytes_sent=20_500_000, freezes=2, used_tcp=False, used_relay=True,
    )  # fmt: skip
    ChatMessage.objects.create(room=room, participant=member, public_id="m1", message="Good morning!")

    recordings = {}
    for state, reason in [("ready", ""), ("failed", "The disk was full while the video was written."), ("expired", "")]:
        recording = Recording.objects.create(
            public_id=f"{state}-recording", room=room, started_by=teacher, state=state, reason=reason,
            stopped_at=now, duration=timedelta(minutes=52, seconds=7),
        )  # fmt: skip
        Track.objects.create(
            recording=recording, producer_id="x", participant_id_on_wire="p1", name="student1", kind="video",
            source="camera", file="tracks/x.mkv", offset=0.5, duration=3100.0,
        )  # fmt: skip
        recordings[state] = recording.public_id
    ready = Recording.objects.get(public_id=recordings["ready"])
    film = Stored("ready-recording/720p.mp4", 123_456_789, "0" * 64)
    Composition.objects.note(ready.pk, "720p.mp4", film)
    Viewing.objects.create(recording=ready, user=student, day=now.date(), seconds=754, furthest=1900)
    Viewing.objects.create(recording=ready, user=None, day=now.date() - timedelta(days=99), seconds=60, furthest=60)
    Notice.objects.create(recording=ready, user=teacher, kind=Notice.Kind.READY, claimed_at=now, sent_at=now)
    RecordingPolicy.objects.create(course=course, keep_days=90)
    failed = Recording.objects.get(public_id=recordings["failed"])
    LegalHold.objects.create(recording=failed, reason="An examination is contested: case 12.", placed_by=teacher)
    composing = Recording.objects.create(
        public_id="composing-recording", room=room, started_by=teacher, state="composing", progress=62,
        segments_done=5, segments_total=8, seconds_left=95, stopped_at=now, lease_until=now + timedelta(days=1),
    )  # fmt: skip
    recordings["composing"] = composing.public_id
    models = [
        LegalHold, Notice, RecordingPolicy, Viewing,
        EmailAddress, User, Course, Lesson, Enrolment, Room, Participant, Attendance, ConnectionSummary, ChatMessage,
        Recording, Track, Composition,
    ]  # fmt: skip
    return {
        "lesson": on_now.pk,
        "room": room.code,
        "full": full.code,
        "enrolment": Enrolment.objects.get(course=course, user=student).pk,
        "recordings": recordings,
        "admin": {f"{m._meta.app_label}/{m._meta.model_name}": m._default_manager.first().pk for m in models}
        | {"classroom/course": small.pk},  # its form holds its lessons, and the demo's has many
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    print(json.dumps(furnish()))
