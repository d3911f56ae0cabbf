"""All numbers of a report, computed once and rendered by the page, the summary and the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from recipebench.errors import RequestError, unknown
from recipebench.reports import (
    choice,
    comparisons,
    frames,
    headline,
    rates,
    registered,
    searches,
    tables,
    targets,
)
from recipebench.reports.comparisons import Comparisons
from recipebench.reports.frames import endpoint
from recipebench.reports.headline import Headline
from recipebench.reports.registered import Judged
from recipebench.reports.searches import Searches
from recipebench.reports.speed import SpeedRun
from recipebench.reports.suite_info import MEAN_SCALES, SuiteInfo

CURVE_SPLITS = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a report says, before it is given a form.

    Args:
        suite: what was planned.
        environments: one dictionary a run: versions, machine, command line.
        everything: `frames.cells`.
        cells: these without the trials of searches.
        counts, reasons, means, recipes, best, outcomes, cost, machines, spreads: as in `tables`.
        pairs: `tables.pair_means` of each pair of factors.
        curves: `tables.curves` of each (factor, measure, split).
        headline: the sentences on top.
        within: `tables.within`.
        verdicts: one a registered claim.
        comparisons: levels against each other: effects, ranks, shares of variance, profiles.
        searches: what tuning gave; None of a suite that tunes nothing.
        reached: `targets.time_to_target`; None where nothing is declared.
        speed: a saved run of the speed suite; None where none is told of.
    """

    suite: SuiteInfo
    environments: Sequence[dict[str, Any]]
    everything: pd.DataFrame
    cells: pd.DataFrame
    counts: pd.DataFrame
    reasons: pd.DataFrame
    means: pd.DataFrame
    recipes: pd.DataFrame
    best: pd.DataFrame
    outcomes: pd.DataFrame
    cost: pd.DataFrame
    machines: pd.DataFrame
    spreads: pd.DataFrame
    pairs: dict[tuple[str, str], pd.DataFrame]
    curves: dict[tuple[str, str, str], pd.DataFrame]
    headline: Headline
    within: pd.DataFrame
    verdicts: list[Judged]
    comparisons: Comparisons
    searches: Searches | None = None
    reached: pd.DataFrame | None = None
    speed: SpeedRun | None = None

    @cached_property
    def factors(self) -> list[str]:
        """The columns that make up a recipe."""
        return frames.factors(self.cells)

    @cached_property
    def data(self) -> list[str]:
        """The data sets that have cells, in declared order."""
        present = set(self.cells["data"])
        return [label for label in frames.levels(self.cells, "data") if label in present]

    @cached_property
    def compared(self) -> list[str]:
        """The factors that have at least two levels; the first one if none has."""
        return frames.compared(self.cells)

    def compared_on(self, data: str) -> list[str]:
        """The factors that have at least two levels on one data set."""
        return self._compared_by_data[data]

    @cached_property
    def _compared_by_data(self) -> dict[str, list[str]]:
        return {label: frames.compared(self.cells[self.cells["data"] == label]) for label in self.data}

    @cached_property
    def untuned(self) -> frozenset[str]:
        """The optimizers whose learning rate was not tuned."""
        return frames.untuned_optimizers(self.cells, self.suite)

    @cached_property
    def rates(self) -> str:
        """Whether the learning rates of the optimizers are `tuned`, `untuned` or `mixed`."""
        return frames.rates(self.cells, self.suite)

    @cached_property
    def fixed(self) -> list[tuple[str, str]]:
        """The factors with a single level on every data set, and that level."""
        same = [f for f in self.factors if f not in self.compared or self.cells[f].nunique() == 1]
        return [(f, " / ".join(self.levels(f))) for f in same if self.levels(f) != [frames.ABSENT]]

    def levels(self, factor: str) -> list[str]:
        """The levels of a factor that have cells, in declared order."""
        present = set(self.cells[factor])
        return [level for level in frames.levels(self.cells, factor) if level in present]


