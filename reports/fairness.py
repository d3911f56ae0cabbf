"""Whether searches were fair: equal trials, equal spaces, seeds of their own, choices by validation alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recipebench.errors import RequestError
from recipebench.reports.frames import is_chosen, validation_scores
from recipebench.reports.statistics.tuning import choose
from recipebench.reports.suite_info import Range, Tuning, names_of

GAPS = ("failed", "missing")
"""Statuses that leave a search unfinished."""


def check_fair(trials: pd.DataFrame, reported: pd.DataFrame, tuning: Tuning) -> None:
    """Make sure that no level had an advantage over another in how it was tuned.

    Args:
        trials: the records of the searches' trials.
        reported: the records of the reported cells.
        tuning: how the searches were planned.

    Raises:
        RequestError: a tuning seed is a reporting seed; two searches of a data set have different
            numbers of trials, or a trial was not trained on each of the tuning seeds; a value lies
            outside of its declared space, or the values of a level differ between searches; a search
            chose another trial than validation does, or a report another value than its search.

    References:
        Sivaprasad et al., Optimizer benchmarking needs to account for hyperparameter tuning, ICML 2020;
        Cawley and Talbot, On over-fitting in model selection, JMLR 11 (2010).
    """
    _check_seeds(trials, reported, tuning)
    _check_efforts(trials, tuning)
    _check_spaces(trials, tuning)
    scores = validation_scores(trials, tuning.criterion)
    chosen = {
        str(search): _check_choice(part, scores[part.index], tuning)
        for search, part in trials.groupby("search", sort=True)
    }
    _check_reported(reported, trials, chosen)


def _check_seeds(trials: pd.DataFrame, reported: pd.DataFrame, tuning: Tuning) -> None:
    shared = sorted((set(tuning.seeds) | set(trials["seed"])) & set(reported["seed"]))
    if shared:
        raise RequestError(
            "tuning: expected tuning seeds that no reported cell uses, or the choice profits from their "
            f"luck; got {', '.join(map(str, shared))} in both."
        )


def _check_efforts(trials: pd.DataFrame, tuning: Tuning) -> None:
    for data, part in trials.groupby("data", sort=True):
        efforts: dict[tuple[int, int], pd.DataFrame] = {}
        for _, search in part.groupby("search", sort=True):
            efforts.setdefault((search["trial"].nunique(), len(search)), search)
        told = [f"{n} trials ({cells} cells) of {_told(search)}" for (n, cells), search in efforts.items()]
        if len(efforts) > 1:
            raise RequestError(
                f"tuning on {data}: expected as many trials for every search, got {' and '.join(told)}."
            )
        if set(efforts) != {(tuning.trials, tuning.trials * len(tuning.seeds))}:
            raise RequestError(
                f"tuning on {data}: expected {tuning.trials} trials on {len(tuning.seeds)} seeds each, "
                f"got {told[0]}."
            )
    strange = trials.loc[~trials["seed"].isin(tuning.seeds), "seed"]
    if len(strange) or trials.duplicated(["search", "trial", "seed"]).any():
        raise RequestError(
            f"tuning: expected each trial once on each of the seeds {', '.join(map(str, tuning.seeds))}."
        )


def _check_spaces(trials: pd.DataFrame, tuning: Tuning) -> None:
    for factor in _tuned_factors(trials):
        known = trials[trials[f"{factor}.tuned"].notna()]
        for (level, tuned), part in known.groupby([factor, f"{factor}.tuned"], sort=True):
            spaces = [s for s in tuning.spaces if (s.factor, s.level, s.tuned) == (factor, level, tuned)]
            if not spaces:
                raise RequestError(f"tuning: expected a declared space for {tuned} of {level}, got none.")
            for name in names_of(str(tuned)):
                ranges = [space.ranges[name] for space in spaces]
                _check_inside(part, f"{factor}.{name}", ranges, f"{level}: {name}")
                if tuning.rounds == 1 and len(spaces) == 1:
                    _check_same_values(part, f"{factor}.{name}", f"{level}: {name}")


def _check_inside(part: pd.DataFrame, column: str, ranges: list[Range], what: str) -> None:
    values = pd.to_numeric(part[column]).dropna().astype("float64")
    inside = pd.Series(False, index=values.index)
    for limits in ranges:
        slack = 1e-9 * (limits.high - limits.low)
        inside |= values.between(limits.low - slack, limits.high + slack)
    if not inside.all():
        where = values[~inside].index[0]
        told = " or ".join(f"{limits.low:g} to {limits.high:g}" for limits in ranges)
        raise RequestError(
            f"{what}: expected values from one space on all data sets, {told}, got {values[where]:g} on "
            f"{part.loc[where, 'data']}."
        )


def _check_same_values(part: pd.DataFrame, column: str, what: str) -> None:
    tried: dict[tuple[float, ...], str] = {}
    for _, search in part.groupby("search", sort=True):
        values = pd.to_numeric(search[column]).dropna().astype("float64")
        if len(values) == len(search):
            tried.setdefault(tuple(sorted(set(values))), str(search["data"].iloc[0]))
    if len(tried) > 1:
        (one, first), (other, second) = list(tried.items())[:2]
        raise RequestError(
            f"{what}: expected the same values in all searches of the level, got {_ends(one)} on {first} and "
            f"{_ends(other)} on {second}."
        )


def _check_choice(search: pd.DataFrame, scores: pd.Series[Any], tuning: Tuning) -> int | None:
    """Return the trial that a search chose; None where it is not finished."""
    marked = {int(trial) for trial in search.loc[is_chosen(search["chosen"]), "trial"]}
    if search["status"].isin(GAPS).any():
        if marked:
            raise RequestError(
                f"{_told(search)}: expected no choice before all trials are done, got {marked}."
            )
        return None
    goal = tuning.criterion[str(search["data"].iloc[0])]
    table = scores.groupby([search["trial"].astype(int), search["seed"]]).first().unstack("seed")
    wanted = {int(table.index[choose(table, goal.direction).position])}
    if marked != wanted and np.isfinite(table.to_numpy()).any():
        raise RequestError(
            f"{_told(search)}: expected the choice of trial {_told_trials(wanted, table)}, the "
            f"first with the best mean {goal.column} over the tuning seeds, got "
            f"{_told_trials(marked, table)}."
        )
    return min(marked, default=None)


def _check_reported(reported: pd.DataFrame, trials: pd.DataFrame, chosen: dict[str, int | None]) -> None:
    for search, part in reported[reported["search"].notna()].groupby("search", sort=True):
        done = part[~part["status"].isin(GAPS)]
        if search not in chosen:
            raise RequestError(f"{_told(part)}: expected the trials of its search, got none.")
        if done.empty:
            continue
        own = trials[(trials["search"] == search) & (trials["trial"] == chosen[str(search)])]
        if own.empty:
            raise RequestError(f"{_told(part)}: expected no report before its search has chosen, got one.")
        for factor in _tuned_factors(own):
            for name in names_of(str(own[f"{factor}.tuned"].iloc[0])):
                column = f"{factor}.{name}"
                value, values = float(own[column].iloc[0]), pd.to_numeric(done[column]).astype("float64")
                got = values[values != value]
                if len(got):
                    raise RequestError(
                        f"{_told(part)}: expected the chosen {column}, {value:g}, in its report, got "
                        f"{got.iloc[0]:g}."
                    )


def _tuned_factors(records: pd.DataFrame) -> list[str]:
    marks = [str(c) for c in records.columns if str(c).endswith(".tuned")]
    return [
        m.removesuffix(".tuned")
        for m in marks
        if m.removesuffix(".tuned") in records and records[m].notna().any()
    ]


def _told(search: pd.DataFrame) -> str:
    row = search.iloc[0]
    names = [f"{row[f]} ({row[f'{f}.tuned']} tuned)" for f in _tuned_factors(search)]
    return f"{' + '.join(names)} on {row['data']} (search {row['search']})"


def _told_trials(numbers: set[int], table: pd.DataFrame) -> str:
    told = [f"{n} ({table.loc[n].mean():.6g})" for n in sorted(numbers) if n in table.index]
    return ", ".join(told) or "none"


def _ends(values: tuple[float, ...]) -> str:
    return f"{len(values)} values from {values[0]:g} to {values[-1]:g}"
