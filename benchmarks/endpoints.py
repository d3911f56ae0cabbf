"""How a column is judged: which of two values is better, and what a cell that has diverged is worth."""

from __future__ import annotations

import math

from recipebench.benchmarks.records import metric_of
from recipebench.datamodules.catalog import facts_of
from recipebench.reports.suite_info import Endpoint

LOWER_IS_BETTER = ("loss", "mse", "distance")
"""Metrics of which less is better."""


def endpoint_of(column: str, data_name: str) -> Endpoint:
    """Return how a column of the records is judged on a data set.

    Example:
        >>> endpoint_of("validation_accuracy_at_best", "digits")
        Endpoint(column='validation_accuracy_at_best', direction='higher', chance=0.1)
    """
    metric = metric_of(column)
    direction = "lower" if metric in LOWER_IS_BETTER else "higher"
    return Endpoint(column=column, direction=direction, chance=_chance(metric, facts_of(data_name).classes))


def _chance(metric: str, classes: int | None) -> float:
    """Return what is reached without learning; NaN where that is unknown."""
    if metric == "loss":
        return math.log(classes) if classes else 1.0
    if metric == "accuracy":
        return 1 / (classes or 1)
    return {"mse": 1.0, "r2": 0.0, "average_precision": 0.0, "mean_return": 0.0}.get(metric, math.nan)
