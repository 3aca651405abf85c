"""/api/v1/courses/, /lessons/ and /enrolments/."""

from rest_framework.routers import SimpleRouter

from classroom import api

router = SimpleRouter()
router.register("courses", api.CourseViewSet, basename="api-course")
router.register("lessons", api.LessonViewSet, basename="api-lesson")
router.register("enrolments", api.EnrolmentViewSet, basename="api-enrolment")

urlpatterns = router.urls
