"""The report in a few sentences, each written from the tables that stand below it."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import pandas as pd

from recipebench.reports import wording
from recipebench.reports.frames import ABSENT, STATUSES, compared, endpoint, rates, untuned_optimizers
from recipebench.reports.searches import Searches
from recipebench.reports.suite_info import SuiteInfo
from recipebench.reports.tables import UNRECORDED
from recipebench.reports.tables import best as best_recipes


def sentences(
    cells: pd.DataFrame,
    counts: pd.DataFrame,
    best: pd.DataFrame,
    spreads: pd.DataFrame,
    suite: SuiteInfo,
    *,
    recipes: pd.DataFrame,
    searches: Searches | None = None,
) -> list[str]:
    """Say what was run, the best mean of each data set, and which factor's levels lie furthest apart.

    Args:
        cells: the frame of cells.
        counts: `tables.status_counts`.
        best: `tables.best`.
        spreads: `tables.spreads`.
        suite: what was planned.
        recipes: `tables.recipes`.
        searches: what tuning gave; None of a suite that tunes nothing.

    Returns:
        Plain sentences, not yet escaped.
    """
    found = [what_was_run(counts, suite, searches)]
    plain = untuned_optimizers(cells, suite)
    first = spreads.drop_duplicates("data")
    widest = {row["data"]: widest_factor(row, suite, plain) for _, row in first.iterrows()}
    tuned = _best_tuned(recipes, plain, suite) if rates(cells, suite) == "mixed" else {}
    for _, row in best[best["place"] == 1].iterrows():
        recipe = compared(cells[cells["data"] == row["data"]])
        told = [best_recipe(row, recipe, suite, plain)]
        if row["data"] in tuned and row["optimizer"] in plain:
            told.append(_among_tuned(tuned[row["data"]], recipe, suite))
        found.append(" ".join(filter(None, [*told, widest.get(row["data"], "")])))
    return found


def what_was_run(counts: pd.DataFrame, suite: SuiteInfo, searches: Searches | None = None) -> str:
    """Say how many cells were planned, how many of them to tune, and how they ended."""
    total = counts.iloc[-1]
    ended = " + ".join(f"{wording.count(total[status])} {status}" for status in STATUSES)
    sets = wording.count_of(len(counts[~counts["data"].isin(["all", UNRECORDED])]), "data set")
    seeds = wording.count_of(len(suite.seeds), "seed")
    planned = wording.count_of(int(total["planned"]), "training run")
    return f"{planned} (cells) planned on {sets} with {seeds}{_trials(suite, searches)}: {ended}."


def best_recipe(
    row: pd.Series[Any],
    recipe: list[str],
    suite: SuiteInfo,
    plain: Set[str] | None = None,
) -> str:
    """Say which recipe has the best mean on a data set, with interval and n.

    Args:
        row: of `tables.best`.
        recipe: the factors that are told.
        suite: what was planned.
        plain: the optimizers whose rate was not tuned; all or none, as the suite says, by default.
    """
    goal = endpoint(str(row["data"]), suite)
    end = "highest" if goal.direction == "higher" else "lowest"
    mean = wording.with_unit(row["mean"], goal.measure)
    return (
        f"On {row['data']} the {end} mean of the {wording.endpoint_name(goal)} is {mean} "
        f"({_interval(row, goal.measure)}){_reached_by(row, recipe)}{_rates(row, recipe, suite, plain)}."
    )


def widest_factor(row: pd.Series[Any], suite: SuiteInfo, plain: Set[str] | None = None) -> str:
    """Say which factor's level means lie furthest apart on a data set, as a description."""
    goal = endpoint(str(row["data"]), suite)
    apart = wording.difference(row["spread"], goal.measure)
    start = f"Averaged over all else, the levels of {row['factor']} lie furthest apart there: {apart}"
    if row["factor"] == "optimizer" and _is_plain({row["lowest"], row["highest"]}, suite, plain):
        kinds = suite.rates if suite.tuning is None else f"rates, tuned or {suite.rates.split()[0]},"
        return f"{start}, which describes the optimizers and their {kinds} together."
    return f"{start} between {row['lowest']} (lowest) and {row['highest']} (highest)."


def _among_tuned(row: pd.Series[Any], recipe: list[str], suite: SuiteInfo) -> str:
    """Say which recipe of tuned learning rate has the best mean, where one at a default rate is ahead."""
    measure = endpoint(str(row["data"]), suite).measure
    mean, by = wording.with_unit(row["mean"], measure), _reached_by(row, recipe)
    return f"Among the recipes of tuned rate it is {mean} ({_interval(row, measure)}){by}."


def _reached_by(row: pd.Series[Any], recipe: list[str]) -> str:
    present = [(factor, str(row[factor])) for factor in recipe if row[factor] != ABSENT]
    names = " + ".join(wording.level_name(factor, label) for factor, label in present)
    return f", reached by {names}" if names else ""


def _rates(row: pd.Series[Any], recipe: list[str], suite: SuiteInfo, plain: Set[str] | None) -> str:
    """Say of a recipe that its learning rate was not tuned."""
    if "optimizer" not in recipe or not _is_plain({row["optimizer"]}, suite, plain):
        return ""
    if suite.tuning is not None:
        return ", at its default rate" if suite.rates_default else ", its rate not tuned"
    return ", each optimizer at its default rate" if suite.rates_default else ", no rate tuned"


def _is_plain(levels: set[str], suite: SuiteInfo, plain: Set[str] | None) -> bool:
    """Whether the rate of one of these optimizers was not tuned."""
    return not suite.rates_tuned if plain is None else bool(levels & plain)


def _best_tuned(recipes: pd.DataFrame, plain: Set[str], suite: SuiteInfo) -> dict[str, pd.Series[Any]]:
    """The best recipe of tuned rate, by data set."""
    known = best_recipes(recipes[~recipes["optimizer"].isin(plain)], suite, 1)
    return {row["data"]: row for _, row in known.iterrows()}


def _trials(suite: SuiteInfo, searches: Searches | None) -> str:
    if searches is None or suite.tuning is None:
        return ""
    cells = int((searches.trials["n"] + searches.trials["gaps"]).sum())
    count = wording.count_of(searches.trials["search"].nunique(), "search", "searches")
    seeds = wording.count_of(len(suite.tuning.seeds), "seed")
    return f", {wording.count(cells)} of them trials of {count} on {seeds} of their own"


def _interval(row: pd.Series[Any], measure: str) -> str:
    seeds = wording.count_of(int(row["n"]), "seed")
    ends = wording.interval(row["low"], row["high"], measure)
    return (
        f"no interval, {seeds}"
        if ends == wording.NO_VALUE
        else f"95\N{NO-BREAK SPACE}% t interval {ends}, {seeds}"
    )
