"""What a search of recordings takes."""

from __future__ import annotations

from django import forms

from accounts.models import User
from classroom.models import Course, Enrolment
from recordings.services import Wanted


class SearchForm(forms.Form):
    """Choices are those of what the user may see: the form tells nobody of a course that is not theirs."""

    q = forms.CharField(required=False, max_length=100, label="Title")
    course = forms.ChoiceField(required=False)
    teacher = forms.ChoiceField(required=False)
    since = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, label="Until", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, user: User, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they are
        courses = Course.objects.visible_to(user)
        teachers = (
            User.objects.filter(enrolments__role=Enrolment.Role.TEACHER, enrolments__course__in=courses)
            .distinct()
            .order_by("last_name", "first_name", "username")
        )
        course, teacher = self.fields["course"], self.fields["teacher"]
        assert isinstance(course, forms.ChoiceField)
        assert isinstance(teacher, forms.ChoiceField)
        course.choices = [("", "All courses"), *courses.order_by("title").values_list("slug", "title")]
        teacher.choices = [("", "All teachers"), *((each.username, each.display_name) for each in teachers)]

    def wanted(self) -> Wanted:
        """Of a form with errors, what is right in it."""
        self.is_valid()
        data = self.cleaned_data
        return Wanted(
            text=data.get("q", ""),
            course=data.get("course", ""),
            teacher=data.get("teacher", ""),
            since=data.get("since"),
            until=data.get("until"),
        )
