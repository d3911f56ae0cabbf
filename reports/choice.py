"""Which recipe is the best: chosen by validation scores, on tuning seeds where recipes were tuned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from recipebench.reports import tables
from recipebench.reports.frames import (
    ABSENT,
    Levels,
    Named,
    compared,
    data_name,
    factors,
    is_chosen,
    reported,
    tuned_factors,
)
from recipebench.reports.statistics.intervals import t_intervals
from recipebench.reports.suite_info import SuiteInfo


def recipe_scores(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the validation score by which each recipe is chosen.

    Of a tuned recipe it is the mean of the trial that its search chose, over the tuning seeds, which no
    reported cell uses; of any other the mean over the reporting seeds.

    Args:
        cells: all cells, trials among them.

    Returns:
        Columns `data, <factor>…, validation, fresh`, one row a recipe and data set, in declared order:
        `fresh` is whether the score is of other seeds than the reported ones; `validation` is NaN where
        it is not known, as of a search that is not finished.
    """
    keys = ["data", *factors(cells)]
    rows = reported(cells)
    tuned = [f"{factor}.tuned" for factor in tuned_factors(cells)]
    rows = rows.assign(fresh=rows[tuned].notna().any(axis=1) if tuned else False)
    groups = rows.groupby(keys, observed=True, sort=True)
    found = groups.agg(validation=("validation", "mean"), fresh=("fresh", "any"))
    if tuned:
        best = cells[(cells["role"] == "trial") & is_chosen(cells["chosen"])]
        trial = best.groupby(keys, observed=True, sort=True)["validation"].agg(lambda s: s.mean(skipna=False))
        found["validation"] = found["validation"].where(~found["fresh"], trial.reindex(found.index))
    return found.reset_index()


def recipes(everything: pd.DataFrame, suite: SuiteInfo, levels: Levels) -> pd.DataFrame:
    """Return all recipes: their means, by what each is chosen, and how far it is behind the one that is.

    Args:
        everything: all cells, trials among them: `frames.cells`.
        suite: what was planned.
        levels: what the labels of the tuned factors stand for: `frames.levels_of`.

    Returns:
        `tables.recipes` with the columns of `with_choice` and `with_distance`.
    """
    cells = reported(everything)
    known = with_choice(tables.recipes(cells), everything, levels)
    return with_distance(known, tables.ranked(known, suite), cells)


def with_choice(recipes: pd.DataFrame, cells: pd.DataFrame, levels: Levels) -> pd.DataFrame:
    """Add to the table of recipes by what each is chosen, and whether it can be.

    Where a level was tuned, its default form (the same name, nothing tuned) had fewer chances to look
    good, and is no candidate. Where all candidates of a data set are tuned, tuning seeds choose among
    them; otherwise the reporting seeds choose among all, and the choice is optimistic.

    Args:
        recipes: `tables.recipes`.
        cells: all cells, trials among them.
        levels: what the labels of the tuned factors stand for.

    Returns:
        The same rows with `validation` (the score that chooses), `fresh` (whether it is of seeds that are
        not reported) and `candidate`.
    """
    keys = ["data", *factors(cells)]
    scores = recipe_scores(cells)
    found = recipes.merge(scores, on=keys, how="left", validate="one_to_one", sort=False)
    found["candidate"] = True
    for factor in tuned_factors(cells):
        found.loc[found[factor].isin(_defaults(levels.get(factor, {}))), "candidate"] = False
    fresh = found["data"].map(found[found["candidate"]].groupby("data", observed=True)["fresh"].all())
    found["fresh"] = fresh.astype(object).fillna(value=False).astype(bool)
    here = _on_reporting_seeds(cells, keys)
    found["validation"] = found["validation"].where(
        found["fresh"], here.reindex(_index(found, keys)).to_numpy()
    )
    return found


def with_distance(recipes: pd.DataFrame, ranked: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Add to the table of recipes how far each lies behind the first one of its data set.

    The difference is taken inside each seed, which is the block, and then averaged.

    Args:
        recipes: as `with_choice` returns them.
        ranked: `tables.ranked` of them, whose first row of a data set is its first recipe.
        cells: the reported cells.

    Returns:
        The same rows with `behind, behind_low, behind_high`: the first recipe's score minus this one's,
        whatever way is better, with its 95 % t interval over seeds; NaN where it is not known.
    """
    keys = ["data", *factors(cells)]
    scores = cells.groupby([*keys, "seed"], observed=True, sort=True)["score"].mean().unstack("seed")
    values = scores.to_numpy(dtype="float64")
    rows = _index(scores.index.to_frame(index=False), keys)
    first = ranked[ranked["place"] == 1]
    place = dict(zip(first["data"].astype(str), rows.get_indexer(_index(first, keys)), strict=True))
    winner = np.array([place.get(str(label), -1) for label in scores.index.get_level_values("data")])
    apart = np.where((winner >= 0)[:, None], values[winner] - values, np.nan)
    found = t_intervals(apart)
    order = rows.get_indexer(_index(recipes, keys))
    ends = {"behind": found.mean, "behind_low": found.low, "behind_high": found.high}
    return recipes.assign(**{name: end[order] for name, end in ends.items()})


def best_within(
    here: pd.DataFrame, factor: str, suite: SuiteInfo
) -> tuple[pd.DataFrame, dict[tuple[str, str], str]]:
    """Keep of every level of a factor the best recipe on each data set, chosen on the tuning seeds.

    Args:
        here: cells of tuned recipes, their trials among them.
        factor: of the levels.
        suite: tells which of two validation scores is better.

    Returns:
        The cells of the chosen recipes without their other factors, and each choice in words by data set
        and level. Where a search is not finished nothing can be chosen: the scores are gaps.
    """
    names = factors(here)
    scores = recipe_scores(here)
    kept, told = [], {}
    rows, key = reported(here), ["data", *names]
    plain = _index(rows, key)
    for (data, level), group in scores.groupby(["data", factor], observed=True, sort=True):
        best = _best(group, suite, str(data))
        choice = group.iloc[best or 0]
        mine = rows[plain == tuple(str(choice[name]) for name in key)]
        kept.append(mine if best is not None else mine.assign(score=np.nan))
        others = [n for n in compared(here[here["data"] == data]) if n != factor and choice[n] != ABSENT]
        told[str(data), str(level)] = " + ".join(str(choice[n]) for n in others) if best is not None else ""
    together = pd.concat(kept) if kept else rows.iloc[:0]
    return together.drop(columns=[name for name in names if name != factor]), told


def _best(group: pd.DataFrame, suite: SuiteInfo, data: str) -> int | None:
    """Return the place of the best score, the first of equals; None where one is not known."""
    scores = group["validation"].to_numpy(dtype="float64")
    if np.isnan(scores).any():
        return None
    higher = suite.criterion(data_name(data, suite)).direction == "higher"
    return int(scores.argmax() if higher else scores.argmin())


def _defaults(levels: Mapping[str, Named]) -> list[str]:
    tuned = {level.name for level in levels.values() if level.tuned}
    return [label for label, level in levels.items() if not level.tuned and level.name in tuned]


def _on_reporting_seeds(cells: pd.DataFrame, keys: list[str]) -> pd.Series[float]:
    found = reported(cells).groupby(keys, observed=True, sort=True)["validation"].mean()
    found.index = _index(found.reset_index(), keys)
    return found


def _index(frame: pd.DataFrame, keys: list[str]) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(frame[keys].astype(str))
