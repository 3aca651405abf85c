"""/api/v1/ of courses, lessons and enrolments, from every role."""

from __future__ import annotations

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from rest_framework.test import APIClient

from classroom import api_urls, services
from classroom.models import Course, Enrolment, Lesson

pytestmark = pytest.mark.django_db
NAMES = ["nobody", "olga", "sam", "alex", "theo", "tina", "stella", "ada"]
SEEN = [401, 404, 200, 200, 404, 200, 200, 200]
TAUGHT = [401, 404, 403, 403, 404, 200, 403, 200]
# Who is not in the course names one that does not exist: 400 on the field.
ADDED = [401, 400, 403, 403, 400, 201, 403, 201]
GONE = [204 if status == 200 else status for status in TAUGHT]


@pytest.fixture
def api_of(everybody):
    def signed_in(name: str) -> APIClient:
        client = APIClient()
        if name != "nobody":
            client.force_authenticate(everybody[name])
        return client

    return signed_in


@pytest.fixture
def of_sam(course, sam):
    return Enrolment.objects.get(course=course, user=sam)


def state() -> list[object]:
    return [
        sorted(Course.objects.values_list("title", "slug")),
        sorted(Lesson.objects.values_list("title", "course")),
        sorted(Enrolment.objects.values_list("course", "user", "role")),
    ]


CALLS = {
    "list courses": ("get", "courses/", None, [401, 200, 200, 200, 200, 200, 200, 200]),
    "read a course": ("get", "courses/biology/", None, SEEN),
    "read no course": ("get", "courses/none/", None, [401, 404, 404, 404, 404, 404, 404, 404]),
    "create a course": ("post", "courses/", {"title": "New"}, [401, 403, 403, 403, 201, 201, 403, 201]),
    "change a course": ("patch", "courses/biology/", {"title": "New"}, TAUGHT),
    "replace a course": ("put", "courses/biology/", {"title": "New"}, TAUGHT),
    "delete a course": ("delete", "courses/biology/", None, [401, 405, 405, 405, 405, 405, 405, 405]),
    "read a lesson": ("get", "lessons/{lesson}/", None, SEEN),
    "create a lesson": ("post", "lessons/", {"course": "biology", "title": "New"}, ADDED),
    "change a lesson": ("patch", "lessons/{lesson}/", {"title": "New"}, TAUGHT),
    "replace a lesson": ("put", "lessons/{lesson}/", {"course": "biology", "title": "New"}, TAUGHT),
    "delete a lesson": ("delete", "lessons/{lesson}/", None, GONE),
    "read an enrolment": ("get", "enrolments/{enrolment}/", None, SEEN),
    "enrol somebody": ("post", "enrolments/", {"course": "biology", "user": "olga", "role": "teacher"}, ADDED),
    "change an enrolment": ("patch", "enrolments/{enrolment}/", {"role": "teacher"}, TAUGHT),
    "end an enrolment": ("delete", "enrolments/{enrolment}/", None, GONE),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_answered_by_role(api_of, lesson, of_sam, call, name):
    verb, address, data, statuses = CALLS[call]
    before = state()
    address = "/api/v1/" + address.format(lesson=lesson.pk, enrolment=of_sam.pk)
    answer = getattr(api_of(name), verb)(address, data, format="json")
    assert answer.status_code == statuses[NAMES.index(name)], answer.data
    changed = verb != "get" and answer.status_code < 300
    assert (state() != before) is changed


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("olga", (0, 0, 0)), ("sam", (1, 1, 3)), ("theo", (1, 0, 1)), ("tina", (1, 1, 3)), ("stella", (2, 1, 4))],
)
def test_lists_are_of_what_one_sees(api_of, lesson, theo, name, numbers):
    services.create_course(by=theo, title="Chemistry")
    client = api_of(name)
    counts = tuple(client.get(f"/api/v1/{what}/").data["count"] for what in ["courses", "lessons", "enrolments"])
    assert counts == numbers


def test_a_list_is_narrowed_to_a_course(api_of, lesson, theo):
    services.create_course(by=theo, title="Chemistry")
    stella = api_of("stella")
    assert stella.get("/api/v1/enrolments/?course=chemistry").data["count"] == 1
    assert stella.get("/api/v1/lessons/?course=chemistry").data["count"] == 0
    assert stella.get("/api/v1/lessons/?course=no-such").data["count"] == 0
    assert stella.get("/api/v1/lessons/?course=%00").status_code == 400


def test_a_course_says_what_the_caller_is_in_it(api_of, course):
    assert api_of("tina").get("/api/v1/courses/biology/").data["role"] == "teacher"
    assert api_of("sam").get("/api/v1/courses/").data["results"][0]["role"] == "student"
    assert api_of("stella").get("/api/v1/courses/biology/").data["role"] is None


