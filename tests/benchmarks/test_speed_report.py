"""The made-up stores hold what was asked for, and the measurement is of the report's own process."""

from __future__ import annotations

import json
import subprocess
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
    saved = tmp_path / "report.json"
    given = ["report", "--cells", "4", "--rounds", "2", "--keep", str(tmp_path), "--json", str(saved)]
    monkeypatch.setattr(sys, "argv", given)

    report.main()

    name, cells, wall, ends, *numbers = [
        text.strip() for text in capsys.readouterr().out.splitlines()[-1].split("|")[1:-1]
    ]
    (row,) = json.loads(saved.read_text(encoding="utf-8"))["rows"]
    assert (name, cells) == ("tiny", "4")
    assert wall == f"{sum(row['wall_seconds']) / 2:.1f}"
    assert ends == " to ".join(f"{seconds:.1f}" for seconds in sorted(row["wall_seconds"]))
    assert all(float(number) > 0 for number in numbers)
    assert (tmp_path / "tiny" / "out" / "index.html").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="memory of several processes is read as Linux tells it")
def test_memory_is_that_of_a_process_and_of_what_it_started() -> None:
    code = "import subprocess, sys; kept = bytearray({}); print(flush=True); {}; sys.stdin.read()"
    inner = code.format(20_000_000, "pass")
    outer = code.format(30_000_000, f"child = subprocess.Popen([sys.executable, '-c', {inner!r}], stdin=0)")
    with subprocess.Popen([sys.executable, "-c", outer], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        both = report.held(process.pid)
        process.communicate()

    assert lines == ["\n", "\n"]
    assert 50_000_000 < both < 90_000_000
    assert report.held(process.pid) == 0
