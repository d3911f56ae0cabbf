"""What the agent of a sweep runs: one cell, trained unless the store has it, written as the sweep's run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recipebench.benchmarks import runner
from recipebench.benchmarks.agenda import Agenda, Planned
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.results import Results
from recipebench.benchmarks.runner import Options, Plan
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import Suite
from recipebench.benchmarks.tracking import content
from recipebench.benchmarks.tracking.rows import Row
from recipebench.benchmarks.tracking.sweeps import chosen_cell
from recipebench.benchmarks.tracking.target import Tracking
from recipebench.benchmarks.tracking.tracker import Outcome, Tracker
from recipebench.datamodules import fetch

EXCLUDED = "excluded"
"""The status of a run whose combination the suite excludes."""


def run_chosen(
    suite: Suite,
    choice: str,
    store: Store,
    tracking: Tracking,
    say: Callable[[str], None],
    *,
    data_dir: Path | None = None,
    variables: Mapping[str, str] = os.environ,
) -> Outcome:
    """Train the cell that a sweep has chosen and write its run.

    Args:
        suite: the suite.
        choice: JSON of what was chosen, see `sweeps.chosen_cell`.
        store: where the record goes; several agents of one store take turns.
        tracking: where the run goes.
        say: told what a person should know.
        data_dir: where data are looked for first.
        variables: `WANDB_SWEEP_ID` and `WANDB_RUN_ID`, as the agent sets them.

    Raises:
        RequestError: the choice is none of the suite's, or data cannot be had.
    """
    cell = chosen_cell(list(expand(suite)), choice)
    record, rows, described = _excluded() if cell is None else _trained(suite, cell, store, data_dir)
    described |= {"config": described["config"] | json.loads(choice)}
    described |= {"id": variables.get("WANDB_RUN_ID") or described["id"]}
    described |= {"sweep": variables.get("WANDB_SWEEP_ID")}
    say(f"{described['name']}: {record['status']}")
    with Tracker(tracking, store.path, suite.name, say) as tracker:
        return tracker.write(record, rows, described)


def _excluded() -> tuple[Row, list[Row], dict[str, Any]]:
    described = {"id": EXCLUDED, "name": EXCLUDED, "job_type": EXCLUDED, "config": {}}
    return {"status": EXCLUDED}, [], described


def _trained(
    suite: Suite, cell: Cell, store: Store, data_dir: Path | None
) -> tuple[Row, list[Row], dict[str, Any]]:
    fetch.ensure(cell.data, data_dir)
    with store.lock(wait=True):
        results = _results(suite, cell, store, data_dir)
    ((record, rows),) = content.cells_with_history(results, [cell.id])
    return record, rows, content.described(cell)


def _results(suite: Suite, cell: Cell, store: Store, data_dir: Path | None) -> Results:
    packs = () if cell.id in store.cached() else (Pack((cell,)),)
    plan = Plan(suite, Agenda((Planned(cell),)), packs=packs)
    return runner.run(plan, store, Options(data_dir, workers=1))