def test_nothing_but_the_schemas_fields_is_taken(api_of, course, lesson, theo, tina, of_sam):
    other = services.create_course(by=tina, title="Other")
    everything = {"slug": "mine", "created_by": "ada", "created_at": "2000-01-01T00:00:00Z", "id": 77, "pk": 77}
    made = api_of("theo").post("/api/v1/courses/", {"title": "Physics", **everything}, format="json")
    assert (made.data["slug"], made.data["created_by"], made.data["role"]) == ("physics", "theo", "teacher")
    tina_calls = api_of("tina")
    tina_calls.patch("/api/v1/courses/biology/", everything, format="json")
    assert Course.objects.get(pk=course.pk).slug == "biology"
    moved = tina_calls.patch(f"/api/v1/lessons/{lesson.pk}/", {"course": other.slug, **everything}, format="json")
    assert (moved.data["id"], moved.data["course"]) == (lesson.pk, "biology")
    given = tina_calls.patch(
        f"/api/v1/enrolments/{of_sam.pk}/", {"user": "theo", "course": other.slug, **everything}, format="json"
    )
    assert (given.data["user"], given.data["course"], given.data["role"]) == ("sam", "biology", "student")


@pytest.mark.parametrize(
    ("address", "data", "field"),
    [
        ("courses/", {"title": ""}, "title"),
        ("courses/", {"title": "x" * 201}, "title"),
        ("courses/", {"title": {"a": 1}}, "title"),
        ("courses/", {"title": "a\0b"}, "title"),
        ("courses/", {"title": "Good", "description": "x" * 10_001}, "description"),
        ("lessons/", {"course": "biology"}, "title"),
        ("lessons/", {"course": "none", "title": "New"}, "course"),
        ("lessons/", {"course": ["biology"], "title": "New"}, "course"),
        ("lessons/", {"course": {"slug": "biology"}, "title": "New"}, "course"),
        ("lessons/", {"course": "bio\0logy", "title": "New"}, "course"),
        ("lessons/", {"course": "biology", "title": "New", "starts_at": "9999-12-31T23:59:59Z"}, "starts_at"),
        ("lessons/", {"course": "biology", "title": "New", "starts_at": "soon"}, "starts_at"),
        ("lessons/", {"course": "biology", "title": "New", "planned_duration": "00:00:01"}, "planned_duration"),
        ("lessons/", {"course": "biology", "title": "New", "planned_duration": "9" * 300}, "planned_duration"),
        ("enrolments/", {"course": "biology", "user": "nobody"}, "user"),
        ("enrolments/", {"course": "biology", "user": ["olga"]}, "user"),
        ("enrolments/", {"course": "biology", "user": "ol\0ga"}, "user"),
        ("enrolments/", {"course": "biology", "user": "olga", "role": "admin"}, "role"),
    ],
)
def test_bad_data_are_named_by_their_field(api_of, course, address, data, field):
    before = state()
    answer = api_of("tina").post(f"/api/v1/{address}", data, format="json")
    assert answer.status_code == 400
    assert list(answer.data) == [field]
    assert state() == before


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"NaN", b"[" * 5_000, b"\xff\xfe", b"[1, 2]"])
def test_a_body_that_is_no_object_is_refused(api_of, course, body):
    answer = api_of("tina").post("/api/v1/lessons/", body, content_type="application/json")
    assert answer.status_code == 400


def test_who_is_enrolled_already_is_a_conflict(api_of, course):
    answer = api_of("tina").post("/api/v1/enrolments/", {"course": "biology", "user": "sam"}, format="json")
    assert answer.status_code == 409
    assert answer.data["detail"].code == "already_enrolled"


def test_the_last_teacher_stays(api_of, course, tina):
    mine = Enrolment.objects.get(course=course, user=tina).pk
    client = api_of("tina")
    assert client.patch(f"/api/v1/enrolments/{mine}/", {"role": "student"}, format="json").status_code == 409
    assert client.delete(f"/api/v1/enrolments/{mine}/").status_code == 409
    assert course.role_of(tina) == "teacher"


@pytest.mark.parametrize("pk", ["999999", "99999999999999999999999999", "x", "-1", "1.5", "%00"])
def test_an_id_that_is_none_is_not_found(api_of, course, pk):
    assert api_of("ada").get(f"/api/v1/lessons/{pk}/").status_code == 404


def test_a_browser_is_not_offered_the_accounts_of_the_site(client_of, course, olga):
    answer = client_of("sam").get("/api/v1/enrolments/", headers={"accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 200
    assert olga.username not in answer.content.decode()


def test_the_schema_has_no_warnings():
    GENERATOR_STATS.reset()
    schema = SchemaGenerator(patterns=api_urls.urlpatterns).get_schema(request=None, public=True)
    validate_schema(schema)
    assert not GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache
    assert set(schema["paths"]) == {
        "/courses/",
        "/courses/{slug}/",
        "/lessons/",
        "/lessons/{id}/",
        "/enrolments/",
        "/enrolments/{id}/",
    }
