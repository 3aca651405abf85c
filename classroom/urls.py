"""The home page, courses and lessons."""

from django.urls import path

from classroom import views

app_name = "classroom"
urlpatterns = [
    path("", views.home, name="home"),
    path("courses/", views.courses, name="courses"),
    path("courses/new/", views.create_course, name="create_course"),
    path("courses/<slug:slug>/", views.course, name="course"),
    path("courses/<slug:slug>/edit/", views.edit_course, name="edit_course"),
    path("courses/<slug:slug>/people/", views.people, name="people"),
    path("courses/<slug:slug>/people/<int:pk>/role/", views.change_role, name="change_role"),
    path("courses/<slug:slug>/people/<int:pk>/remove/", views.remove_person, name="remove_person"),
    path("courses/<slug:slug>/lessons/new/", views.create_lesson, name="create_lesson"),
    path("courses/<slug:slug>/lessons/<int:pk>/", views.lesson, name="lesson"),
    path("courses/<slug:slug>/lessons/<int:pk>/edit/", views.edit_lesson, name="edit_lesson"),
    path("courses/<slug:slug>/lessons/<int:pk>/delete/", views.delete_lesson, name="delete_lesson"),
]
