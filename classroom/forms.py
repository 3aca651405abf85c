"""Forms for courses, lessons and enrolments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from accounts.models import User
from classroom import services
from classroom.models import Course, Enrolment, Lesson


class CourseForm(forms.ModelForm):
    class Meta:
        model = Course
        fields = ("title", "description")
        widgets = {"description": forms.Textarea({"rows": 4})}
        help_texts = {"description": "What the course is about. Everybody who is enrolled sees it."}


class LessonForm(forms.ModelForm):
    minutes = forms.IntegerField(
        label="Length in minutes", min_value=5, max_value=24 * 60, initial=60, widget=forms.NumberInput({"step": 5})
    )

    class Meta:
        model = Lesson
        fields = (
            "title", "starts_at", "description", "record_automatically", "recorded", "recording_layout", "encrypted",
        )  # fmt: skip
        labels = {
            "starts_at": "Begins",
            "record_automatically": "Record the class automatically",
            "recorded": "Who is recorded",
            "recording_layout": "Picture of the recording",
            "encrypted": "End-to-end encrypted class",
        }
        widgets = {
            "starts_at": forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
            "description": forms.Textarea({"rows": 5}),
        }

    field_order = (
        "title", "starts_at", "minutes", "description", "record_automatically", "recorded", "recording_layout",
        "encrypted",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, instance: Lesson) -> None:
        minutes = int(instance.planned_duration.total_seconds() // 60)
        super().__init__(data, instance=instance, initial={"minutes": minutes})
        for name in ("recorded", "recording_layout"):  # what is left out stays as it is
            self.fields[name].required = False
        zone = timezone.get_current_timezone()
        self.fields[
            "starts_at"
        ].help_text = f"In the time zone {zone}. Leave it empty for a lesson without a fixed time."

    def clean_recorded(self) -> str:
        return self.cleaned_data["recorded"] or self.instance.recorded

    def clean_recording_layout(self) -> str:
        return self.cleaned_data["recording_layout"] or self.instance.recording_layout

    def save(self, commit: bool = True) -> Lesson:
        self.instance.planned_duration = timedelta(minutes=self.cleaned_data["minutes"])
        return super().save(commit)


class EnrolForm(forms.Form):
    """Enrol one person in `course`."""

    person = forms.CharField(
        label="Username or e-mail",
        max_length=254,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
    )
    role = forms.ChoiceField(choices=Enrolment.Role.choices, initial=Enrolment.Role.STUDENT)

    def clean_person(self) -> User:
        try:
            return services.find_person(self.cleaned_data["person"])
        except services.Refused as refused:
            raise forms.ValidationError(refused.message, code=refused.code) from None


class RoleForm(forms.ModelForm):
    class Meta:
        model = Enrolment
        fields = ("role",)
