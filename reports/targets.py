"""Epochs until a declared target is reached, misses censored at the planned last epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recipebench.errors import RequestError, unknown
from recipebench.reports.frames import compared, data_name, factors, history_of, validation_scores
from recipebench.reports.suite_info import Endpoint, SuiteInfo, Targets

COLUMNS = ("data", "factor", "level", "target", "cells", "reached", "median_epochs", "last_epoch", "gaps")


def target_values(
    records: pd.DataFrame, cells: pd.DataFrame, targets: Targets, suite: SuiteInfo
) -> dict[str, float]:
    """Return the target of each data set: as declared, or by the declared rule.

    Args:
        records: all records.
        cells: the reported cells.
        targets: what the suite declares.
        suite: for the data sets' names.

    Returns:
        By the data set's label; NaN where the rule gives none: no chance level is known, or no cell ran.
    """
    share, found = targets.share, {}
    best = _best(records, cells, targets, suite) if share is not None else {}
    for label in dict.fromkeys(map(str, cells["data"])):
        name = data_name(label, suite)
        if name in targets.values:
            found[label] = float(targets.values[name])
        elif share is not None:
            chance = targets.criterion[name].chance
            found[label] = chance + share * (best.get(label, np.nan) - chance)
    return found


def time_to_target(
    records: pd.DataFrame, history: pd.DataFrame, cells: pd.DataFrame, targets: Targets, suite: SuiteInfo
) -> pd.DataFrame:
    """Return how many cells of each level reached the target, and after how many epochs half of them had.

    A cell reaches it in the first epoch, from 1, whose validation metric is at least as good. Cells that
    ended without it, or diverged, are misses: their time is beyond the planned last epoch.

    Args:
        records: all records.
        history: of the reported cells.
        cells: the reported cells.
        targets: what the suite declares.
        suite: for the data sets' names.

    Returns:
        Columns `data, factor, level, target, cells, reached, median_epochs, last_epoch, gaps`: the median
        is the first epoch by which at least half of the cells had reached the target, infinite where
        they never did; `last_epoch` the lowest planned one; gaps are failed and missing cells.
    """
    values = target_values(records, cells, targets, suite)
    return counted(cells, epochs_to_target(values, history, cells, targets, suite), values)


def counted(cells: pd.DataFrame, epochs: pd.Series[float], values: Mapping[str, float]) -> pd.DataFrame:
    """Return what `time_to_target` returns.

    Args:
        cells: the reported cells.
        epochs: `epochs_to_target` of them.
        values: `target_values`.
    """
    rows, known = [], cells.assign(epochs=epochs)
    for label, target in values.items():
        here = known[known["data"] == label]
        if not np.isfinite(target) or here.empty:
            continue
        for factor in compared(here):
            for level, part in here.groupby(factor, observed=True, sort=True):
                rows.append([label, factor, str(level), target, *_counted(part)])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def epochs_to_target(
    values: Mapping[str, float],
    history: pd.DataFrame,
    cells: pd.DataFrame,
    targets: Targets,
    suite: SuiteInfo,
) -> pd.Series[float]:
    """Return the epoch in which each cell reached its data set's target.

    Args:
        values: `target_values`.
        history: of the reported cells.
        cells: the reported cells.
        targets: what the suite declares.
        suite: for the data sets' names.

    Returns:
        Indexed like `cells`; infinite for a miss, NaN for a gap and where there is no target.
    """
    found = pd.Series(np.nan, index=cells.index, dtype="float64")
    for label, target in values.items():
        here = cells[cells["data"] == label]
        if np.isfinite(target) and len(here):
            goal = targets.criterion[data_name(label, suite)]
            first = first_epochs(history, here.reset_index(drop=True), target, goal)
            found[here.index] = first.to_numpy()
    return found


def first_epochs(
    history: pd.DataFrame, cells: pd.DataFrame, target: float, goal: Endpoint
) -> pd.Series[float]:
    """Return the epoch in which each cell reached the target; infinite for a miss, NaN for a gap.

    Raises:
        RequestError: the history lacks the metric.
    """
    column = goal.column.removesuffix("_at_best")
    if column not in history.columns:
        raise RequestError(f"history: {unknown('column', column, map(str, history.columns))}")
    mine = history[history["cell_id"].isin(cells["cell_id"])]
    values = history_of(mine, cells, column)
    good = values >= target if goal.direction == "higher" else values <= target
    found = pd.Series(np.nan, index=cells.index, dtype="float64")
    found[cells["status"] == "diverged"] = np.inf
    if good.shape[1]:
        first = np.where(good.any(axis=1), good.to_numpy().argmax(axis=1) + 1.0, np.inf)
        found[good.index] = first
    return found


def _best(records: pd.DataFrame, cells: pd.DataFrame, targets: Targets, suite: SuiteInfo) -> dict[str, float]:
    """The best mean validation score of a recipe, by data set, among those with as many seeds as any."""
    scores = pd.Series(validation_scores(records, targets.criterion).to_numpy(), index=records["cell_id"])
    known = cells.assign(validation=cells["cell_id"].map(scores[~scores.index.duplicated()]))
    recipe = known.groupby(["data", *factors(cells)], observed=True, sort=True)["validation"]
    means = recipe.agg(["mean", "count"]).reset_index()
    found = {}
    for label, part in means.groupby("data", observed=True):
        full = part.loc[(part["count"] == part["count"].max()) & (part["count"] > 0), "mean"]
        higher = targets.criterion[data_name(str(label), suite)].direction == "higher"
        found[str(label)] = float(full.max() if higher else full.min())
    return found


def _counted(part: pd.DataFrame) -> list[Any]:
    """Cells, reached, median, last epoch and gaps of one level."""
    epochs = np.sort(part["epochs"].dropna().to_numpy())
    half = float(epochs[(len(epochs) - 1) // 2]) if len(epochs) else np.nan
    last = int(part["last_epoch"].min())
    return [len(epochs), int(np.isfinite(epochs).sum()), half, last, len(part) - len(epochs)]
