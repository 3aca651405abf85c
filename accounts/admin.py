"""People in the Django admin: the one place where a site role is given."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils.html import format_html

from accounts.models import User

# Rights follow the site role and the course role; groups would be a third answer to the same question.
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    list_display = ("username", "display_name", "email", "role", "is_active", "last_login", "enrolments_link")
    list_filter = ("role", "is_active", "date_joined", "last_login")
    search_fields = ("username", "first_name", "last_name", "email")
    date_hierarchy = "date_joined"
    ordering = ("username",)
    list_per_page = 50
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined", "enrolments_link")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email", "enrolments_link")}),
        (
            "On the site",
            {
                "fields": ("role", "is_active"),
                "description": "Teachers create courses, staff see every course, admins change everything.",
            },
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("username", "email", "role", "usable_password", "password1", "password2"),
            },
        ),
    )

    @admin.display(description="Courses")
    def enrolments_link(self, user: User) -> str:
        # By its address: accounts knows nothing of the classroom.
        address = reverse("admin:classroom_enrolment_changelist")
        return format_html('<a href="{}?user__id__exact={}">Show</a>', address, user.pk)
