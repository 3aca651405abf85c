from django.apps import AppConfig
from django.conf import settings


class RecordingsConfig(AppConfig):
    name = "recordings"

    def ready(self) -> None:
        from recordings import erasure, handlers, tasks  # noqa: F401  importing registers events and signals

        settings.CELERY_BEAT_SCHEDULE["sweep recordings"] = {
            "task": tasks.sweep_recordings.name,
            "schedule": tasks.SWEEP_EVERY,
        }
        settings.CELERY_BEAT_SCHEDULE["expire recordings"] = {
            "task": tasks.expire_recordings.name,
            "schedule": tasks.EXPIRE_EVERY,
        }
