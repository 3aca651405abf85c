"""Addresses below /accounts/ that are ours; allauth's follow them in config/urls.py."""

from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("profile/", views.profile, name="profile"),
]
