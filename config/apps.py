from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Here for its management commands, `up` and `demo`, and for what it says of the whole on `/metrics`."""

    name = "config"

    def ready(self) -> None:
        from config import metrics

        metrics.register()
