"""/recordings/. The address of the file itself ends with its quality: 720p today."""

from django.urls import path

from recordings import views

app_name = "recordings"

urlpatterns = [
    path("", views.recordings, name="list"),
    path("lesson/<int:pk>/", views.lesson, name="lesson"),
    path("file/<str:token>/", views.file, name="file"),
    path("<slug:public_id>/", views.detail, name="detail"),
    path("<slug:public_id>/state/", views.state, name="state"),
    path("<slug:public_id>/retry/", views.retry, name="retry"),
    path("<slug:public_id>/download/<slug:quality>/", views.download, name="download"),
    path("<slug:public_id>/watch/<slug:quality>/", views.watch, name="watch"),
]
