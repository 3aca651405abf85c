"""/recordings/. The address of a film ends with its quality; `files` are what docs/recordings.md lists."""

from django.urls import path

from recordings import staff, views
from recordings.captions import views as captions
from recordings.playback import giving

app_name = "recordings"

urlpatterns = [
    path("", views.recordings, name="list"),
    path("zip/", giving.archive, name="zip"),
    path("retry/", staff.retry_many, name="retry_many"),
    path("storage/", staff.stored, name="storage"),
    path("lesson/<int:pk>/", views.lesson, name="lesson"),
    path("course/<slug:slug>/", views.course, name="course"),
    path("<slug:public_id>/", views.detail, name="detail"),
    path("<slug:public_id>/state/", views.state, name="state"),
    path("<slug:public_id>/retry/", views.retry, name="retry"),
    path("<slug:public_id>/watched/", views.watched, name="watched"),
    path("<slug:public_id>/hold/", staff.hold, name="hold"),
    path("<slug:public_id>/release/", staff.release, name="release"),
    path("<slug:public_id>/captions/", captions.add, name="captions"),
    path("<slug:public_id>/captions/<slug:language>/remove/", captions.remove, name="remove_captions"),
    path("<slug:public_id>/download/<slug:quality>/", giving.download, name="download"),
    path("<slug:public_id>/watch/<slug:quality>/", giving.watch, name="watch"),
    path("<slug:public_id>/files/<path:name>", giving.file, name="file"),
]
