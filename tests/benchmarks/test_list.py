"""./bench --list names every benchmark, and each tells of its options."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import main, names


def test_every_benchmark_is_listed_with_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"fanout", "forward", "joins", "meeting"} <= {line.split()[0] for line in lines}
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("name", names())
def test_every_benchmark_tells_of_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_what_is_no_benchmark_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "meeting" in capsys.readouterr().err
