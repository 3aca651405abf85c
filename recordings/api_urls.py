"""/api/v1/recordings/."""

from rest_framework.routers import SimpleRouter

from recordings import api

router = SimpleRouter()
router.register("recordings", api.RecordingViewSet, basename="api-recording")

urlpatterns = router.urls
