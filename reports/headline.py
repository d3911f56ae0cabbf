"""The report in a few sentences, each written from the tables that stand below it."""

from __future__ import annotations

import pandas as pd

from recipebench.reports import wording
from recipebench.reports.frames import STATUSES, endpoint, factors
from recipebench.reports.suite_info import SuiteInfo


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
    found += [best_recipe(row, factors(cells), suite) for _, row in best[best["place"] == 1].iterrows()]
    found += [widest_factor(row, suite) for _, row in spreads.drop_duplicates("data").iterrows()]
    return found


def what_was_run(counts: pd.DataFrame, suite: SuiteInfo) -> str:
    """Say how many cells were planned and how they ended."""
    total = counts.iloc[-1]
    ended = " + ".join(f"{wording.count(total[status])} {status}" for status in STATUSES)
    sets = len(counts[~counts["data"].isin(["all", "not in the records"])])
    return (
        f"{wording.count_of(int(total['planned']), 'training run')} ({'cells'}) planned on "
        f"{wording.count_of(sets, 'data set')} with {wording.count_of(len(suite.seeds), 'seed')}: {ended}."
    )


def best_recipe(row: pd.Series, recipe: list[str], suite: SuiteInfo) -> str:
    """Say which recipe has the best mean on a data set, with interval and n."""
    goal = endpoint(str(row["data"]), suite)
    names = " + ".join(str(row[factor]) for factor in recipe)
    mean = wording.with_unit(row["mean"], goal.measure)
    rates = "" if suite.rates_tuned else ", each optimizer at its default rate"
    return (
        f"On {row['data']} the {'highest' if goal.direction == 'higher' else 'lowest'} mean "
        f"{wording.endpoint_name(goal)} is {mean} ({_interval(row, goal.measure)}): {names}{rates}."
    )


def widest_factor(row: pd.Series, suite: SuiteInfo) -> str:
    """Say which factor's level means lie furthest apart on a data set, as a description."""
    goal = endpoint(str(row["data"]), suite)
    apart = wording.difference(row["spread"], goal.measure)
    start = f"On {row['data']} the level means of {row['factor']} lie furthest apart: {apart}"
    if row["factor"] == "optimizer" and not suite.rates_tuned:
        return f"{start}; each optimizer ran at one default rate, so this describes rates and optimizers together."
    ends = (row["lowest"], row["highest"])
    return f"{start} between {ends[0]} (lowest) and {ends[1]} (highest), averaged over all other factors."


def _interval(row: pd.Series, measure: str) -> str:
    seeds = wording.count_of(int(row["n"]), "seed")
    ends = wording.interval(row["low"], row["high"], measure)
    return f"no interval, {seeds}" if ends == wording.NO_VALUE else f"95 % t interval {ends}, {seeds}"
