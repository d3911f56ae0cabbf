"""Writes a suite's report from a store; needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from recipebench import reports
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.records import metric_of
from recipebench.benchmarks.results import Results
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.store_files import disk_errors
from recipebench.benchmarks.suite import Suite
from recipebench.datamodules.catalog import facts_of
from recipebench.levels import Choice
from recipebench.lightning_modules.catalog import OPTIMIZERS
from recipebench.reports import Endpoint, SuiteInfo


def write_report(
    suite: Suite, cells: Sequence[Cell], results: Results, store: Store, out: Path, command: str
) -> Path:
    """Write page, summary, tables, figures and frames of a suite; return the path of the page.

    Args:
        suite: the suite.
        cells: its planned cells.
        results: their records and histories.
        store: where the environments of their runs are found.
        out: the folder to write to.
        command: what a person types to repeat the run.

    Raises:
        StoreError: the disk is full or broken, or the folder cannot be written.
    """
    done = results.records.loc[results.records["torch"].notna(), "cell_id"]
    info = describe(suite, cells, command)
    with disk_errors(f"write the report to {out}"):
        return reports.refresh(results.records, results.history, info, out, store.environments(done))


def describe(suite: Suite, cells: Sequence[Cell], command: str) -> SuiteInfo:
    """Return what the report tells of a suite."""
    names = list(dict.fromkeys(cell.data.name for cell in cells))
    return SuiteInfo(
        name=suite.name,
        description=suite.description,
        endpoints={name: endpoint_of(suite, name) for name in names},
        factors={factor: levels for factor, levels in suite.levels().items() if factor != "data"},
        seeds=tuple(dict.fromkeys(cell.seed for cell in cells)),
        planned=len(cells),
        rates_default=all(_has_default_rate(choice) for choice in suite.levels()["optimizer"]),
        protocol="; ".join(_protocol(cells, name) for name in names),
        smallest_effect=dict(suite.smallest_effect),
        data={name: _facts(name, cells) for name in names},
        command=command,
    )


def _has_default_rate(optimizer: Choice) -> bool:
    default = OPTIMIZERS.choose(optimizer.name).parameters
    return optimizer.parameters.get("lr") == default.get("lr")


def endpoint_of(suite: Suite, data: str) -> Endpoint:
    """Return what recipes are judged by on a data set."""
    column = suite.endpoint_for(data)
    metric = metric_of(column)
    direction = "lower" if metric in LOWER_IS_BETTER else "higher"
    return Endpoint(column=column, direction=direction, chance=_chance(metric, facts_of(data).classes))


LOWER_IS_BETTER = ("loss", "mse", "distance")
"""Metrics of which less is better."""


def _chance(metric: str, classes: int | None) -> float:
    """Return what a cell that has diverged is worth: what is reached without learning; NaN where unknown."""
    if metric == "loss":
        return math.log(classes) if classes else 1.0
    if metric == "accuracy":
        return 1 / (classes or 1)
    return {"mse": 1.0, "r2": 0.0, "average_precision": 0.0, "mean_return": 0.0}.get(metric, math.nan)


def _protocol(cells: Sequence[Cell], data: str) -> str:
    mine = [cell for cell in cells if cell.data.name == data]
    parts = [f"{_values(mine, 'epochs')} epochs", f"batches of {_values(mine, 'batch_size')}"]
    parts += [f"validation {_values(mine, 'validation')}", f"{_values(mine, 'inputs')} inputs"]
    return f"{data}: {', '.join(parts)}"


def _values(cells: Sequence[Cell], name: str) -> str:
    return " / ".join(str(value) for value in dict.fromkeys(getattr(cell, name) for cell in cells))


def _facts(data: str, cells: Sequence[Cell]) -> dict[str, object]:
    facts = facts_of(data)
    hashes = sorted({cell.data_sha256 for cell in cells if cell.data.name == data})
    return {
        "source": facts.source,
        "citation": facts.citation,
        "license": facts.license,
        "samples": facts.train + facts.test,
        "SHA-256": ", ".join(hashes),
    }
