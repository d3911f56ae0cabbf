"""Levels of a factor against each other: paired effects, ranks, shares of variance, performance profiles.

All of it is exploratory: it describes every factor that was compared, and judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recipebench.reports.frames import ABSENT, compared, endpoint, factors, levels
from recipebench.reports.language import say
from recipebench.reports.statistics import inference, profiles, ranks
from recipebench.reports.statistics.effects import superiority
from recipebench.reports.statistics.families import benjamini_hochberg
from recipebench.reports.statistics.variance import obstacle, variance_shares
from recipebench.reports.suite_info import SuiteInfo
from recipebench.reports.wording import count_of

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEWEST_BLOCKS = 5
"""With fewer blocks, ranks are not averaged."""

EFFECTS = (
    *("data", "factor", "reference", "level", "mean", "low", "high", "p", "p_adjusted", "better"),
    *("n", "pairs", "gaps", "diverged", "unpaired"),
)
SHARES = ("data", "term", "freedom", "squares", "eta2", "omega2", "reason")


class Comparisons(NamedTuple):
    """All comparisons of a report.

    Args:
        effects: `paired_effects`.
        rankings: one a factor.
        shares: `shares`.
        profiles: one a factor; none where no target is declared.
    """

    effects: pd.DataFrame
    rankings: list[Ranking]
    shares: pd.DataFrame
    profiles: list[Profile]


class Grid(NamedTuple):
    """The scores of one data set, by level of one factor, all else paired.

    Args:
        levels: labels of the first axis, in declared order.
        scores: (levels, seeds, others); NaN for gaps and where nothing was planned.
        planned: bool, of the same shape: the cell belongs to the suite.
        diverged: bool, likewise.
    """

    levels: tuple[str, ...]
    scores: Floats
    planned: Mask
    diverged: Mask


class Ranking(NamedTuple):
    """Mean ranks of the levels of a factor over blocks, or why there are none.

    Args:
        factor: whose levels are ranked.
        levels: in declared order; empty where nothing is ranked.
        ranks: (levels,) mean ranks, 1 is best.
        difference: Nemenyi's critical difference at .05.
        groups: levels, by position, that lie closer together than that.
        f: Iman and Davenport's statistic of Friedman's test.
        p: its p-value.
        p_adjusted: Benjamini-Hochberg's over the factors that are ranked.
        blocks: number of (data set, seed) blocks.
        data: the data sets that the blocks are of.
        reason: why nothing is ranked, or empty.
    """

    factor: str
    levels: tuple[str, ...] = ()
    ranks: tuple[float, ...] = ()
    difference: float = np.nan
    groups: tuple[tuple[int, ...], ...] = ()
    f: float = np.nan
    p: float = np.nan
    p_adjusted: float = np.nan
    blocks: int = 0
    data: tuple[str, ...] = ()
    reason: str = ""


class Profile(NamedTuple):
    """What the performance profiles of a factor's levels are made of.

    Args:
        factor: whose levels are compared.
        levels: in declared order.
        costs: (levels, problems) epochs to target; infinite for a miss; every problem solved by a level.
        unsolved: problems that no level solved; they are left out.
        incomplete: problems that lack a level; they are left out.
        last: the largest finite ratio, at least 2: up to it areas are taken.
    """

    factor: str
    levels: tuple[str, ...]
    costs: Floats
    unsolved: int
    incomplete: int
    last: float

    @property
    def areas(self) -> Floats:
        """Mean height of each level's profile between ratio 1 and `last`."""
        return profiles.profile_area(self.costs, self.last)


def compare(
    cells: pd.DataFrame,
    suite: SuiteInfo,
    unranked: Mapping[str, str],
    epochs: pd.Series[float] | None = None,
) -> Comparisons:
    """Compare the levels of all factors that have several.

    Args:
        cells: the reported cells.
        suite: endpoints.
        unranked: factors that must not be ranked, and why.
        epochs: of each cell, to its target; None where no target is declared.
    """
    return Comparisons(
        effects=paired_effects(cells, suite),
        rankings=rankings(cells, suite, unranked),
        shares=shares(cells),
        profiles=[] if epochs is None else performance_profiles(cells, epochs),
    )


def several(cells: pd.DataFrame) -> list[str]:
    """Return the factors that have at least two levels on some data set."""
    return [name for name in compared(cells) if cells.loc[cells[name] != ABSENT, name].nunique() > 1]


