from django.apps import AppConfig
from django.conf import settings


class RecordingsConfig(AppConfig):
    name = "recordings"

    def ready(self) -> None:
        # Importing registers events and signals.
        from recordings import erasure, handlers, local, mails, tasks  # noqa: F401
        from recordings.live import handlers as live_handlers  # noqa: F401
        from recordings.playback import cdn, watching

        settings.CELERY_BEAT_SCHEDULE["sweep recordings"] = {
            "task": tasks.sweep_recordings.name,
            "schedule": tasks.SWEEP_EVERY,
        }
        settings.CELERY_BEAT_SCHEDULE["compose along"] = {
            "task": tasks.compose_along.name,
            "schedule": tasks.ALONG_EVERY,
        }
        settings.CELERY_BEAT_SCHEDULE["expire recordings"] = {
            "task": tasks.expire_recordings.name,
            "schedule": tasks.EXPIRE_EVERY,
        }
        settings.CELERY_BEAT_SCHEDULE["erase what is left of deleted recordings"] = {
            "task": erasure.sweep_erasures.name,
            "schedule": erasure.SWEEP_EVERY,
        }
        settings.CELERY_BEAT_SCHEDULE["tell of recordings that nobody was told of"] = {
            "task": mails.sweep_notices.name,
            "schedule": mails.SWEEP_EVERY,
        }
        settings.CELERY_BEAT_SCHEDULE["forget who watched"] = {
            "task": watching.forget_who_watched.name,
            "schedule": watching.DAILY,
        }
        if settings.CDN_BASE_URLS:
            settings.CELERY_BEAT_SCHEDULE["ask the delivery networks"] = {
                "task": cdn.ask_networks.name,
                "schedule": cdn.ASK_EVERY,
            }
