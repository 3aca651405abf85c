"""Verbs about courses, lessons and enrolments. Who may call them is asked by the edges (views.py, api.py)."""

from __future__ import annotations

import secrets

from django.contrib.admin.utils import NestedObjects
from django.db import IntegrityError, router, transaction
from django.db.models import Model, ProtectedError, Q
from django.utils.text import slugify

from accounts.models import User
from classroom.models import Course, Enrolment, Lesson

SLUG_LENGTH = 60  # of a title; the model's 80 leave room for what tells two courses of one title apart
RESERVED_SLUGS = {"new"}  # /courses/new/


class Refused(Exception):
    """What was asked for goes against a rule. `code` is stable, `message` is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def create_course(*, by: User, title: str, description: str = "") -> Course:
    """A new course, taught by its creator."""
    slug, number = slugify(title)[:SLUG_LENGTH].strip("-"), secrets.token_hex(4)
    if not slug or slug in RESERVED_SLUGS or slug.isdecimal():
        slug = f"{slug or 'course'}-{number}"
    facts = {"title": title, "description": description, "created_by": by}
    with transaction.atomic():
        # Asked and made in one step: two teachers may choose the same title at the same moment.
        course, is_new = Course.objects.get_or_create(slug=slug, defaults=facts)
        if not is_new:
            course = Course.objects.create(slug=f"{slug}-{number}", **facts)
        Enrolment.objects.create(course=course, user=by, role=Enrolment.Role.TEACHER)
    return course


def find_person(name: str) -> User:
    """The person with this username or e-mail address, as the sign-in takes them; Refused `not_found`, `ambiguous`."""
    name = name.strip()
    active = User.objects.filter(is_active=True)
    if person := active.filter(username=name).first():
        return person
    # Phones begin a word with a capital letter.
    found = list(active.filter(Q(username__iexact=name) | Q(email__iexact=name))[:2])
    if len(found) > 1:
        raise Refused("ambiguous", "Several accounts have this name or e-mail address. Give the exact username.")
    if not found:
        raise Refused("not_found", "Nobody with this username or e-mail address has an account.")
    return found[0]


def enrol(course: Course, person: User, role: str) -> Enrolment:
    """Enrol somebody who is not; Refused `already_enrolled`."""
    try:
        with transaction.atomic():
            return Enrolment.objects.create(course=course, user=person, role=role)
    except IntegrityError:
        raise Refused("already_enrolled", f"{person.display_name} is enrolled already.") from None


def change_role(enrolment: Enrolment, role: str) -> Enrolment:
    """Give another course role; Refused `last_teacher`."""
    with transaction.atomic():
        _keep_a_teacher(enrolment, losing=role != Enrolment.Role.TEACHER)
        Enrolment.objects.filter(pk=enrolment.pk).update(role=role)
    enrolment.role = role
    return enrolment


def remove(enrolment: Enrolment) -> None:
    """End an enrolment; Refused `last_teacher`."""
    with transaction.atomic():
        _keep_a_teacher(enrolment, losing=True)
        enrolment.delete()


def _keep_a_teacher(enrolment: Enrolment, *, losing: bool) -> None:
    # The lock makes two teachers who remove each other at once wait for one another.
    course = Course.objects.select_for_update().get(pk=enrolment.course_id)
    teachers = set(course.enrolments.filter(role=Enrolment.Role.TEACHER).values_list("pk", flat=True))
    if losing and teachers == {enrolment.pk}:
        raise Refused("last_teacher", "A course needs a teacher. Make somebody else one first.")


def delete_lesson(lesson: Lesson) -> None:
    """Refused `protected` where something of it must be kept, such as a recording under legal hold."""
    try:
        lesson.delete()
    except ProtectedError as error:
        kept = sorted({str(each._meta.verbose_name) for each in error.protected_objects})
        message = f"The lesson cannot be deleted: a {' and a '.join(kept)} keeps what belongs to it."
        raise Refused("protected", message) from error


def what_goes_with(lesson: Lesson) -> list[tuple[str, int]]:
    """What the database deletes with a lesson, by kind and number: ("recordings", 2). The lesson itself is left out."""
    collector = NestedObjects(using=router.db_for_write(Lesson))
    collector.collect([lesson])
    found: dict[type[Model], set[Model]] = collector.model_objs  # type: ignore[assignment]  # the stubs say str
    return [
        (str(meta.verbose_name_plural if len(rows) > 1 else meta.verbose_name), len(rows))
        for meta, rows in ((model._meta, rows) for model, rows in found.items() if model is not Lesson)
    ]
