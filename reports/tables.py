"""The tables of the report, each a pure function from the frame of cells to a frame of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recipebench.reports.frames import STATUSES, compared, data_name, factors
from recipebench.reports.statistics.intervals import mean_intervals
from recipebench.reports.suite_info import SuiteInfo

Floats = NDArray[np.float64]

SPLITS = ("train", "validation", "test")
UNRECORDED = "not in the records"


def status_counts(cells: pd.DataFrame, suite: SuiteInfo) -> pd.DataFrame:
    """Count planned = ok + diverged + failed + missing, per data set and in all.

    A planned cell without a record counts as missing, in a row of its own.

    Returns:
        Columns `data, planned, ok, diverged, failed, missing`; the last row, `all`, is the sum.
    """
    counts = _counts(cells, ["data"]).reset_index()
    counts.insert(1, "planned", counts[list(STATUSES)].sum(axis=1))
    counts["data"] = counts["data"].astype(object)
    columns = list(counts.columns)
    unrecorded = suite.planned - len(cells)
    if unrecorded:
        lacking = pd.DataFrame([[UNRECORDED, unrecorded, 0, 0, 0, unrecorded]], columns=columns)
        counts = pd.concat([counts, lacking], ignore_index=True)
    total = pd.DataFrame([["all", *counts[columns[1:]].sum()]], columns=columns)
    counts = pd.concat([counts, total], ignore_index=True)
    return counts.astype(dict.fromkeys(["planned", *STATUSES], "int64"))


def reasons(cells: pd.DataFrame, count: int = 20) -> pd.DataFrame:
    """Count the reasons for which cells diverged, failed or are missing, the most frequent first.

    Numbers inside a reason are left out, so that `step 3` and `step 40` are one; of several lines the
    last, which names the error, is shown.

    Returns:
        Columns `status, reason, cells`; at most `count` rows, the last then sums up the others.
    """
    bad = cells[cells["status"] != "ok"]
    text = bad["reason"].map(_short_reason, na_action=None)
    found = bad.assign(reason=text).groupby(["status", "reason"]).size().rename("cells").reset_index()
    found = found.sort_values(["cells", "status", "reason"], ascending=[False, True, True], ignore_index=True)
    if len(found) > count:
        rest = found.iloc[count - 1 :]["cells"].sum()
        others = pd.DataFrame([["", "other reasons", rest]], columns=found.columns)
        found = pd.concat([found.iloc[: count - 1], others], ignore_index=True)
    return found


def factor_means(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean score of each level of each factor: averaged inside a seed first, then over the seeds.

    Returns:
        Columns `data, factor, level, mean, low, high, n, cells, diverged, gaps, partners`: n seeds
        behind the interval, cells that were averaged, diverged ones among them, gaps that could not be
        averaged, and how many combinations of the other factors the level met.
    """
    parts = [_means(cells, factor) for factor in factors(cells)]
    columns = ["data", "factor", "level", "mean", "low", "high", "n", "cells", "diverged", "gaps", "partners"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def recipes(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean score of each recipe over its seeds, in declared order.

    Returns:
        Columns `data, <factor>…, mean, low, high, n, diverged, gaps`.
    """
    return _over_seeds(cells, ["data", *factors(cells)])


def best(recipes: pd.DataFrame, suite: SuiteInfo, count: int = 10) -> pd.DataFrame:
    """The recipes that validation chooses on each data set, the first of them: rows of `ranked`."""
    found = ranked(recipes, suite)
    return found[found["place"] <= count].reset_index(drop=True)


def ranked(recipes: pd.DataFrame, suite: SuiteInfo) -> pd.DataFrame:
    """Rank the recipes of each data set by validation; the endpoint, which is reported, ranks nothing.

    Only candidates with as many seeds as any are ranked (`choice.with_choice`).

    Args:
        recipes: with the columns of `choice.with_choice`.
        suite: tells which of two validation scores is better.

    Returns:
        The columns of `recipes` with `place`, 1 for the best, after `data`; ties in declared order.
    """
    parts = []
    for label, group in recipes.groupby("data", observed=True, sort=True):
        known = group[group["candidate"] & group["mean"].notna() & group["validation"].notna()]
        full = known[known["n"] == known["n"].max()]
        higher = suite.criterion(data_name(str(label), suite)).direction == "higher"
        order = full.sort_values("validation", ascending=not higher, kind="stable")
        parts.append(order.assign(place=range(1, len(order) + 1)))
    found = pd.concat(parts) if parts else recipes.assign(place=0)
    return found[["data", "place", *(c for c in recipes.columns if c != "data")]]


def within(ranked: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The best recipe within each level of each factor: the level's first in `ranked`.

    Returns:
        The columns of `ranked` with `factor` and `level`, in declared order of both; factors that have one
        level on a data set are left out.
    """
    parts = []
    for label, here in ranked.groupby("data", observed=True, sort=True):
        for factor in compared(cells[cells["data"] == label]):
            first = here.drop_duplicates(factor).sort_values(factor, kind="stable")
            parts.append(first.assign(factor=factor, level=first[factor].astype(object)))
    found = pd.concat(parts, ignore_index=True) if parts else ranked.assign(factor="", level="")
    return found[["data", "factor", "level", *(c for c in ranked.columns if c != "data")]]


def pair_means(cells: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Mean score of each combination of the levels of two factors, averaged like `factor_means`.

    Returns:
        Columns `data, first, second, mean, low, high, n, cells, diverged, gaps`.
    """
    found = _over_seeds(cells, ["data", first, second]).rename(columns={first: "first", second: "second"})
    columns = ["data", "first", "second", "mean", "low", "high", "n", "cells", "diverged", "gaps"]
    return found[columns]


def curves(values: pd.DataFrame, cells: pd.DataFrame, factor: str, scale: str = "raw") -> pd.DataFrame:
    """Learning curves of the levels of a factor: averaged inside a seed first, then over the seeds.

    Args:
        values: one row an ok cell (indexed like `cells`), one column an epoch.
        cells: the frame of cells.
        factor: whose levels are compared.
        scale: on which the intervals are made, of `statistics.SCALES`.

    Returns:
        Columns `data, level, epoch, mean, low, high, n, cells`.
    """
    there = values[values.notna().any(axis=1)]
    known = cells.loc[there.index]
    groups = known.groupby(["data", factor, "seed"], observed=True, sort=True)
    by_seed = _mean_by_group(there.to_numpy(), groups.ngroup().to_numpy(), groups.ngroups)
    sizes = groups.size().reset_index(name="cells")
    parts = []
    for (label, level), seeds in sizes.groupby(["data", factor], observed=True, sort=True):
        found = mean_intervals(by_seed[seeds.index].T, scale)
        part = {"data": label, "level": level, "epoch": there.columns.astype(int), **found._asdict()}
        parts.append(pd.DataFrame(part | {"cells": int(seeds["cells"].sum())}))
    columns = ["data", "level", "epoch", "mean", "low", "high", "n", "cells"]
    together = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    return together[together["n"] > 0].reset_index(drop=True)[columns]


def _mean_by_group(values: Floats, group: NDArray[np.integer[Any]], count: int) -> Floats:
    """Mean of each column inside each group of rows, over the rows that have a value; NaN where none has."""
    if not len(values):
        return np.empty((0, values.shape[1]))
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(count))
    gap = np.isnan(values[order])
    known = np.add.reduceat((~gap).astype(float), starts, axis=0)
    total = np.add.reduceat(np.where(gap, 0.0, values[order]), starts, axis=0)
    return np.asarray(total / np.where(known > 0, known, np.nan))


def outcomes(cells: pd.DataFrame) -> pd.DataFrame:
    """Count the cells of each level by how they ended, over all data sets.

    Returns:
        Columns `factor, level, cells, ok, diverged, failed, missing, diverged_share`, the share being
        diverged / (ok + diverged).
    """
    parts = []
    for factor in ["data", *factors(cells)]:
        part = _counts(cells, [factor]).reset_index(names="level")
        parts.append(part.astype({"level": object}).assign(factor=factor))
    found = pd.concat(parts, ignore_index=True)
    found["cells"] = found[list(STATUSES)].sum(axis=1)
    ended = (found["ok"] + found["diverged"]).astype("float64")
    found["diverged_share"] = found["diverged"] / ended.where(ended > 0)
    return found[["factor", "level", "cells", *STATUSES, "diverged_share"]]


def cost(cells: pd.DataFrame) -> pd.DataFrame:
    """What the trained cells cost: a cost of this run on its machine, never a speed.

    Returns:
        Columns `data, cells, seconds, median_seconds, parameters_min, parameters_max, steps_min,
        steps_max`; seconds are `pack_seconds`, summed and per cell.
    """
    ran = cells[cells["status"].isin(["ok", "diverged"])]
    return (
        ran.groupby("data", observed=True, sort=True)
        .agg(
            cells=("cell_id", "size"),
            seconds=("pack_seconds", "sum"),
            median_seconds=("pack_seconds", "median"),
            parameters_min=("parameters", "min"),
            parameters_max=("parameters", "max"),
            steps_min=("steps", "min"),
            steps_max=("steps", "max"),
        )
        .reset_index()
    )


def machines(cells: pd.DataFrame) -> pd.DataFrame:
    """Count the cells per torch version, CPU class and device; columns `torch, cpu, device, cells`."""
    ran = cells[cells["status"].isin(["ok", "diverged"])]
    known = (
        ran[["torch", "cpu", "on_device"]].astype(object).fillna("—").rename(columns={"on_device": "device"})
    )
    return known.groupby(["torch", "cpu", "device"]).size().rename("cells").reset_index()


def spreads(factor_means: pd.DataFrame) -> pd.DataFrame:
    """How far apart the extreme level means of each factor lie, per data set, the farthest first.

    Returns:
        Columns `data, factor, spread, lowest, highest`: the difference and the two levels.
    """
    known = factor_means[factor_means["mean"].notna()]
    rows = []
    for (label, factor), group in known.groupby(["data", "factor"], observed=True, sort=False):
        if len(group) > 1:
            ordered = group.sort_values("mean", kind="stable")
            low, high = ordered.iloc[0], ordered.iloc[-1]
            rows.append([label, factor, high["mean"] - low["mean"], low["level"], high["level"]])
    found = pd.DataFrame(rows, columns=["data", "factor", "spread", "lowest", "highest"])
    place = {label: position for position, label in enumerate(dict.fromkeys(found["data"]))}
    key = found["data"].map(place).astype("int64") if len(found) else found["data"]
    order = pd.DataFrame({"data": key, "spread": found["spread"]}).sort_values(
        ["data", "spread"], ascending=[True, False], kind="stable"
    )
    return found.loc[order.index].reset_index(drop=True)


def unbalanced(cells: pd.DataFrame) -> pd.DataFrame:
    """The factors of which not every level met the same combinations of the others: `data, factor`."""
    names, rows = factors(cells), []
    for factor in names:
        if others := [name for name in names if name != factor]:
            partner = cells.groupby(others, observed=True, sort=False).ngroup()
            met = cells[["data", factor]].assign(partner=partner).drop_duplicates()
            for label, here in met.groupby("data", observed=True, sort=True):
                if len(here) < here[factor].nunique() * here["partner"].nunique():
                    rows.append((label, factor))
    return pd.DataFrame(rows, columns=["data", "factor"])


def _means(cells: pd.DataFrame, factor: str) -> pd.DataFrame:
    found = _over_seeds(cells, ["data", factor]).rename(columns={factor: "level"})
    others = [f for f in factors(cells) if f != factor]
    recipe = cells.groupby(["data", factor], observed=True, sort=True)
    met = [len(group[others].drop_duplicates()) if others else 1 for _, group in recipe]
    return found.assign(factor=factor, partners=met).astype({"level": object})


def _over_seeds(cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Average the score inside each seed, then over the seeds with an interval on the data set's scale."""
    groups = cells.groupby(by, observed=True, sort=True)
    per_seed = cells.groupby([*by, "seed"], observed=True, sort=True)["score"].mean().unstack("seed")
    scales = groups["scale"].first().reindex(per_seed.index).to_numpy(dtype=str)
    found = mean_intervals(per_seed.to_numpy(dtype="float64"), scales)
    scored, size = groups["score"].count(), groups.size()
    diverged = cells.assign(diverged=cells["status"] == "diverged").groupby(by, observed=True, sort=True)
    extra = {
        "cells": scored.to_numpy(),
        "diverged": diverged["diverged"].sum().to_numpy(dtype="int64"),
        "gaps": (size - scored).to_numpy(),
    }
    return per_seed.index.to_frame(index=False).assign(**found._asdict(), **extra)


def _counts(cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    marks = {status: (cells["status"] == status).astype("int64") for status in STATUSES}
    return cells[by].assign(**marks).groupby(by, observed=True, sort=True).sum()


def _short_reason(reason: object, limit: int = 160) -> str:
    if not isinstance(reason, str) or not reason.strip():
        return "no reason given"
    text = re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "…", reason.strip().splitlines()[-1].strip())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """All pairs of factors in declared order.

    Example:
        >>> pairs(["a", "b", "c"])
        [('a', 'b'), ('a', 'c'), ('b', 'c')]
    """
    listed = list(names)
    return [(a, b) for i, a in enumerate(listed) for b in listed[i + 1 :]]
