"""Settings, addresses, and the processes that make up Lectern."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
