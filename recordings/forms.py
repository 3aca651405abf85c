"""What the pages of recordings take: a search, what a course says of its recordings, a legal hold."""

from __future__ import annotations

from django import forms
from django.conf import settings

from accounts.models import User
from classroom.models import Course, Enrolment
from recordings.models import Recording, RecordingPolicy
from recordings.services import Wanted


class SearchForm(forms.Form):
    """Choices are those of what the user may see: the form tells nobody of a course that is not theirs."""

    q = forms.CharField(required=False, max_length=100, label="Title")
    course = forms.ChoiceField(required=False)
    teacher = forms.ChoiceField(required=False)
    since = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, label="Until", widget=forms.DateInput(attrs={"type": "date"}))
    state = forms.ChoiceField(required=False, choices=[("", "All states"), *Recording.State.choices])

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
            state=data.get("state", ""),
        )


class PolicyForm(forms.ModelForm):
    """How long is the site's money and duty: staff alone change it."""

    class Meta:
        model = RecordingPolicy
        fields = ("keep_days", "mail_students")

    def __init__(self, user: User, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they are
        keep, days = self.fields["keep_days"], settings.RECORDING_RETENTION_DAYS
        keep.label = "Days that recordings are kept"
        keep.help_text = f"Empty: as everywhere, {f'{days} days' if days else 'for ever'}. 0: for ever."
        if not user.is_site_staff:
            keep.disabled = True
            keep.help_text += " Staff can change it."
        self.fields["mail_students"].label = "Tell students by mail when a recording is ready"
        self.fields["mail_students"].help_text = "Teachers are told in any case."


class HoldForm(forms.Form):
    reason = forms.CharField(max_length=500, label="Why it must be kept")
