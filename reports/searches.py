"""The tables of tuning, each a pure function from the cells, or from the trials, to a frame of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recipebench.reports.frames import Named, data_name, factors, is_chosen, tuned_factors
from recipebench.reports.statistics import tuning
from recipebench.reports.statistics.intervals import mean_intervals
from recipebench.reports.suite_info import Endpoint, Range, SuiteInfo, Tuning, names_of

RAN = ("ok", "diverged")
FALLBACK = 0.01
"""The tolerance of a near-optimum where the suite declares no smallest effect, as a share of the way from
chance level to the best score."""

UNITS = {"log": "decades", "one_minus_log": "decades of 1 - x", "linear": "units"}
"""In what the width of a near-optimum is told, by the scale of the range."""

REPORTED, SEARCHED = "reported cells", "all searches"
"""The last rows of the cost."""


@dataclass(frozen=True, kw_only=True)
class Searches:
    """What tuning gave, computed once.

    Args:
        trials, against_default, chosen, sensitivity, best_of_k, ranks, cost: as the functions below.
    """

    trials: pd.DataFrame
    against_default: pd.DataFrame
    chosen: pd.DataFrame
    sensitivity: pd.DataFrame
    best_of_k: pd.DataFrame
    ranks: pd.DataFrame
    cost: pd.DataFrame


def searches(
    cells: pd.DataFrame, levels: Mapping[str, Mapping[str, Named]], suite: SuiteInfo, plan: Tuning
) -> Searches:
    """Compute all tables of tuning.

    Args:
        cells: all cells, trials among them.
        levels: what the labels of each tuned factor stand for (`frames.named`).
        suite: what was planned.
        plan: its searches.
    """
    found = trials(cells)
    best = best_of_k(found, plan, suite)
    return Searches(
        trials=found,
        against_default=tuned_against_default(cells, levels),
        chosen=chosen_values(found, levels, plan, suite),
        sensitivity=sensitivity(found),
        best_of_k=best,
        ranks=rank_by_budget(best, plan, suite),
        cost=tuning_cost(cells),
    )


def trials(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row a trial, with its mean validation score over the tuning seeds.

    Returns:
        Columns `data, search, trial, factor, level, tuned, <factor>…`, the tuned
        `<factor>.<hyper-parameter>`, `chosen, score, n, diverged, gaps, finished`: `level` is the tuned
        level (of several factors, all of them, joined by +), `tuned` the columns of its tuned
        hyper-parameters, score NaN where a cell is lacking, n the cells that have a score, `finished`
        whether no cell of the whole search is lacking.
    """
    rows = _searched(cells)
    groups = rows.groupby(["data", "search", "trial"], observed=True, sort=True)
    kept = ["factor", "level", "tuned", *factors(cells), *dict.fromkeys(c for t in rows["tuned"] for c in t)]
    found = groups[kept].first()
    found["chosen"] = groups["chosen"].any()
    found["score"] = groups["validation"].mean()
    found["n"] = groups["validation"].count()
    found["diverged"] = groups["status"].agg(lambda s: int((s == "diverged").sum()))
    found["gaps"] = groups["status"].agg(lambda s: int((~s.isin(RAN)).sum()))
    found = found.reset_index()
    found.loc[found["gaps"] > 0, "score"] = np.nan
    found["finished"] = found.groupby("search")["gaps"].transform("sum") == 0
    order = ["data", *factors(cells), "search", "trial"]
    return found.sort_values(order, kind="stable", ignore_index=True)


