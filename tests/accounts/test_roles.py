"""What follows from a site role."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from accounts.models import User
from tests.world import person

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("role", "creates_courses", "is_site_staff", "uses_the_admin"),
    [
        ("student", False, False, False),
        ("teacher", True, False, False),
        ("staff", False, True, False),
        ("admin", True, True, True),
    ],
)
def test_the_role_decides(client, role, creates_courses, is_site_staff, uses_the_admin):
    user = person("somebody", role)
    assert (user.may_create_courses, user.is_site_staff) == (creates_courses, is_site_staff)
    assert (user.is_staff, user.is_superuser) == (uses_the_admin, uses_the_admin)
    client.force_login(user)
    assert client.get("/admin/").status_code == (200 if uses_the_admin else 302)


def test_who_is_no_longer_an_admin_leaves_the_django_admin():
    user = person("ada", "admin")
    user.role = User.Role.TEACHER
    user.save(update_fields=["role"])
    user.refresh_from_db()
    assert (user.is_staff, user.is_superuser) == (False, False)


def test_a_new_account_is_a_students():
    assert User.objects.create_user("somebody").role == "student"


def test_the_first_admin_is_made_on_the_command_line():
    call_command("createsuperuser", username="root", email="root@example.com", interactive=False, verbosity=0)
    root = User.objects.get(username="root")
    assert (root.role, root.is_staff, root.is_superuser) == ("admin", True, True)
