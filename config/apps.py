from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Here for its management commands: `up`, the supervisor, and `demo`."""

    name = "config"
