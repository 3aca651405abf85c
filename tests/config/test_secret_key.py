"""The secret of an installation that sets none."""

from __future__ import annotations

import secrets

from config import settings


def test_it_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    made = settings.kept_secret(tmp_path)
    assert len(made) >= 50
    assert settings.kept_secret(tmp_path) == made
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_who_finds_it_finds_all_of_it(tmp_path, monkeypatch):
    # Two processes start together: what the second one sees at the moment the first one has opened its file.
    seen = []
    make = secrets.token_urlsafe

    def meanwhile(length: int) -> str:
        monkeypatch.setattr(secrets, "token_urlsafe", make)
        seen.append(settings.kept_secret(tmp_path))
        return make(length)

    monkeypatch.setattr(secrets, "token_urlsafe", meanwhile)
    assert settings.kept_secret(tmp_path) == seen[0] != ""
