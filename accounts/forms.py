"""The forms about people. Neither has a field for the role: a role is given in the Django admin alone."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest

from accounts.models import User

NAME_LENGTH = 40  # characters each: both together fit a classroom's tile and Participant.name


class NameFields(forms.Form):
    first_name = forms.CharField(
        max_length=NAME_LENGTH, required=False, widget=forms.TextInput({"autocomplete": "given-name"})
    )
    last_name = forms.CharField(
        max_length=NAME_LENGTH, required=False, widget=forms.TextInput({"autocomplete": "family-name"})
    )


class SignupForm(NameFields):
    """What allauth's own sign-up form asks beside (ACCOUNT_SIGNUP_FORM_CLASS). Its adapter stores the names."""

    def signup(self, request: HttpRequest, user: User) -> None:
        """Called by allauth once the user is saved; there is nothing left to do."""


class ProfileForm(NameFields, forms.ModelForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["first_name"].help_text = "Teachers and classmates see your name in the classroom."