def tuned_against_default(cells: pd.DataFrame, levels: Mapping[str, Mapping[str, Named]]) -> pd.DataFrame:
    """Compare each tuned level with the level of the same name that was not tuned.

    Cells of one data set and seed whose other factors are the same make a pair; differences are averaged
    inside each (data set, seed) block over the other factors, then over the seeds with a t interval. The
    two means are over the same pairs. The untuned level has the tuned one's other hyper-parameters.

    Args:
        cells: the frame of cells; trials do not count.
        levels: what the labels of each tuned factor stand for.

    Returns:
        Columns `data, factor, level, default`, then `default_mean, default_low, default_high`, the same
        of `tuned` and of `difference` (tuned - default), `n` seeds, `pairs`, and `lacking`, the pairs of
        which a cell has no score.
    """
    known = cells[cells["role"] == "report"]
    parts = []
    for factor, named in levels.items():
        for level, default in _counterparts(named):
            parts += _compared(known, factor, level, default)
    ends = [f"{what}_{end}" for what in ("default", "tuned", "difference") for end in ("mean", "low", "high")]
    columns = ["data", "factor", "level", "default", *ends, "n", "pairs", "lacking"]
    found = pd.DataFrame(parts, columns=columns)
    place = {str(label): i for i, label in enumerate(cells["data"].cat.categories)}
    order = found["data"].map(place).astype("int64").to_numpy().argsort(kind="stable")
    return found.iloc[order].reset_index(drop=True)


def chosen_values(
    trials: pd.DataFrame, levels: Mapping[str, Mapping[str, Named]], plan: Tuning, suite: SuiteInfo
) -> pd.DataFrame:
    """Return what each search chose, where in its range that lies, and how wide the near-optimum is.

    Args:
        trials: `trials`.
        levels: what the labels of each tuned factor stand for.
        plan: the searches, for the scales and the direction.
        suite: for the smallest effects.

    Returns:
        One row a search and tuned hyper-parameter: `data, factor, level, <factor>…, search,
        hyper_parameter, value, score, edge` (low, high or both where no value beyond the chosen one was
        tried, else none), `width` (of searches of one hyper-parameter) in `unit`, `share` of the range,
        `open` (whether the near-optimum reaches an end), `tolerance, trials, diverged` (share of trials
        of which a cell diverged). Without a value where the search is not finished.
    """
    names = [str(c) for c in trials if isinstance(trials[c].dtype, pd.CategoricalDtype)]
    columns = [*names, "factor", "level", "search", "hyper_parameter", "value", "score", "edge", "width"]
    columns += ["unit", "share", "open", "tolerance", "trials", "diverged"]
    rows = []
    for _, group in trials.groupby("search", sort=False):
        first = group.iloc[0]
        start = [*(first[name] for name in names), first["factor"], first["level"], first["search"]]
        goal = plan.criterion[data_name(str(first["data"]), suite)]
        share = float((group["diverged"] > 0).mean())
        for column in first["tuned"]:
            told = _chosen(group, column, _range_of(plan, first, column, levels), goal, suite)
            rows.append([*start, column, *told, len(group), share])
    found = pd.DataFrame(rows, columns=columns)
    for name in names:
        found[name] = found[name].astype(trials[name].dtype)
    return found


