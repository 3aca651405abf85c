"""/api/v1/meetings/ and /api/v1/attendance/"""

from rest_framework.routers import SimpleRouter

from meetings.api import AttendanceViewSet, MeetingViewSet

router = SimpleRouter()
router.register("meetings", MeetingViewSet, basename="api-meeting")
router.register("attendance", AttendanceViewSet, basename="api-attendance")

urlpatterns = router.urls
