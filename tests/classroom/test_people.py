"""Who is in a course: enrolling, changing a role, removing."""

from __future__ import annotations

import pytest

from classroom import services
from classroom.models import Enrolment
from tests.world import person

pytestmark = pytest.mark.django_db
URL = "/courses/biology/people/"


def enrolment_of(name: str) -> Enrolment:
    return Enrolment.objects.get(course__slug="biology", user__username=name)


@pytest.mark.parametrize("name", ["olga", " olga ", "Olga", "olga@example.com", "OLGA@EXAMPLE.COM"])
@pytest.mark.parametrize("role", ["student", "assistant", "teacher"])
def test_somebody_is_enrolled_by_username_or_address(client_of, course, olga, name, role):
    answer = client_of("tina").post(URL, {"person": name, "role": role}, follow=True)
    assert "olga is enrolled." in answer.content.decode()
    assert course.role_of(olga) == role


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"person": "", "role": "student"}, "person"),
        ({"person": "nobody", "role": "student"}, "person"),
        ({"person": "nobody@example.com", "role": "student"}, "person"),
        ({"person": "sam", "role": "student"}, "person"),
        ({"person": "x" * 255, "role": "student"}, "person"),
        ({"person": "ol\0ga", "role": "student"}, "person"),
        ({"person": "olga", "role": ""}, "role"),
        ({"person": "olga", "role": "admin"}, "role"),
        ({"person": "olga", "role": "host"}, "role"),
    ],
)
def test_a_bad_form_comes_back_with_the_fields_error(client_of, course, olga, form, field):
    answer = client_of("tina").post(URL, form)
    assert answer.status_code == 200
    assert f'id="id_{field}_error"' in answer.content.decode()
    assert course.enrolments.count() == 3
    assert course.role_of(olga) is None


def test_an_address_of_two_accounts_enrols_neither(client_of, course, olga):
    twin = person("twin")
    twin.email = olga.email
    twin.save()
    page = client_of("tina").post(URL, {"person": olga.email, "role": "student"}).content.decode()
    assert "Several accounts have this" in page
    assert course.enrolments.count() == 3


def test_an_inactive_account_is_not_found(client_of, course, olga):
    olga.is_active = False
    olga.save()
    client_of("tina").post(URL, {"person": "olga", "role": "student"})
    assert course.role_of(olga) is None


def test_a_role_is_changed(client_of, course, sam):
    answer = client_of("tina").post(f"{URL}{enrolment_of('sam').pk}/role/", {"role": "assistant"}, follow=True)
    assert "assistant from now on" in answer.content.decode()
    assert course.role_of(sam) == "assistant"
    assert sam.role == "student", "the site role is another thing"


@pytest.mark.parametrize("role", ["", "admin", "host", "x" * 1000])
def test_a_role_that_is_none_changes_nothing(client_of, course, sam, role):
    answer = client_of("tina").post(f"{URL}{enrolment_of('sam').pk}/role/", {"role": role}, follow=True)
    assert "not a role of a course" in answer.content.decode()
    assert course.role_of(sam) == "student"


def test_a_role_is_not_changed_by_a_link(client_of, course):
    assert client_of("tina").get(f"{URL}{enrolment_of('sam').pk}/role/").status_code == 405


def test_removing_is_asked_once_more(client_of, course, sam):
    address = f"{URL}{enrolment_of('sam').pk}/remove/"
    tina = client_of("tina")
    assert "Remove Sam Student from the course?" in tina.get(address).content.decode()
    assert course.role_of(sam) == "student"
    assert tina.post(address)["Location"] == URL
    assert course.role_of(sam) is None
    assert client_of("sam").get("/courses/biology/").status_code == 404


def test_the_last_teacher_stays(client_of, course, tina):
    client = client_of("tina")
    mine = enrolment_of("tina").pk
    for verb, form in [("role", {"role": "student"}), ("remove", {})]:
        page = client.post(f"{URL}{mine}/{verb}/", form, follow=True).content.decode()
        assert "A course needs a teacher." in page
        assert course.role_of(tina) == "teacher"


def test_one_of_two_teachers_may_go(client_of, course, tina, theo):
    services.enrol(course, theo, "teacher")
    client_of("tina").post(f"{URL}{enrolment_of('tina').pk}/remove/")
    assert course.role_of(tina) is None
    assert client_of("theo").get("/courses/biology/edit/").status_code == 200


def test_who_leaves_a_course_lands_on_a_page_of_their_own(client_of, course, theo):
    services.enrol(course, theo, "teacher")
    answer = client_of("tina").post(f"{URL}{enrolment_of('tina').pk}/remove/", follow=True)
    assert answer.redirect_chain == [("/courses/", 302)]
    assert "no longer enrolled" in answer.content.decode()


def test_of_two_usernames_alike_the_exact_one_is_meant(client_of, course, olga):
    other = person("OLGA")
    client_of("tina").post(URL, {"person": "OLGA", "role": "student"})
    assert (course.role_of(other), course.role_of(olga)) == ("student", None)
    page = client_of("tina").post(URL, {"person": "Olga", "role": "student"}).content.decode()
    assert "Several accounts have this name" in page


def test_teachers_come_first_and_people_are_found_by_name(client_of, course):
    def listed(query: str = "") -> list[str]:
        page = client_of("sam").get(URL, {"q": query}).context["page"]
        return [enrolment.user.username for enrolment in page]

    assert listed() == ["tina", "alex", "sam"]
    assert listed("student sam") == ["sam"]
    assert listed("nobody") == []


def test_a_script_as_a_name_is_shown_and_not_run(client_of, course):
    script = "<script>alert(1)</script>"
    mallory = person("mallory", first_name=script)
    services.enrol(course, mallory, "student")
    tina = client_of("tina")
    for address in [URL, "/courses/biology/", f"{URL}{enrolment_of('mallory').pk}/remove/"]:
        page = tina.get(address).content.decode()
        assert "&lt;script&gt;" in page
        assert script not in page
    answer = tina.post(f"{URL}{enrolment_of('mallory').pk}/role/", {"role": "assistant"}, follow=True)
    assert script not in answer.content.decode()