def sensitivity(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the validation score of every value that was tried.

    Returns:
        One row a trial and tuned hyper-parameter: `data, search, factor, level, hyper_parameter, value,
        score, n, diverged, dimensions`, the last the number of hyper-parameters that the search tunes.
    """
    parts = []
    for _, group in trials.groupby("search", sort=False):
        columns = group["tuned"].iloc[0]
        for column in columns:
            part = group[["data", "search", "factor", "level", "score", "n", "diverged"]]
            part = part.assign(hyper_parameter=column, value=group[column], dimensions=len(columns))
            parts.append(part.sort_values("value", kind="stable"))
    wanted = ["data", "search", "factor", "level", "hyper_parameter", "value", "score", "n", "diverged"]
    found = pd.concat(parts) if parts else pd.DataFrame(columns=[*wanted, "dimensions"])
    return found.loc[found["value"].notna(), [*wanted, "dimensions"]].reset_index(drop=True)


def best_of_k(trials: pd.DataFrame, plan: Tuning, suite: SuiteInfo) -> pd.DataFrame:
    """Return the expected best validation score of k trials, without bias, for every k.

    Of each finished search by `tuning.expected_best`, then averaged over the searches of a level.

    Returns:
        Columns `data, factor, level, k, expected_best, searches`.
    """
    parts = []
    known = trials[trials["finished"]]
    for _, group in known.groupby("search", sort=False):
        goal = plan.criterion[data_name(str(group["data"].iloc[0]), suite)]
        if np.isfinite(group["score"]).all():
            best = tuning.expected_best(group["score"].to_numpy(), goal.direction)
            head = group[["data", "factor", "level"]].reset_index(drop=True)
            parts.append(head.assign(k=np.arange(1, len(best) + 1), expected_best=best))
    columns = ["data", "factor", "level", "k", "expected_best", "searches"]
    if not parts:
        return pd.DataFrame(columns=columns)
    levels = list(dict.fromkeys(trials["level"]))
    together = pd.concat(parts, ignore_index=True)
    together["level"] = pd.Categorical(together["level"], categories=levels, ordered=True)
    groups = together.groupby(["data", "factor", "level", "k"], observed=True, sort=True)["expected_best"]
    found = groups.mean().to_frame().assign(searches=groups.size()).reset_index()
    return found.astype({"level": object})[columns]


def rank_by_budget(best: pd.DataFrame, plan: Tuning, suite: SuiteInfo) -> pd.DataFrame:
    """Return the mean rank of each tuned level when all may try k trials.

    Ranks of the expected best of k inside each data set, averaged over the data sets on which every tuned
    level of the factor has as many finished searches; a factor with a single tuned level has no ranks.

    Args:
        best: `best_of_k`.
        plan: the searches, for the direction.
        suite: for the data sets' names.

    Returns:
        Columns `factor, level, k, mean_rank, data_sets`; 1 is best.
    """
    rows = []
    for factor, part in best.groupby("factor", sort=False):
        levels = list(dict.fromkeys(part["level"]))
        tables = []
        for label, group in part.groupby("data", observed=True, sort=True):
            if group["searches"].nunique() > 1:
                continue
            goal = plan.criterion[data_name(str(label), suite)]
            sign = 1 if goal.direction == "higher" else -1
            tables.append(
                sign * group.pivot(index="level", columns="k", values="expected_best").reindex(levels)
            )
        # Rounded, so that what is equal but for the last bits of a sum shares its rank.
        whole = [t.to_numpy().round(12) for t in tables if t.notna().all(axis=None)]
        budgets = {t.shape[1] for t in whole}
        if len(levels) < 2 or len(budgets) != 1:
            continue
        ranks = tuning.mean_ranks(np.stack(whole))
        rows += [
            [factor, level, k + 1, rank, len(whole)]
            for place, level in enumerate(levels)
            for k, rank in enumerate(ranks[:, place])
        ]
    return pd.DataFrame(rows, columns=["factor", "level", "k", "mean_rank", "data_sets"])


def tuning_cost(cells: pd.DataFrame) -> pd.DataFrame:
    """Return what the searches cost: a cost of this run on its machine, never a speed.

    A cell that several searches share is counted in the row of each level, but once in the sums.

    Returns:
        Columns `factor, level, searches, trials, cells, seconds, share`: cells that ran, their
        `pack_seconds`, and these over the seconds of all cells; then a row for all searches, and one for
        the reported cells.
    """
    known = cells[cells["role"] == "trial"]
    rows = _searched(cells)
    whole = float(_once(cells)["pack_seconds"].sum())
    parts = [
        [factor, level, *_spent(group, whole)]
        for (factor, level), group in rows.groupby(["factor", "level"], sort=False)
    ]
    parts.append(["", SEARCHED, *_spent(known, whole)])
    parts.append(["", REPORTED, *_spent(cells[cells["role"] == "report"], whole)])
    columns = ["factor", "level", "searches", "trials", "cells", "seconds", "share"]
    found = pd.DataFrame(parts, columns=columns)
    found.loc[found["level"] == REPORTED, ["searches", "trials"]] = 0
    return found.astype({"searches": "int64", "trials": "int64", "cells": "int64"})


def sensitivity_curves(sensitivity: pd.DataFrame) -> pd.DataFrame:
    """Average the sensitivity over the searches of a level, where all of them tried a value.

    Returns:
        Columns `data, factor, level, hyper_parameter, value, mean, searches, trials, diverged, line`: rows
        with `line` are means of one-dimensional searches; the others are single trials, of searches of
        several hyper-parameters and of values that not every search of the level tried.
    """
    known = sensitivity[np.isfinite(sensitivity["score"])]
    columns = ["data", "factor", "level", "hyper_parameter", "value"]
    of_level = ["data", "factor", "level", "hyper_parameter"]
    wanted = known.groupby(of_level, observed=True)["search"].transform("nunique")
    met = known.groupby(columns, observed=True)["search"].transform("nunique")
    shared = (met == wanted) & (known["dimensions"] == 1)
    order = {level: place for place, level in enumerate(dict.fromkeys(sensitivity["level"]))}
    lines = known[shared].groupby(columns, observed=True, sort=True)
    means = lines.agg(
        mean=("score", "mean"),
        searches=("search", "nunique"),
        trials=("score", "size"),
        diverged=("diverged", lambda d: int((d > 0).sum())),
    )
    parts = [means.reset_index().assign(line=True)] if shared.any() else []
    if not shared.all():
        single = known.loc[~shared, [*columns, "score", "diverged"]].rename(columns={"score": "mean"})
        single["diverged"] = (single["diverged"] > 0).astype("int64")
        parts.append(single.assign(searches=1, trials=1, line=False))
    if not parts:
        return pd.DataFrame(columns=[*columns, "mean", "searches", "trials", "diverged", "line"])
    found = pd.concat(parts, ignore_index=True)
    key = pd.DataFrame({"data": found["data"], "level": found["level"].map(order), "value": found["value"]})
    key = key.sort_values(["data", "level", "value"], kind="stable")
    ordered: pd.DataFrame = found.reindex(key.index)
    return ordered.reset_index(drop=True)


def edge(values: pd.Series[Any], value: float) -> str:
    """Say at which end of what was tried a value lies: low, high, both or none.

    Example:
        >>> edge(pd.Series([0.001, 0.01, 0.1]), 0.1), edge(pd.Series([0.001, 0.01, 0.1]), 0.01)
        ('high', 'none')
    """
    below, above = bool((values < value).any()), bool((values > value).any())
    if below and above:
        return "none"
    return "high" if below else "low" if above else "both"


def tolerance(label: str, best: float, goal: Endpoint, suite: SuiteInfo) -> float:
    """Return by how much a score may be worse than the best one and still be nearly optimal."""
    declared = suite.smallest_effect.get(data_name(label, suite), 0.0)
    return declared if declared > 0 else FALLBACK * abs(best - goal.chance)


def _searched(cells: pd.DataFrame) -> pd.DataFrame:
    """The trials' cells, each with the tuned factors of its search and their levels."""
    rows = cells[cells["role"] == "trial"].copy()
    marked = tuned_factors(cells)
    there = rows[[f"{factor}.tuned" for factor in marked]].notna().to_numpy()
    labels = rows[marked].astype(object).to_numpy()
    rows["factor"] = [" \N{MULTIPLICATION SIGN} ".join(np.array(marked, dtype=object)[t]) for t in there]
    rows["level"] = [" + ".join(row[t]) for row, t in zip(labels, there, strict=True)]
    rows["tuned"] = _tuned_columns(rows, marked)
    rows["chosen"] = is_chosen(rows["chosen"])
    rows["trial"] = rows["trial"].astype("int64")
    return rows


def _tuned_columns(cells: pd.DataFrame, marked: list[str]) -> pd.Series[Any]:
    """The columns of the hyper-parameters that each row's search tunes."""
    texts = zip(*(cells[f"{factor}.tuned"] for factor in marked), strict=True)
    found = [
        tuple(f"{f}.{n}" for f, text in zip(marked, row, strict=True) if text for n in names_of(text))
        for row in texts
    ]
    return pd.Series(found, index=cells.index, dtype=object)


def _chosen(
    search: pd.DataFrame, column: str, limits: Range | None, goal: Endpoint, suite: SuiteInfo
) -> tuple[object, ...]:
    """Return value, score, edge, width, unit, share, open and tolerance of one hyper-parameter."""
    marked = search[search["chosen"]]
    if marked.empty:
        return (np.nan, np.nan, "", np.nan, "", np.nan, None, np.nan)
    value, score = float(marked[column].iloc[0]), float(marked["score"].iloc[0])
    within = tolerance(str(search["data"].iloc[0]), score, goal, suite)
    alone = len(search["tuned"].iloc[0]) == 1 and limits is not None
    width = _width(search, column, limits.scale, within, goal) if alone and limits else None
    told = (np.nan, "", np.nan, None) if width is None else width
    return (value, score, edge(search[column], value), *told, within)


def _width(
    search: pd.DataFrame, column: str, scale: str, within: float, goal: Endpoint
) -> tuple[float, str, float, bool] | None:
    """Return width, unit, share and whether it is open; None where it cannot be told."""
    means = search.groupby(column)["score"].mean().sort_index()
    values, scores = means.index.to_numpy(dtype="float64"), means.to_numpy(dtype="float64")
    if len(means) < 2 or not within > 0 or not np.isfinite(scores).all():
        return None
    if scale == "one_minus_log":
        values, scores = 1 - values[::-1], scores[::-1]
    kind = "linear" if scale == "linear" else "log"
    found = tuning.near_optimal(values, scores, within, direction=goal.direction, scale=kind)
    return (found.width, UNITS[scale], found.share, found.edge)


def _range_of(
    plan: Tuning, first: pd.Series[Any], column: str, levels: Mapping[str, Mapping[str, Named]]
) -> Range | None:
    """Find the declared range of a hyper-parameter of a search."""
    for factor, named in levels.items():
        level = named[str(first[factor])]
        for space in plan.spaces:
            if (space.factor, space.level, space.tuned) == (factor, level.name, level.tuned):
                for name, limits in space.ranges.items():
                    if f"{factor}.{name}" == column:
                        return limits
    return None


def _counterparts(named: Mapping[str, Named]) -> list[tuple[str, str]]:
    """Pair each tuned level with the untuned ones that have its other hyper-parameters."""
    found = []
    for label, level in named.items():
        for other, plain in named.items():
            left = {k: v for k, v in plain.parameters.items() if k not in names_of(level.tuned)}
            if level.tuned and not plain.tuned and (plain.name, left) == (level.name, level.parameters):
                found.append((label, other))
    return found


def _compared(cells: pd.DataFrame, factor: str, level: str, default: str) -> list[list[object]]:
    others = [f for f in factors(cells) if f != factor]
    keys = ["data", *others, "seed"]
    scores = [*keys, "score"]
    one = cells.loc[cells[factor] == default, [*scores, "scale"]]
    pairs = one.merge(cells.loc[cells[factor] == level, scores], on=keys, suffixes=("_default", "_tuned"))
    rows = []
    for label, part in pairs.groupby("data", observed=True, sort=True):
        both = part[part["score_default"].notna() & part["score_tuned"].notna()]
        blocks = both.groupby("seed", sort=True)[["score_default", "score_tuned"]].mean().to_numpy().T
        if not blocks.size:
            blocks = np.full((2, 1), np.nan)
        scale = str(part["scale"].iloc[0])
        both_means = np.stack([blocks[0], blocks[1], blocks[1] - blocks[0]])
        found = mean_intervals(both_means, [scale, scale, "raw"])
        ends = [float(x[i]) for i in range(3) for x in (found.mean, found.low, found.high)]
        n = int(found.n[0])
        rows.append([str(label), factor, level, default, *ends, n, len(both), len(part) - len(both)])
    return rows


def _once(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that ran, each once."""
    return cells[cells["status"].isin(RAN)].drop_duplicates("cell_id")


def _spent(rows: pd.DataFrame, whole: float) -> list[float]:
    """Searches, trials, cells, seconds and share of all seconds."""
    once = _once(rows)
    seconds = float(once["pack_seconds"].sum())
    tried = len(rows[["search", "trial"]].drop_duplicates())
    return [rows["search"].nunique(), tried, len(once), seconds, seconds / whole if whole else np.nan]
