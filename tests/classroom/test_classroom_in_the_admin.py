"""Courses, lessons and enrolments in the Django admin."""

from __future__ import annotations

import pytest

from classroom.models import Course, Enrolment

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", ["course", "lesson", "enrolment"])
@pytest.mark.parametrize("query", ["", "?q=bio", "?q=%3Cscript%3E", "?o=1.2.3"])
def test_every_list_shows_and_is_searched(client_of, lesson, model, query):
    assert client_of("ada").get(f"/admin/classroom/{model}/{query}").status_code == 200


def test_every_form_shows(client_of, lesson, course):
    enrolment = Enrolment.objects.first()
    assert enrolment is not None
    ada = client_of("ada")
    for model, pk in [("course", course.pk), ("lesson", lesson.pk), ("enrolment", enrolment.pk)]:
        assert ada.get(f"/admin/classroom/{model}/add/").status_code == 200
        assert ada.get(f"/admin/classroom/{model}/{pk}/change/").status_code == 200


def test_a_course_leads_to_its_lessons_and_people(client_of, lesson, course):
    page = client_of("ada").get(f"/admin/classroom/course/{course.pk}/change/").content.decode()
    assert f"/admin/classroom/lesson/?course__id__exact={course.pk}" in page
    assert f"/admin/classroom/enrolment/?course__id__exact={course.pk}" in page
    people = client_of("ada").get(f"/admin/classroom/enrolment/?course__id__exact={course.pk}")
    assert people.context["cl"].result_count == 3


def test_a_course_of_a_thousand_students_is_still_a_form_of_its_guides(client_of, course):
    page = client_of("ada").get(f"/admin/classroom/course/{course.pk}/change/")
    guides = page.context["inline_admin_formsets"][0].formset.queryset
    assert sorted(enrolment.user.username for enrolment in guides) == ["alex", "tina"]


def test_people_are_picked_by_typing(client_of, course):
    answer = client_of("ada").get(
        "/admin/autocomplete/",
        {"app_label": "classroom", "model_name": "enrolment", "field_name": "user", "term": "sam"},
    )
    assert [found["text"] for found in answer.json()["results"]] == ["sam"]


def test_a_script_as_a_title_is_shown_and_not_run(client_of, lesson):
    script = "<script>alert(1)</script>"
    Course.objects.update(title=script)
    for model in ["course", "lesson", "enrolment"]:
        page = client_of("ada").get(f"/admin/classroom/{model}/").content.decode()
        assert "&lt;script&gt;alert" in page
        assert script not in page


def test_it_is_lecterns(client_of, course):
    assert "<title>Administration | Lectern</title>" in client_of("ada").get("/admin/").content.decode()


def test_a_course_does_not_take_the_address_of_another_page(client_of, course):
    address = f"/admin/classroom/course/{course.pk}/change/"
    form = {"title": "New", "slug": "new", "created_by": course.created_by_id}
    form |= {f"{what}-{name}_FORMS": 0 for what in ("enrolments", "lessons") for name in ("TOTAL", "INITIAL")}
    answer = client_of("ada").post(address, form)
    assert answer.status_code == 200
    assert "This is the address of another page." in answer.content.decode()