def grid(here: pd.DataFrame, factor: str, values: str = "score") -> Grid:
    """Arrange the cells of one data set by level, seed and all other factors.

    Args:
        here: rows of `frames.cells` of one data set.
        factor: whose levels are compared; cells without one are left out.
        values: the column that is arranged; several cells in one place are averaged.
    """
    there = here[here[factor] != ABSENT]
    present = set(there[factor])
    names = [label for label in levels(here, factor) if label in present]
    others = [name for name in factors(here) if name != factor]
    group: Any = there.groupby(others, observed=True, sort=True).ngroup() if others else there["seed"] * 0
    seeds = pd.Index(sorted(there["seed"].unique()))
    place = (
        pd.Index(names).get_indexer(pd.Index(there[factor].astype(object))),
        seeds.get_indexer(pd.Index(there["seed"])),
        group.to_numpy(dtype=int),
    )
    shape = (len(names), len(seeds), int(place[2].max(initial=-1)) + 1)
    total, count = np.zeros(shape), np.zeros(shape)
    planned, diverged = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    np.add.at(total, place, there[values].to_numpy(dtype=float))
    np.add.at(count, place, 1.0)
    planned[place] = True
    np.logical_or.at(diverged, place, (there["status"] == "diverged").to_numpy())
    return Grid(tuple(names), np.where(planned, total, np.nan) / np.maximum(count, 1), planned, diverged)


def paired_effects(cells: pd.DataFrame, suite: SuiteInfo) -> pd.DataFrame:
    """Compare every level with the reference, the first declared one, on each data set.

    Pairs are cells of one seed with the same levels of all other factors; their differences are averaged
    inside each (data set, seed) block, and the blocks give mean, t interval and p.

    Args:
        cells: the reported cells, as `frames.cells` returns them.
        suite: endpoints.

    Returns:
        Columns `EFFECTS`: mean, low and high of level - reference in the endpoint's unit; raw p and
        Benjamini-Hochberg's over all rows; `better`, the share of blocks in which the level is the better
        one; n blocks; pairs that were planned, gaps and pairs with a diverged cell among them; cells of
        either level that have no counterpart in the suite.

    References:
        `inference.block_differences`, `effects.superiority`, `families.benjamini_hochberg`.
    """
    rows: list[list[Any]] = []
    for label, here in cells.groupby("data", observed=True, sort=True):
        sign = 1.0 if endpoint(str(label), suite).direction == "higher" else -1.0
        for factor in several(here):
            found = grid(here, factor)
            rows += [
                [str(label), factor, found.levels[0], found.levels[i], *_effect(found, i, sign)]
                for i in range(1, len(found.levels))
            ]
    frame = pd.DataFrame(rows, columns=[c for c in EFFECTS if c != "p_adjusted"])
    frame["p_adjusted"] = benjamini_hochberg(frame["p"].to_numpy(dtype=float))
    return frame[list(EFFECTS)]


def _effect(found: Grid, i: int, sign: float) -> list[Any]:
    """Mean, low, high, p, better, n, pairs, gaps, diverged and unpaired of one level."""
    both = found.planned[i] & found.planned[0]
    blocks = inference.block_differences(
        found.scores[i][None],
        found.scores[0][None],
        first_diverged=found.diverged[i][None],
        second_diverged=found.diverged[0][None],
        planned=both[None],
    )
    known = blocks.differences[~np.isnan(blocks.differences)][None]
    unpaired = int((found.planned[i] ^ found.planned[0]).sum())
    counts = [known.size, blocks.pairs, blocks.gaps, blocks.diverged, unpaired]
    if not known.size:
        return [np.nan] * 5 + counts
    estimate = inference.over_seeds(known)
    low, high = inference.interval(estimate)
    p = inference.p_values(estimate)
    return [float(estimate.mean), float(low), float(high), float(p), superiority(sign * known), *counts]


def rankings(cells: pd.DataFrame, suite: SuiteInfo, unranked: Mapping[str, str]) -> list[Ranking]:
    """Rank the levels of every compared factor over (data set, seed) blocks.

    Inside a block the scores of a level are averaged over the combinations of the other factors that all
    levels met with a score.

    Args:
        cells: the reported cells.
        suite: endpoints.
        unranked: factors that must not be ranked, and why.

    References:
        Demšar, JMLR 7 (2006), 3.2.2, with blocks of (data set, seed) in place of data sets.
    """
    found = []
    for factor in several(cells):
        reason = unranked.get(factor, "")
        found.append(Ranking(factor, reason=reason) if reason else _ranking(cells, suite, factor))
    tested = [one for one in found if not one.reason]
    adjusted = iter(benjamini_hochberg([one.p for one in tested]).tolist())
    return [one if one.reason else one._replace(p_adjusted=next(adjusted)) for one in found]


def _ranking(cells: pd.DataFrame, suite: SuiteInfo, factor: str) -> Ranking:
    grids = {str(label): grid(here, factor) for label, here in cells.groupby("data", observed=True)}
    names = max((found.levels for found in grids.values()), key=len)
    whole = {label: found for label, found in grids.items() if found.levels == names}
    if len(names) < 3:
        return Ranking(
            factor,
            reason=say(
                "{levels}, of which ranks would say no more than paired effects",
                levels=count_of(len(names), "level"),
            ),
        )
    parts = {label: _block_ranks(found, endpoint(label, suite).direction) for label, found in whole.items()}
    parts = {label: part for label, part in parts.items() if len(part)}
    blocks = np.concatenate([np.zeros((0, len(names))), *parts.values()])
    if len(blocks) < FEWEST_BLOCKS:
        reason = say(
            "{count} blocks in which all levels met the same partners; at least {needed} are needed",
            count=len(blocks),
            needed=FEWEST_BLOCKS,
        )
        return Ranking(factor, reason=reason)
    test, critical = ranks.friedman(blocks), ranks.critical_difference(blocks)
    return Ranking(
        factor,
        levels=names,
        ranks=tuple(test.ranks.tolist()),
        difference=critical.difference,
        groups=critical.groups,
        f=test.f,
        p=test.f_p,
        blocks=len(blocks),
        data=tuple(parts),
    )


