"""The made-up stores hold what was asked for, and the measurement is of the report's own process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.speed import report
from recipebench.benchmarks.suite import load_suite

TINY = {
    "name": "tiny",
    "data": ["digits"],
    "model": {"mlp": {"hidden": [4]}},
    "matrix": {"activation": ["relu", "tanh"]},
    "seeds": 2,
    "protocol": {"epochs": 2},
}


def test_a_suite_has_as_many_cells_as_its_size_says() -> None:
    for cells in (1_000, 3_000, 10_000):
        found = list(expand(load_suite(report.suite_of(cells))))

        assert len({cell.id for cell in found}) == cells
        assert {cell.epochs for cell in found} == {20}


def test_the_command_prints_what_a_report_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(report, "suite_of", lambda cells: TINY)
    monkeypatch.setattr(sys, "argv", ["report", "--cells", "4", "--keep", str(tmp_path)])

    report.main()

    name, cells, *numbers = [
        text.strip() for text in capsys.readouterr().out.splitlines()[2].split("|")[1:-1]
    ]
    assert (name, cells) == ("tiny", "4")
    assert all(float(number) > 0 for number in numbers)
    assert (tmp_path / "tiny" / "out" / "index.html").exists()
