"""The report in a few sentences, each written from the tables that stand below it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recipebench.reports import wording
from recipebench.reports.frames import ABSENT, STATUSES, compared, endpoint
from recipebench.reports.suite_info import SuiteInfo
from recipebench.reports.tables import UNRECORDED


def sentences(
    cells: pd.DataFrame, counts: pd.DataFrame, best: pd.DataFrame, spreads: pd.DataFrame, suite: SuiteInfo
) -> list[str]:
    """Say what was run, the best mean of each data set, and which factor's levels lie furthest apart.

    Args:
        cells: the frame of cells.
        counts: `tables.status_counts`.
        best: `tables.best`.
        spreads: `tables.spreads`.
        suite: what was planned.

    Returns:
        Plain sentences, not yet escaped.
    """
    found = [what_was_run(counts, suite)]
    widest = {row["data"]: widest_factor(row, suite) for _, row in spreads.drop_duplicates("data").iterrows()}
    for _, row in best[best["place"] == 1].iterrows():
        here = cells[cells["data"] == row["data"]]
        told = [best_recipe(row, compared(here), suite), widest.get(row["data"], "")]
        found.append(" ".join(filter(None, told)))
    return found


def what_was_run(counts: pd.DataFrame, suite: SuiteInfo) -> str:
    """Say how many cells were planned and how they ended."""
    total = counts.iloc[-1]
    ended = " + ".join(f"{wording.count(total[status])} {status}" for status in STATUSES)
    sets = wording.count_of(len(counts[~counts["data"].isin(["all", UNRECORDED])]), "data set")
    seeds = wording.count_of(len(suite.seeds), "seed")
    planned = wording.count_of(int(total["planned"]), "training run")
    return f"{planned} (cells) planned on {sets} with {seeds}: {ended}."


def best_recipe(row: pd.Series[Any], recipe: list[str], suite: SuiteInfo) -> str:
    """Say which recipe has the best mean on a data set, with interval and n."""
    goal = endpoint(str(row["data"]), suite)
    present = [(factor, str(row[factor])) for factor in recipe if row[factor] != ABSENT]
    names = " + ".join(wording.level_name(factor, label) for factor, label in present)
    reached = f", reached by {names}" if names else ""
    end = "highest" if goal.direction == "higher" else "lowest"
    mean = wording.with_unit(row["mean"], goal.measure)
    one = "each optimizer at its default rate" if suite.rates_default else "no rate tuned"
    rates = "" if suite.rates_tuned or "optimizer" not in recipe else f", {one}"
    return (
        f"On {row['data']} the {end} mean of the {wording.endpoint_name(goal)} is {mean} "
        f"({_interval(row, goal.measure)}){reached}{rates}."
    )


def widest_factor(row: pd.Series[Any], suite: SuiteInfo) -> str:
    """Say which factor's level means lie furthest apart on a data set, as a description."""
    goal = endpoint(str(row["data"]), suite)
    apart = wording.difference(row["spread"], goal.measure)
    start = f"Averaged over all else, the levels of {row['factor']} lie furthest apart there: {apart}"
    if row["factor"] == "optimizer" and not suite.rates_tuned:
        return f"{start}, which describes the optimizers and their {suite.rates} together."
    return f"{start} between {row['lowest']} (lowest) and {row['highest']} (highest)."


def _interval(row: pd.Series[Any], measure: str) -> str:
    seeds = wording.count_of(int(row["n"]), "seed")
    ends = wording.interval(row["low"], row["high"], measure)
    return (
        f"no interval, {seeds}"
        if ends == wording.NO_VALUE
        else f"95\N{NO-BREAK SPACE}% t interval {ends}, {seeds}"
    )
