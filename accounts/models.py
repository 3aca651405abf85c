"""People and what they may do on the site. What they may do in a course or a class is decided there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models


class PeopleManager(UserManager["User"]):
    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **extra_fields: Any
    ) -> User:
        extra_fields.setdefault("role", User.Role.ADMIN)
        return super().create_superuser(username, email, password, **extra_fields)


class User(AbstractUser):
    """A person with a sign-in. `role` is the site role; a new account is a student's.

    Django's own flags follow the role: admins, and nobody else, may use the Django admin, all of it.
    """

    class Role(models.TextChoices):
        STUDENT = "student", "Student"
        TEACHER = "teacher", "Teacher"
        STAFF = "staff", "Staff"
        ADMIN = "admin", "Admin"

    role = models.CharField(max_length=10, choices=Role.choices, default=Role.STUDENT, db_index=True)

    objects: ClassVar[PeopleManager] = PeopleManager()

    def save(
        self,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        self.is_staff = self.is_superuser = self.role == self.Role.ADMIN
        if update_fields is not None and "role" in update_fields:
            update_fields = {*update_fields, "is_staff", "is_superuser"}
        super().save(force_insert=force_insert, force_update=force_update, using=using, update_fields=update_fields)

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username

    @property
    def is_site_staff(self) -> bool:
        """Staff and admins: they find and download every recording, and enter every class as co-host."""
        return self.role in {self.Role.STAFF, self.Role.ADMIN}

    @property
    def is_site_admin(self) -> bool:
        """Admins change every course."""
        return self.role == self.Role.ADMIN

    @property
    def may_create_courses(self) -> bool:
        return self.role in {self.Role.TEACHER, self.Role.ADMIN}
