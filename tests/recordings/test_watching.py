"""Views are logged: a number for teachers, names for staff, and of nobody after ninety days."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from recordings.models import Recording, Viewing
from recordings.playback import watching
from tests.world import ClientOf


def tell(client: Client, recording: Recording, **said: object) -> int:
    return client.post(reverse("recordings:watched", args=[recording.public_id]), said).status_code


def test_what_somebody_watches_in_a_day_is_one_viewing(ready: Recording, client_of: ClientOf) -> None:
    sam = client_of("sam")
    assert tell(sam, ready, position=120, seconds=15) == 204
    assert tell(sam, ready, position=60, seconds=15) == 204
    viewing = Viewing.objects.get()
    assert (viewing.user.username, viewing.seconds, viewing.furthest) == ("sam", 30, 120)
    tell(client_of("alex"), ready, position=5, seconds=5)
    assert Viewing.objects.count() == 2


@pytest.mark.parametrize(
    "said",
    [{}, {"position": "x", "seconds": 1}, {"position": -1, "seconds": 1}, {"position": 1, "seconds": 10**9},
     {"position": 10**12, "seconds": 1}, {"position": "1\0", "seconds": "nan"}],
)  # fmt: skip
def test_what_no_player_tells_is_refused(ready: Recording, client_of: ClientOf, said: dict[str, object]) -> None:
    assert tell(client_of("sam"), ready, **said) == 400
    assert not Viewing.objects.exists()


def test_only_who_may_watch_is_counted(ready: Recording, client_of: ClientOf, sam: User) -> None:
    assert tell(client_of("olga"), ready, position=1, seconds=1) == 404
    assert tell(client_of("nobody"), ready, position=1, seconds=1) == 302
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(sam)
    assert tell(strict, ready, position=1, seconds=1) == 403
    assert not Viewing.objects.exists()


def test_teachers_see_a_number_and_staff_the_names(ready: Recording, client_of: ClientOf) -> None:
    tell(client_of("sam"), ready, position=75, seconds=30)
    page = ready.get_absolute_url()
    for name, number, names in (("sam", False, False), ("tina", True, False), ("stella", True, True)):
        text = client_of(name).get(page).content.decode()
        assert ("1 time" in text) == number, name
        assert ("<td>Sam Student</td>" in text) == names, name
        assert ("1:15" in text) == names, name


def test_after_ninety_days_it_is_told_of_nobody(ready: Recording, client_of: ClientOf, settings: LazySettings) -> None:
    settings.ANALYTICS_RETENTION_DAYS = 90
    for name, days in (("sam", 91), ("alex", 89)):
        tell(client_of(name), ready, position=1, seconds=1)
        Viewing.objects.filter(user__username=name).update(day=timezone.now().date() - timedelta(days=days))
    assert watching.forget_who_watched() == 1
    assert watching.forget_who_watched() == 0
    assert [viewing.user and viewing.user.username for viewing in Viewing.objects.order_by("day")] == [None, "alex"]
    settings.ANALYTICS_RETENTION_DAYS = 0
    assert watching.forget_who_watched() == 0
    assert "2 times" in client_of("tina").get(ready.get_absolute_url()).content.decode()
