from django.apps import AppConfig
from django.conf import settings


class MeetingsConfig(AppConfig):
    name = "meetings"

    def ready(self) -> None:
        from meetings import handlers, metrics, tasks  # noqa: F401  importing handlers registers their events

        metrics.watch_channel_layer()

        settings.CELERY_BEAT_SCHEDULE["close abandoned attendance"] = {
            "task": tasks.close_abandoned_attendance.name,
            "schedule": tasks.EVERY,
        }
        settings.CELERY_BEAT_SCHEDULE["save connection summaries"] = {
            "task": tasks.save_connection_summaries.name,
            "schedule": tasks.EVERY,
        }
        settings.CELERY_BEAT_SCHEDULE["forget whose connections"] = {
            "task": tasks.forget_whose_connections.name,
            "schedule": tasks.DAILY,
        }
