"""Pages of courses, lessons and the people in them.

Somebody who may not see a course gets 404, as if it were not there; somebody who may see but not change it, 403.
"""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from classroom import services
from classroom.forms import CourseForm, EnrolForm, LessonForm, RoleForm
from classroom.models import Course, CourseQuerySet, Enrolment, Lesson

COURSES_A_PAGE = 24
PEOPLE_A_PAGE = 100
SOON, COURSES_AT_HOME = 5, 6  # lessons and courses on the home page
STUDENTS_ON_COURSE_PAGE = 12
PAST_A_PAGE = 20  # lessons that are over, which grow more with every week
SEARCH_LENGTH = 100  # characters of a search that are looked at

shows_and_takes_a_form = require_http_methods(["GET", "HEAD", "POST"])


def signed_in(request: HttpRequest) -> User:
    """The user of a view behind `login_required`."""
    assert isinstance(request.user, User)
    return request.user


def visible_course(user: User, slug: str) -> Course:
    return get_object_or_404(Course.objects.visible_to(user), slug=slug)


def taught_course(user: User, slug: str) -> Course:
    course = visible_course(user, slug)
    if not Course.objects.taught_by(user).filter(pk=course.pk).exists():
        raise PermissionDenied("Only the course's teachers can do this.")
    return course


def searched(request: HttpRequest) -> str:
    return request.GET.get("q", "").replace("\0", "").strip()[:SEARCH_LENGTH]


def page_of(request: HttpRequest, rows: QuerySet, length: int) -> Page:
    return Paginator(rows, length).get_page(request.GET.get("page"))


def for_cards(courses: CourseQuerySet, user: User) -> QuerySet[Course]:
    """With what a course's card shows: the user's role and the numbers of lessons and people."""
    return courses.with_role_of(user).with_numbers().order_by("title", "pk")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return render(request, "classroom/welcome.html")
    user = signed_in(request)
    now = timezone.now()
    own = Course.objects.filter(enrolments__user=user)
    soon = Lesson.objects.filter(course__in=own).not_over(now).select_related("course")[:SOON]
    context = {"soon": soon, "courses": for_cards(own, user)[:COURSES_AT_HOME], "now": now}
    return render(request, "classroom/home.html", context)


@login_required
@require_safe
def courses(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    query = searched(request)
    found = Course.objects.visible_to(user)
    if query:
        found = found.filter(Q(title__icontains=query) | Q(description__icontains=query))
    page = page_of(request, for_cards(found, user), COURSES_A_PAGE)
    return render(request, "classroom/courses.html", {"page": page, "query": query})


@login_required
@shows_and_takes_a_form
def create_course(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    if not user.may_create_courses:
        raise PermissionDenied("Only teachers can create courses.")
    form = CourseForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        made = services.create_course(by=user, **form.cleaned_data)
        messages.success(request, f"“{made.title}” is there. Add its first lesson and its people.")
        return redirect(made)
    return render(request, "classroom/course_form.html", {"form": form})


@login_required
@require_safe
def course(request: HttpRequest, slug: str) -> HttpResponse:
    user = signed_in(request)
    shown = visible_course(user, slug)
    now = timezone.now()
    lessons = shown.lessons.defer("description")
    people = shown.enrolments.select_related("user").teachers_first()
    context = {
        "course": shown,
        "may_change": Course.objects.taught_by(user).filter(pk=shown.pk).exists(),
        "coming": lessons.not_over(now),
        "any_time": lessons.filter(starts_at=None).order_by("pk"),
        "page": page_of(request, lessons.over(now), PAST_A_PAGE),
        "guides": people.exclude(role=Enrolment.Role.STUDENT),
        "students": people.filter(role=Enrolment.Role.STUDENT)[:STUDENTS_ON_COURSE_PAGE],
        "people_count": shown.enrolments.count(),
        "now": now,
    }
    return render(request, "classroom/course.html", context)


@login_required
@shows_and_takes_a_form
def edit_course(request: HttpRequest, slug: str) -> HttpResponse:
    user = signed_in(request)
    changed = taught_course(user, slug)
    form = CourseForm(request.POST or None, instance=changed)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "The course is saved.")
        return redirect(changed)
    # The form has written what it got into `changed`, whose own title stays on the page.
    return render(request, "classroom/course_form.html", {"form": form, "course": visible_course(user, slug)})


# --- people ----------------------------------------------------------------------------------------------------------


def people_page(request: HttpRequest, shown: Course, *, form: EnrolForm | None, status: int = 200) -> HttpResponse:
    query = searched(request)
    found = shown.enrolments.select_related("user").teachers_first()
    if query:
        for word in query.split():
            found = found.filter(
                Q(user__username__icontains=word)
                | Q(user__first_name__icontains=word)
                | Q(user__last_name__icontains=word)
            )
    context = {
        "course": shown,
        "may_change": form is not None,
        "form": form,
        "page": page_of(request, found, PEOPLE_A_PAGE),
        "query": query,
        "roles": Enrolment.Role.choices,
    }
    return render(request, "classroom/people.html", context, status=status)


@login_required
@shows_and_takes_a_form
def people(request: HttpRequest, slug: str) -> HttpResponse:
    """Who is in the course; for its teachers also the form that enrols somebody (POST)."""
    user = signed_in(request)
    if request.method != "POST":
        shown = visible_course(user, slug)
        may_change = Course.objects.taught_by(user).filter(pk=shown.pk).exists()
        return people_page(request, shown, form=EnrolForm() if may_change else None)
    shown = taught_course(user, slug)
    form = EnrolForm(request.POST)
    if form.is_valid():
        try:
            made = services.enrol(shown, form.cleaned_data["person"], form.cleaned_data["role"])
        except services.Refused as refused:
            form.add_error("person", refused.message)
        else:
            messages.success(request, f"{made.user.display_name} is enrolled.")
            return redirect("classroom:people", slug)
    return people_page(request, shown, form=form)


@login_required
@require_POST
def change_role(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    enrolment = get_object_or_404(taught_course(signed_in(request), slug).enrolments.select_related("user"), pk=pk)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "This is not a role of a course.")
        return redirect("classroom:people", slug)
    try:
        services.change_role(enrolment, form.cleaned_data["role"])
    except services.Refused as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, f"{enrolment.user.display_name}: {enrolment.get_role_display().lower()} from now on.")
    return redirect("classroom:people", slug)