def _block_ranks(found: Grid, direction: str) -> Floats:
    """(blocks, levels): the ranks inside each seed, over the partners that all levels share."""
    shared = ~np.isnan(found.scores).any(axis=0)
    count = shared.sum(axis=1)
    there = count > 0
    total = np.where(shared, found.scores, 0.0).sum(axis=2)[:, there]
    return ranks.rank((total / count[there]).T, direction) if there.any() else np.zeros((0, len(total)))


def shares(cells: pd.DataFrame) -> pd.DataFrame:
    """Share out the variance of the scores on each data set over factors, pairs of them, and seeds.

    Args:
        cells: the reported cells.

    Returns:
        Columns `SHARES`, one row a term; a data set whose crossing is not balanced, or has gaps, has one
        row that says so, without numbers.

    References:
        `variance.variance_shares`.
    """
    parts = []
    for label, here in cells.groupby("data", observed=True, sort=True):
        names = several(here)
        if not names:
            continue
        block = "seed" if here["seed"].nunique() > 1 else None
        reason = obstacle(here, names, block=block)
        if reason:
            parts.append(pd.DataFrame([{"data": str(label), "term": "", "reason": reason}]))
            continue
        found = variance_shares(here, names, block=block).rename_axis("term").reset_index()
        parts.append(found.drop(columns="p").assign(data=str(label), reason=""))
    together = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["term"], dtype=object)
    return together.reindex(columns=list(SHARES))


def performance_profiles(cells: pd.DataFrame, epochs: pd.Series[float]) -> list[Profile]:
    """Gather the problems of each compared factor: a data set, a seed, and a level of every other factor.

    Args:
        cells: the reported cells.
        epochs: of each cell, to the target; infinite for a miss, NaN for a gap or without a target.

    Returns:
        One profile a factor of which some level solved some problem.

    References:
        Dolan and Moré, Math. Programming 91 (2002).
    """
    known = cells.assign(epochs=epochs)
    found = []
    for factor in several(cells):
        grids = [grid(here, factor, "epochs") for _, here in known.groupby("data", observed=True, sort=True)]
        names = max((one.levels for one in grids), key=len)
        costs = np.concatenate(
            [one.scores.reshape(len(names), -1) for one in grids if one.levels == names], axis=1
        )
        planned = np.concatenate(
            [one.planned.reshape(len(names), -1) for one in grids if one.levels == names], axis=1
        )
        profile = _profile(factor, names, costs[:, planned.any(axis=0)])
        found += [profile] if profile.costs.size else []
    return found


def _profile(factor: str, names: tuple[str, ...], costs: Floats) -> Profile:
    whole = ~np.isnan(costs).any(axis=0)
    solved = np.isfinite(costs[:, whole]).any(axis=0)
    kept = costs[:, whole][:, solved]
    ratios = profiles.performance_ratios(kept) if kept.size else kept
    last = max(2.0, float(ratios[np.isfinite(ratios)].max(initial=1.0)))
    return Profile(factor, names, kept, int((~solved).sum()), int((~whole).sum()), last)


def interaction(means: pd.DataFrame) -> pd.DataFrame | None:
    """Return by how much each combination departs from the sum of its two levels' own effects.

    mean(a, b) - mean(a) - mean(b) + mean, of the means of one data set, each level weighing alike.

    Args:
        means: rows of `tables.pair_means` of one data set.

    Returns:
        Columns `first, second, departure, n`; None where a combination has no mean.

    Example:
        >>> rows = [("a", "x", 1.0), ("a", "y", 2.0), ("b", "x", 2.0), ("b", "y", 5.0)]
        >>> frame = pd.DataFrame(rows, columns=["first", "second", "mean"]).assign(n=3)
        >>> interaction(frame)["departure"].tolist()
        [0.5, -0.5, -0.5, 0.5]
    """
    wide = means.astype({"first": object, "second": object}).pivot(
        index="first", columns="second", values="mean"
    )
    if wide.isna().any(axis=None) or min(wide.shape) < 2:
        return None
    apart = wide.sub(wide.mean(axis=1), axis=0).sub(wide.mean(axis=0), axis=1) + wide.to_numpy().mean()
    found = means[["first", "second", "n"]].reset_index(drop=True)
    at = [apart.at[a, b] for a, b in zip(found["first"], found["second"], strict=True)]
    return found.assign(departure=at)[["first", "second", "departure", "n"]]
