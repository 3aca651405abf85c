"""Every page of courses and lessons, from every role: what the table says and nothing else."""

from __future__ import annotations

import pytest

from classroom.models import Course, Enrolment, Lesson

pytestmark = pytest.mark.django_db

NAMES = ["nobody", "olga", "sam", "alex", "theo", "tina", "stella", "ada"]
# Rows of answers, in the order of NAMES. 302 is the way to the sign-in for nobody.
EVERYBODY = [200, 200, 200, 200, 200, 200, 200, 200]
SIGNED_IN = [302, 200, 200, 200, 200, 200, 200, 200]
IN_THE_COURSE = [302, 404, 200, 200, 404, 200, 200, 200]  # and staff and admins, who see every course
ITS_TEACHERS = [302, 404, 403, 403, 404, 200, 403, 200]  # and admins
TEACHERS = [302, 403, 403, 403, 200, 200, 403, 200]

PAGES = {
    "/": EVERYBODY,
    "/courses/": SIGNED_IN,
    "/courses/new/": TEACHERS,
    "/courses/biology/": IN_THE_COURSE,
    "/courses/biology/edit/": ITS_TEACHERS,
    "/courses/biology/people/": IN_THE_COURSE,
    "/courses/biology/people/{enrolment}/remove/": ITS_TEACHERS,
    "/courses/biology/lessons/new/": ITS_TEACHERS,
    "/courses/biology/lessons/{lesson}/": IN_THE_COURSE,
    "/courses/biology/lessons/{lesson}/edit/": ITS_TEACHERS,
    "/courses/biology/lessons/{lesson}/delete/": ITS_TEACHERS,
    "/courses/no-such-course/": [302, 404, 404, 404, 404, 404, 404, 404],
    "/courses/biology/lessons/999999/": [302, 404, 404, 404, 404, 404, 404, 404],
    "/courses/biology/lessons/99999999999999999999999999/": [302, 404, 404, 404, 404, 404, 404, 404],
}
LESSON = {"title": "Ours", "minutes": "60", "recorded": "all", "recording_layout": "grid"}
VERBS = {
    "/courses/biology/edit/": {"title": "Ours"},
    "/courses/biology/people/": {"person": "olga", "role": "teacher"},
    "/courses/biology/people/{enrolment}/role/": {"role": "teacher"},
    "/courses/biology/people/{enrolment}/remove/": {},
    "/courses/biology/lessons/new/": LESSON,
    "/courses/biology/lessons/{lesson}/edit/": LESSON,
    "/courses/biology/lessons/{lesson}/delete/": {},
}


def address_of(page: str, lesson: Lesson) -> str:
    enrolment = Enrolment.objects.get(course=lesson.course, user__username="sam")
    return page.format(lesson=lesson.pk, enrolment=enrolment.pk)


def state(lesson: Lesson) -> list[object]:
    """What the verbs would change."""
    return [
        sorted(Course.objects.values_list("title", "description")),
        sorted(Lesson.objects.values_list("title", "description")),
        sorted(Enrolment.objects.values_list("course", "user", "role")),
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_itself_to_its_people_alone(client_of, lesson, page, name):
    answer = client_of(name).get(address_of(page, lesson))
    assert answer.status_code == PAGES[page][NAMES.index(name)]
    if answer.status_code == 302:
        assert answer["Location"].startswith("/accounts/login/?next=/")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("page", VERBS)
def test_a_verb_obeys_the_courses_teachers_and_admins_alone(client_of, lesson, page, name):
    before = state(lesson)
    answer = client_of(name).post(address_of(page, lesson), VERBS[page])
    if name in {"tina", "ada"}:
        assert answer.status_code == 302
        assert "/accounts/login/" not in answer["Location"]
        assert state(lesson) != before
    else:
        assert answer.status_code == ITS_TEACHERS[NAMES.index(name)]
        assert state(lesson) == before


@pytest.mark.parametrize("name", ["sam", "olga", "stella", "alex", "nobody"])
def test_who_does_not_teach_creates_no_course(client_of, course, name):
    client_of(name).post("/courses/new/", {"title": "Mine"})
    assert Course.objects.count() == 1


@pytest.mark.parametrize("page", ["", "edit/", "delete/"])
def test_a_lesson_is_not_reached_through_another_course(client_of, lesson, tina, page):
    other = Course.objects.create(slug="other", title="Other", created_by=tina)
    Enrolment.objects.create(course=other, user=tina, role="teacher")
    assert client_of("tina").get(f"/courses/other/lessons/{lesson.pk}/{page}").status_code == 404
    assert client_of("tina").post(f"/courses/other/lessons/{lesson.pk}/{page}").status_code in {404, 405}
    assert Lesson.objects.filter(pk=lesson.pk).exists()


def test_an_enrolment_is_not_reached_through_another_course(client_of, course, theo, sam):
    other = Course.objects.create(slug="other", title="Other", created_by=theo)
    Enrolment.objects.create(course=other, user=theo, role="teacher")
    of_sam = Enrolment.objects.get(course=course, user=sam)
    client = client_of("theo")
    assert client.post(f"/courses/other/people/{of_sam.pk}/role/", {"role": "teacher"}).status_code == 404
    assert client.post(f"/courses/other/people/{of_sam.pk}/remove/").status_code == 404
    assert course.role_of(sam) == "student"


@pytest.mark.parametrize("name", NAMES)
def test_what_one_may_not_do_is_not_offered(client_of, lesson, name):
    if name not in {"sam", "alex", "tina", "stella", "ada"}:
        return
    client = client_of(name)
    course_page = client.get("/courses/biology/").content.decode()
    lesson_page = client.get(lesson.get_absolute_url()).content.decode()
    people_page = client.get("/courses/biology/people/").content.decode()
    teaches = name in {"tina", "ada"}
    assert ("/courses/biology/edit/" in course_page) is teaches
    assert ("/courses/biology/lessons/new/" in course_page) is teaches
    assert (f"/lessons/{lesson.pk}/delete/" in lesson_page) is teaches
    assert ("Enrol somebody" in people_page) is teaches
    assert ("sam@example.com" in people_page) is teaches, "addresses are for who teaches"
