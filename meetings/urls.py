"""/meetings/"""

from django.urls import path

from meetings import views

app_name = "meetings"
urlpatterns = [
    path("lesson/<int:pk>/", views.lesson, name="lesson"),
    path("lesson/<int:pk>/entrance/", views.entrance, name="entrance"),
    path("lesson/<int:pk>/begin-again/", views.begin_again, name="begin_again"),
    path("<slug:code>/", views.room, name="room"),
]