@login_required
@shows_and_takes_a_form
def remove_person(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Asked once more (GET), then done (POST)."""
    user = signed_in(request)
    shown = taught_course(user, slug)
    enrolment = get_object_or_404(shown.enrolments.select_related("user"), pk=pk)
    if request.method == "POST":
        try:
            services.remove(enrolment)
        except services.Refused as refused:
            messages.error(request, refused.message)
        else:
            messages.success(request, f"{enrolment.user.display_name} is no longer enrolled.")
            if enrolment.user == user:
                return redirect("classroom:courses")  # who has left a course no longer sees its people
        return redirect("classroom:people", slug)
    return render(request, "classroom/remove_person.html", {"course": shown, "enrolment": enrolment})


# --- lessons ---------------------------------------------------------------------------------------------------------


@login_required
@require_safe
def lesson(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    user = signed_in(request)
    shown = get_object_or_404(Lesson.objects.visible_to(user).select_related("course"), course__slug=slug, pk=pk)
    now = timezone.now()
    context = {
        "lesson": shown,
        "course": shown.course,
        "is_on": shown.is_on(now),
        "is_over": shown.ends_at is not None and shown.ends_at <= now,
        "may_change": Lesson.objects.taught_by(user).filter(pk=shown.pk).exists(),
    }
    return render(request, "classroom/lesson.html", context)


@login_required
@shows_and_takes_a_form
def create_lesson(request: HttpRequest, slug: str) -> HttpResponse:
    of = taught_course(signed_in(request), slug)
    form = LessonForm(request.POST or None, instance=Lesson(course=of))
    if request.method == "POST" and form.is_valid():
        made = form.save()
        messages.success(request, f"“{made.title}” is added to the course.")
        return redirect(made)
    return render(request, "classroom/lesson_form.html", {"form": form, "course": of})


@login_required
@shows_and_takes_a_form
def edit_lesson(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    of = taught_course(signed_in(request), slug)
    form = LessonForm(request.POST or None, instance=get_object_or_404(of.lessons, pk=pk))
    if request.method == "POST" and form.is_valid():
        changed = form.save()
        messages.success(request, "The lesson is saved.")
        return redirect(changed)
    shown = of.lessons.get(pk=pk)  # as it is stored, not as the form would have it
    return render(request, "classroom/lesson_form.html", {"form": form, "course": of, "lesson": shown})


@login_required
@shows_and_takes_a_form
def delete_lesson(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Asked once more with what goes with it (GET), then done (POST)."""
    of = taught_course(signed_in(request), slug)
    doomed = get_object_or_404(of.lessons, pk=pk)
    if request.method == "POST":
        try:
            services.delete_lesson(doomed)
        except services.Refused as refused:
            messages.error(request, refused.message)
            return redirect(doomed)
        messages.success(request, f"“{doomed.title}” is deleted.")
        return redirect(of)
    context = {"course": of, "lesson": doomed, "losses": services.what_goes_with(doomed)}
    return render(request, "classroom/lesson_delete.html", context)
