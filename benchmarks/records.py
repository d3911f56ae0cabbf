"""Turns what was measured into the rows that the store keeps: one record a cell, its history by epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipebench.benchmarks.cells import Cell

Row = dict[str, Any]

CELL = "cell"
"""The column of a stored record that holds the whole cell as JSON."""

TRACEBACK = "traceback"
"""The column of a stored record that says where a failed cell raised."""

KEPT_BACK = (CELL, TRACEBACK)
"""Columns that the store holds and that are not among those of a report."""

SPLITS = ("train", "validation", "test")

METRICS: dict[str, tuple[str, ...]] = {
    "classification": ("loss", "accuracy"),
    "regression": ("loss", "mse", "r2"),
    "detection": ("loss", "average_precision"),
    "control": ("loss", "mean_return"),
    "minimization": ("loss", "distance"),
}
"""What is measured on every split, by task."""

MAIN_METRIC = {
    "classification": "accuracy",
    "regression": "mse",
    "detection": "average_precision",
    "control": "mean_return",
    "minimization": "distance",
}
"""What recipes are judged by where a suite's endpoint is of another task."""

AT_BEST = "_at_best"
"""What ends the name of a column that holds a score at the best epoch."""

ALL_METRICS = tuple(dict.fromkeys(metric for metrics in METRICS.values() for metric in metrics))
"""Every metric there is."""


def metric_columns(task: str) -> list[str]:
    """Return the columns of a history row that hold scores: `train_loss`, `train_accuracy`, ...

    Example:
        >>> metric_columns("classification")[:3]
        ['train_loss', 'train_accuracy', 'validation_loss']
    """
    return [f"{split}_{metric}" for split in SPLITS for metric in METRICS[task]]


def metric_of(column: str) -> str:
    """Return the metric that a column holds.

    Example:
        >>> metric_of("test_average_precision_at_best")
        'average_precision'
    """
    return column.partition("_")[2].removesuffix(AT_BEST)


def record(
    cell: Cell,
    history: Sequence[Row],
    *,
    parameters: int,
    steps_per_epoch: int,
    diverged_at: int | None,
    best_epoch: int,
    pack_seconds: float,
    build: Mapping[str, str],
) -> Row:
    """Return the record of a cell that was trained.

    Metrics are those of the last epoch and, `..._at_best`, of the epoch with the lowest validation
    loss. Early stopping goes back to its best weights, so there both are the same. A diverged cell
    has no metrics; its reason names the step.

    Args:
        cell: what was trained.
        history: its rows, from epoch 0, the untrained network.
        parameters: numbers that the optimizer changes.
        steps_per_epoch: optimizer steps in an epoch.
        diverged_at: the first step with a non-finite loss or weight, counted from 1, or None.
        best_epoch: the epoch with the lowest validation loss, counted from 1.
        pack_seconds: the pack's training time over its members.
        build: the columns `torch` and `cpu`.
    """
    row = _described(cell, "ok", None) | {"parameters": parameters}
    row |= {"steps": None, "pack_seconds": pack_seconds, "best_epoch": None, "stopped_epoch": None, **build}
    if diverged_at is not None:
        return (
            row
            | {"status": "diverged", "reason": f"step {diverged_at}", "steps": diverged_at}
            | _scores(cell, None, None)
        )
    last, best = history[-1], history[best_epoch]
    row |= {
        "steps": last["epoch"] * steps_per_epoch,
        "best_epoch": best_epoch,
        "stopped_epoch": last["epoch"],
    }
    return row | _scores(cell, best if restores_best(cell) else last, best)


def restores_best(cell: Cell) -> bool:
    """Whether a cell ends with the weights of its best epoch."""
    return cell.regularizer is not None and cell.regularizer.name == "early_stopping"


def has_blown_up(last: Row) -> bool:
    """Whether the weights after the last epoch are such that its losses are not finite.

    The weights themselves may be finite still, where the last step of the run made them huge: such a
    cell has diverged too.

    Args:
        last: the history row of the last epoch.
    """
    return not (math.isfinite(last["train_loss"]) and math.isfinite(last["validation_loss"]))


def not_trained(
    cell: Cell, status: str, reason: str, build: Mapping[str, str | None], traceback: str = ""
) -> Row:
    """Return the record of a cell that failed or is missing, with the reason in one line."""
    row = _described(cell, status, reason) | {"parameters": None, TRACEBACK: traceback or None}
    row |= {"steps": None, "pack_seconds": None, "best_epoch": None, "stopped_epoch": None, **build}
    return row | _scores(cell, None, None)


def cell_of(row: Mapping[Any, Any]) -> Cell:
    """Return the cell of a record, as it was trained."""
    from recipebench.benchmarks.cells import Cell

    return Cell.from_json(json.loads(row[CELL]))


def _described(cell: Cell, status: str, reason: str | None) -> Row:
    as_text = json.dumps(cell.to_json(), sort_keys=True)
    return {"cell_id": cell.id, CELL: as_text, **cell.columns(), "status": status, "reason": reason}


def _scores(cell: Cell, last: Row | None, best: Row | None) -> Row:
    columns = metric_columns(cell.task)
    fit = last["fit_loss"] if last else None
    at_last = {name: last[name] if last else None for name in columns}
    at_best = {f"{name}_at_best": best[name] if best else None for name in columns}
    return {"fit_loss": fit, **at_last, **at_best}
