import pytest


@pytest.fixture(autouse=True)
def _own_cache(own_cache):
    """Every test here is about signing in, or next to it."""
