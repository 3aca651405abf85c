"""Courses, lessons and enrolments in the Django admin, with links from each to the others."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from classroom import services
from classroom.models import Course, CourseQuerySet, Enrolment, Lesson


class GuideInline(admin.TabularInline):
    """Teachers and assistants. Students can be more than one form may hold: they have a list of their own."""

    model = Enrolment
    verbose_name = "teacher or assistant"
    verbose_name_plural = "teachers and assistants"
    extra = 0
    autocomplete_fields = ("user",)
    readonly_fields = ("created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).exclude(role=Enrolment.Role.STUDENT).select_related("user")


class LessonInline(admin.TabularInline):
    model = Lesson
    fields = ("title", "starts_at", "planned_duration", "record_automatically", "encrypted")
    extra = 0
    show_change_link = True


class CourseForm(forms.ModelForm):
    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug in services.RESERVED_SLUGS:
            raise forms.ValidationError("This is the address of another page.")
        return slug


@admin.register(Course)
class CourseAdmin(admin.ModelAdmin):
    form = CourseForm
    list_display = ("title", "slug", "created_by", "created_at", "lessons_link", "people_link")
    list_filter = ("created_at",)
    list_select_related = ("created_by",)
    search_fields = ("title", "slug", "description", "created_by__username")
    date_hierarchy = "created_at"
    list_per_page = 50
    prepopulated_fields = {"slug": ("title",)}
    autocomplete_fields = ("created_by",)
    readonly_fields = ("created_at", "lessons_link", "people_link")
    inlines = (GuideInline, LessonInline)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        courses = super().get_queryset(request)
        assert isinstance(courses, CourseQuerySet)
        return courses.with_numbers()

    def view_on_site(self, course: Course) -> str:
        return course.get_absolute_url()

    @admin.display(description="Lessons", ordering="lesson_count")
    def lessons_link(self, course: Course) -> str:
        return _list_of("lesson", course, getattr(course, "lesson_count", 0))

    @admin.display(description="People", ordering="people_count")
    def people_link(self, course: Course) -> str:
        return _list_of("enrolment", course, getattr(course, "people_count", 0))


def _list_of(model: str, course: Course, count: int) -> str:
    if not count:  # also of a course that is being added
        return "0"
    address = reverse(f"admin:classroom_{model}_changelist")
    return format_html('<a href="{}?course__id__exact={}">{}</a>', address, course.pk, count)


def _link_to_course(course: Course) -> str:
    return format_html('<a href="{}">{}</a>', reverse("admin:classroom_course_change", args=[course.pk]), course)


@admin.register(Lesson)
class LessonAdmin(admin.ModelAdmin):
    list_display = ("title", "course_link", "starts_at", "planned_duration", "encrypted", "created_at")
    list_filter = ("starts_at", "record_automatically", "encrypted", ("course", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("course",)
    search_fields = ("title", "description", "course__title", "course__slug")
    date_hierarchy = "starts_at"
    list_per_page = 50
    autocomplete_fields = ("course",)
    readonly_fields = ("created_at",)

    def view_on_site(self, lesson: Lesson) -> str:
        return lesson.get_absolute_url()

    @admin.display(description="Course", ordering="course__title")
    def course_link(self, lesson: Lesson) -> str:
        return _link_to_course(lesson.course)


@admin.register(Enrolment)
class EnrolmentAdmin(admin.ModelAdmin):
    list_display = ("__str__", "user_link", "course_link", "role", "created_at")
    list_filter = ("role", "created_at", ("course", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("user", "course")
    search_fields = ("user__username", "user__first_name", "user__last_name", "user__email", "course__title")
    date_hierarchy = "created_at"
    list_per_page = 50
    autocomplete_fields = ("user", "course")
    readonly_fields = ("created_at",)

    @admin.display(description="Person", ordering="user__username")
    def user_link(self, enrolment: Enrolment) -> str:
        address = reverse("admin:accounts_user_change", args=[enrolment.user_id])
        return format_html('<a href="{}">{}</a>', address, enrolment.user)

    @admin.display(description="Course", ordering="course__title")
    def course_link(self, enrolment: Enrolment) -> str:
        return _link_to_course(enrolment.course)
