"""/live/. Segments and playlists below it are given by `recordings.live.serve`."""

from django.urls import path

from recordings.live import views

app_name = "live"

urlpatterns = [
    path("<slug:public_id>/", views.page, name="page"),
    path("<slug:public_id>/pass/", views.renew, name="pass"),
    path("<slug:public_id>/say/", views.say, name="say"),
]
