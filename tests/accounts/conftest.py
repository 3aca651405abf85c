import pytest


@pytest.fixture(autouse=True)
def own_cache(settings):
    """allauth counts failed sign-ins in the cache: one of the process's own, empty for each test."""
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    from django.core.cache import cache

    cache.clear()
