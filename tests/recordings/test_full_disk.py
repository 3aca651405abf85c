"""Where the disk that is full holds the database, too, a recording waits, says so, and is finished."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lectern import ROOT


@pytest.mark.service
def test_a_recording_waits_for_a_disk_that_its_database_is_on_and_nothing_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    own_mounts = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*own_mounts, "true"], check=False).returncode:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("Nobody but root may mount a small disk here, not even root in a user namespace.")
    done = subprocess.run(
        [*own_mounts, sys.executable, "-m", "tests.recordings.full_disk", str(folder)],
        cwd=ROOT,
        env={**environ, "DJANGO_SETTINGS_MODULE": "config.settings", "LECTERN_DATA": str(folder)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert "No recording goes on until somebody has made room." in done.stderr
