"""Listing, creating and editing courses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from classroom import services
from classroom.models import Course, Enrolment

pytestmark = pytest.mark.django_db


def titles(answer) -> list[str]:
    return [course.title for course in answer.context["page"]]


@pytest.fixture
def chemistry(theo):
    return services.create_course(by=theo, title="Chemistry", description="What happens when things meet.")


def test_the_list_is_of_the_courses_that_one_is_in(client_of, course, chemistry):
    assert titles(client_of("sam").get("/courses/")) == ["Biology"]
    assert titles(client_of("theo").get("/courses/")) == ["Chemistry"]
    assert titles(client_of("olga").get("/courses/")) == []
    assert titles(client_of("stella").get("/courses/")) == ["Biology", "Chemistry"]


def test_the_list_says_what_one_is_in_a_course_and_how_large_it_is(client_of, course, lesson):
    [of_tina] = client_of("tina").get("/courses/").context["page"]
    assert (of_tina.own_role, of_tina.lesson_count, of_tina.people_count) == ("teacher", 1, 3)
    [of_sam] = client_of("sam").get("/courses/").context["page"]
    assert (of_sam.own_role, of_sam.people_count) == ("student", 3)


@pytest.mark.parametrize(("query", "found"), [("bio", ["Biology"]), ("THINGS", ["Chemistry"]), ("%", []), ("x\0", [])])
def test_courses_are_found_by_their_words(client_of, course, chemistry, query, found):
    assert titles(client_of("stella").get("/courses/", {"q": query})) == found


@pytest.mark.parametrize("page", ["0", "-1", "999999999999999999999", "x", ""])
def test_a_page_that_is_none_is_one_that_is(client_of, course, page):
    assert titles(client_of("sam").get("/courses/", {"page": page})) == ["Biology"]


def test_a_teacher_creates_a_course_and_teaches_it(client_of, theo):
    answer = client_of("theo").post("/courses/new/", {"title": "Physics", "description": "Forces"}, follow=True)
    physics = Course.objects.get(title="Physics")
    assert answer.redirect_chain == [("/courses/physics/", 302)]
    assert (physics.slug, physics.created_by, physics.role_of(theo)) == ("physics", theo, "teacher")


def test_nothing_but_the_forms_fields_is_taken(client_of, theo, tina):
    everything = {"title": "Physics", "slug": "mine", "created_by": tina.pk, "id": 77, "pk": 77}
    client_of("theo").post("/courses/new/", everything)
    physics = Course.objects.get(title="Physics")
    assert (physics.slug, physics.created_by) == ("physics", theo)
    assert physics.pk != 77


@pytest.mark.parametrize("title", ["Physics", "数学", "new", "2027", "...", "a" * 200])
def test_every_title_gets_an_address_of_its_own(client_of, theo, title):
    client = client_of("theo")
    for _ in range(2):
        assert client.post("/courses/new/", {"title": title}).status_code == 302
    slugs = list(Course.objects.filter(created_by=theo).values_list("slug", flat=True))
    assert len(set(slugs)) == 2
    assert "new" not in slugs
    for slug in slugs:
        assert client.get(f"/courses/{slug}/").status_code == 200


def test_two_courses_of_one_title_made_at_the_same_moment(theo, tina):
    rivals = [Course(slug="physics", title="Physics", created_by=tina)]

    def first_comes_another(execute, sql, params, many, context):
        answer = execute(sql, params, many, context)
        if params and "physics" in params and rivals:  # nobody has the address yet: this was just asked
            rivals.pop().save()
        return answer

    with connection.execute_wrapper(first_comes_another):
        made = services.create_course(by=theo, title="Physics")
    assert made.slug.startswith("physics-")
    assert made.role_of(theo) == "teacher"


def test_lessons_and_people_are_counted_apart():
    # Joined, a course of 50 lessons and 1,000 people would be 50,000 rows to count.
    assert " JOIN " not in str(Course.objects.with_numbers().query)


def test_lessons_that_are_over_come_page_by_page(client_of, course):
    for number in range(25):
        course.lessons.create(title=f"Week {number}", starts_at=timezone.now() - timedelta(weeks=30 - number))
    client = client_of("sam")
    first = client.get("/courses/biology/")
    assert [lesson.title for lesson in first.context["page"]] == [f"Week {number}" for number in range(24, 4, -1)]
    assert 'href="?page=2"' in first.content.decode()
    second = client.get("/courses/biology/?page=2")
    assert [lesson.title for lesson in second.context["page"]] == [f"Week {number}" for number in range(4, -1, -1)]


@pytest.mark.parametrize("page", ["/courses/new/", "/courses/biology/edit/"])
@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "  "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"title": "Good", "description": "x" * 10_001}, "description"),
    ],
)
def test_a_bad_form_comes_back_with_the_fields_error(client_of, course, page, form, field):
    answer = client_of("tina").post(page, form)
    assert answer.status_code == 200
    assert f'id="id_{field}_error"' in answer.content.decode()
    assert [found.title for found in Course.objects.all()] == ["Biology"]


def test_a_course_is_edited_and_keeps_its_address(client_of, course):
    client_of("tina").post("/courses/biology/edit/", {"title": "Life", "description": "", "slug": "life"})
    course.refresh_from_db()
    assert (course.title, course.description, course.slug) == ("Life", "", "biology")


def test_scripts_in_a_course_are_shown_and_not_run(client_of, course, lesson):
    script = "<script>alert(1)</script>"
    image = '"><img src=x onerror=alert(2)>'
    Course.objects.update(title=script, description=image)
    lesson.title, lesson.description = script, image
    lesson.save()
    for address in ["/", "/courses/", "/courses/biology/", "/courses/biology/people/", lesson.get_absolute_url()]:
        page = client_of("tina").get(address).content.decode()
        assert "&lt;script&gt;" in page, address
        assert script not in page
        assert "<img" not in page


def test_a_full_course_page_asks_the_database_a_fixed_number_of_times(
    client_of, course, lesson, django_assert_max_num_queries
):
    client = client_of("tina")
    for number in range(30):
        person = type(course.created_by).objects.create(username=f"person{number}")
        Enrolment.objects.create(course=course, user=person)
        course.lessons.create(title=f"Lesson {number}")
    for address in ["/", "/courses/", "/courses/biology/", "/courses/biology/people/"]:
        with django_assert_max_num_queries(14):
            assert client.get(address).status_code == 200
