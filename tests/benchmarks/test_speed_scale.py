"""Scale: suites have the cells asked for, nothing is trained, and every stage has a figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.speed import scale
from recipebench.benchmarks.speed.scale import Clock, SimulatedExecutor
from recipebench.benchmarks.store import Store


@pytest.mark.parametrize("count", [1_000, 3_000, 5_000, 10_000])
def test_a_suite_has_the_cells_that_were_asked_for(count: int) -> None:
    assert len({cell.id for cell in expand(scale.suite_of(count))}) == count


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^Expected a multiple of 5,000, or 1,000 to 4,000 cells, got 7\.$"):
        scale.suite_of(7)


def test_the_simulated_executor_finishes_each_cell_once_with_what_a_store_takes(tmp_path: Path) -> None:
    cells = list(expand(scale.suite_of(1_000)))[:30]
    packs = [Pack(tuple(cells[:20])), Pack(tuple(cells[20:]))]

    with SimulatedExecutor(slots=1) as executor:
        events = [event for event in executor.run(packs) if event.kind == "done"]

    rows = [row for event in events for row in event.records]
    assert [row["cell_id"] for row in rows] == [cell.id for cell in cells]
    assert {row["status"] for row in rows} == {"ok"}
    assert sum(len(event.history) for event in events) == 30 * (scale.EPOCHS + 1)
    assert executor.seconds.wall > 0
    assert len({row["test_accuracy"] for row in rows}) == 30  # no cell has another one's numbers


def test_both_runs_are_measured_and_the_table_shows_every_stage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    parts = {"first": scale.first_run, "second": scale.second_run}

    def in_this_process(cells: int, path: Path, part: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(json.dumps(parts[part](cells, path)))
        return found

    monkeypatch.setattr(scale, "_in_process", in_this_process)
    arguments = ["--cells", "1000", "--store", str(tmp_path / "s"), "--json", str(tmp_path / "figures.json")]
    monkeypatch.setattr(sys, "argv", ["scale", *arguments])

    scale.main()

    (row,) = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert set(row["seconds"]) == set(scale.STAGES)
    assert all(wall > 0 for wall, _ in row["seconds"].values())
    assert (row["cells"], row["packs"]) == (1000, 20)
    assert len(Store(tmp_path / "s" / "1000").cached()) == 1000
    shown = capsys.readouterr().out
    assert scale.table([row]) in shown
    assert scale.conditions() in shown


def test_clocks_add_up() -> None:
    assert Clock(1.0, 0.5) + Clock(2.0, 0.25) - Clock(0.5, 0.5) == Clock(2.5, 0.25)


def test_growth_is_the_cost_of_a_cell_over_that_in_the_size_before() -> None:
    def row(cells: int, computing: float, collected: float) -> dict[str, object]:
        seconds = {stage: Clock(9.0, computing) for stage in scale.STAGES}
        memory = {"start": 10.0, "planned": 10.0 + cells / 1e3, "scheduled": 50.0 + cells / 1e3}
        return {"cells": cells, "seconds": seconds, "memory": memory | {"collected": collected}}

    *_, last = scale.growth([row(1_000, 1.0, 60.0), row(3_000, 6.0, 70.0)]).splitlines()

    assert last == f"| 3,000 | 1,000 | {'2.00 | ' * len(scale.STAGES)}1.00 | 0.00 | 4.00 |"
