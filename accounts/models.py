"""People and what they may do on the site. What they may do in a course or a class is decided there."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person with a sign-in. `role` is the site role; a new account is a student's."""

    class Role(models.TextChoices):
        STUDENT = "student", "Student"
        TEACHER = "teacher", "Teacher"
        STAFF = "staff", "Staff"
        ADMIN = "admin", "Admin"

    role = models.CharField(max_length=10, choices=Role.choices, default=Role.STUDENT, db_index=True)

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username

    @property
    def is_site_staff(self) -> bool:
        """Staff and admins: they find and download every recording, and enter every class as co-host."""
        return self.is_superuser or self.role in {self.Role.STAFF, self.Role.ADMIN}

    @property
    def may_create_courses(self) -> bool:
        return self.is_superuser or self.role in {self.Role.TEACHER, self.Role.ADMIN}
