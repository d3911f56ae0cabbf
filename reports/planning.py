"""The power of registered claims before a run: how likely a true smallest effect is told from none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from recipebench.reports.frames import Levels
from recipebench.reports.registered import material
from recipebench.reports.statistics import families, inference
from recipebench.reports.statistics.inference import Floats
from recipebench.reports.suite_info import RegisteredClaim, SuiteInfo

ASSUMED = 1.0
"""The standard deviation of block differences, in smallest effects, where no earlier block tells it."""


class Outlook(NamedTuple):
    """What a claim can be expected to find.

    Args:
        name: of the claim.
        seeds: blocks of each data set that are planned.
        level: of its adjusted interval.
        power: probability to tell a true difference of one smallest effect from none; NaN where it is not
            known.
        basis: where the spread comes from, or why there is no power.
    """

    name: str
    seeds: int
    level: float
    power: float
    basis: str


def outlook(cells: pd.DataFrame, suite: SuiteInfo, levels: Levels) -> list[Outlook]:
    """Return the power of every registered claim, with the spread of what is there already.

    Args:
        cells: all planned cells, those that are not trained yet among them (`frames.cells`).
        suite: its claims and seeds.
        levels: as in `registered.judged`.
    """
    if not suite.claims:
        return []
    level = families.bonferroni(len(suite.claims))
    return [_outlook(cells, suite, claim, levels, level) for claim in suite.claims]


def sentences(outlooks: Sequence[Outlook]) -> list[str]:
    """Tell the power of every claim in a line each, after one that says what it is."""
    if not outlooks:
        return []
    first = outlooks[0]
    told = f"adjusted {100 * first.level:.4g} % intervals, {first.seeds} seeds a data set"
    lines = [f"Power of the registered claims to tell one smallest effect from none ({told}):"]
    for each in outlooks:
        power = "not known" if np.isnan(each.power) else f"{each.power:.2f}"
        lines.append(f"  {power}  {each.name} ({each.basis})")
    return lines


def _outlook(
    cells: pd.DataFrame, suite: SuiteInfo, claim: RegisteredClaim, levels: Levels, level: float
) -> Outlook:
    seeds = len(suite.seeds)
    known = material(cells, suite, claim, levels)
    obstacle = _obstacle(claim, seeds, known.relative)
    if obstacle:
        return Outlook(claim.name, seeds, level, np.nan, obstacle)
    spreads, basis = _spreads(known.blocks.differences, known.data)
    power = inference.power(1.0, inference.planned(spreads, seeds), level)
    return Outlook(claim.name, seeds, level, float(power), basis)


def _obstacle(claim: RegisteredClaim, seeds: int, relative: bool) -> str:
    if claim.scope == "new":
        return "it depends on how new data sets differ"
    if seeds < 2:
        return "one seed has no spread"
    return "" if relative else "its smallest effect is 0"


def _spreads(differences: Floats, data: Sequence[str]) -> tuple[Floats, str]:
    """Return the standard deviation of each data set's blocks, and where it comes from."""
    _, variance, n = inference.strata(differences)
    seen = np.sqrt(variance * n)
    known = ~np.isnan(seen)
    assumed = f"assumed: blocks spread by {ASSUMED:g} smallest effect"
    if not known.any():
        return np.full(len(data), ASSUMED), assumed
    blocks = f"spread of {int(n[known].sum())} blocks in the store"
    if known.all():
        return seen, blocks
    rest = ", ".join(label for label, there in zip(data, known, strict=True) if not there)
    return np.where(known, seen, ASSUMED), f"{blocks}; on {rest} {assumed}"