def contents(
    records: pd.DataFrame,
    history: pd.DataFrame,
    suite: SuiteInfo,
    environments: Sequence[dict[str, Any]],
    speed: SpeedRun | None = None,
) -> Contents:
    """Compute all tables of a report; a saved run of the speed suite goes along.

    Raises:
        RequestError: records, history and suite do not fit together; see `frames.cells`.
    """
    everything = frames.cells(records, suite)
    cells = frames.reported(everything)
    history = _reported(history, everything, cells)
    levels = frames.levels_of(records, everything, suite)
    means, recipes = tables.factor_means(cells), choice.recipes(everything, suite, levels)
    counts, spreads = tables.status_counts(everything, suite), tables.spreads(means)
    verdicts = registered.judged(everything, suite, levels) if suite.claims else []
    compared = [f for f in frames.compared(cells) if cells[f].nunique() > 1]
    found = searches.searches(everything, levels, suite, suite.tuning) if suite.tuning is not None else None
    reached, epochs = _reached(records, history, cells, suite)
    against = comparisons.compare(cells, suite, rates.unranked(cells, suite), epochs)
    return Contents(
        suite=suite,
        environments=environments,
        everything=everything,
        cells=cells,
        counts=counts,
        reasons=tables.reasons(everything),
        means=means,
        recipes=recipes,
        best=tables.best(recipes, suite),
        within=tables.within(tables.ranked(recipes, suite), cells),
        verdicts=verdicts,
        outcomes=tables.outcomes(cells),
        cost=tables.cost(cells),
        machines=tables.machines(everything),
        spreads=spreads,
        pairs={pair: tables.pair_means(cells, *pair) for pair in tables.pairs(compared)},
        curves=_curves(history, cells, suite),
        headline=headline.sentences(
            cells, counts, recipes, spreads, suite, verdicts, searches=found, shares=against.shares
        ),
        comparisons=against,
        searches=found,
        reached=reached,
        speed=speed,
    )


def _reached(
    records: pd.DataFrame, history: pd.DataFrame, cells: pd.DataFrame, suite: SuiteInfo
) -> tuple[pd.DataFrame | None, pd.Series[float] | None]:
    """Tell how many cells of each level reached the target, and when each cell did."""
    if suite.targets is None or history.empty:
        return None, None
    values = targets.target_values(records, cells, suite.targets, suite)
    epochs = targets.epochs_to_target(values, history, cells, suite.targets, suite)
    return targets.counted(cells, epochs, values), epochs


def _reported(history: pd.DataFrame, everything: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The history without the cells that were trained as trials only; strangers stay, to be refused."""
    if history.empty or len(everything) == len(cells):
        return history
    trials = set(everything["cell_id"]) - set(cells["cell_id"])
    return history[~history["cell_id"].isin(trials)]


def measures(label: str, suite: SuiteInfo) -> list[str]:
    """Return the measures whose curves are drawn for a data set: the endpoint's own, then the loss."""
    return list(dict.fromkeys([endpoint(label, suite).measure, "loss"]))


def _curves(
    history: pd.DataFrame, cells: pd.DataFrame, suite: SuiteInfo
) -> dict[tuple[str, str, str], pd.DataFrame]:
    if history.empty:
        return {}
    names = frames.compared(cells)
    wanted: dict[str, list[str]] = {}
    for label in frames.levels(cells, "data"):
        for measure in measures(label, suite):
            wanted.setdefault(measure, []).append(label)
    found: dict[tuple[str, str, str], pd.DataFrame] = {}
    for measure, labels in wanted.items():
        for split in CURVE_SPLITS:
            column = f"{split}_{measure}"
            if column not in history.columns:
                raise RequestError(f"history: {unknown('column', column, map(str, history.columns))}")
            values = frames.history_of(history, cells, column)
            values = values[cells.loc[values.index, "data"].isin(labels)]
            scale = MEAN_SCALES.get(measure, "raw")
            found |= {(f, measure, split): tables.curves(values, cells, f, scale) for f in names}
    return found
