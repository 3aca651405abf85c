"""/meetings/"""

from django.urls import path

from meetings import views

app_name = "meetings"
urlpatterns = [
    path("lesson/<int:pk>/", views.lesson, name="lesson"),
    path("<slug:code>/", views.room, name="room"),
]
