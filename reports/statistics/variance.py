"""Shares of variance by factor: a balanced analysis of variance, unbiased by ω²."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recipebench.errors import RequestError, unknown
from recipebench.reports.language import gettext, listed, say


def variance_shares(
    frame: pd.DataFrame,
    factors: Sequence[str],
    *,
    outcome: str = "score",
    block: str | None = None,
    interactions: bool = True,
) -> pd.DataFrame:
    """Return the share of the variance of a balanced crossing that each factor and each pair explains.

    ω² = (SS - df · MS_residual) / (SS_total + MS_residual), near 0 on average for a factor without
    effect. The naive share η² = SS / SS_total stands beside it: of a factor that does nothing it is
    several percent, the more the fewer seeds there are.

    Args:
        frame: one row a cell, no gaps; one endpoint only, since shares of different endpoints do not mix.
        factors: columns whose levels are crossed, each combination equally often.
        outcome: column of numbers.
        block: column of seeds, taken out of the residual: the draws that all cells of a seed share.
        interactions: whether pairs of factors have shares of their own.

    Returns:
        Indexed by term (`factor`, `factor × factor`, `block`, `residual`): freedom, squares, eta2,
        omega2 (may lie a little below 0), p (of the F test; not for a verdict: cells are not blocks).

    Raises:
        RequestError: a column is lacking, there are gaps, the crossing is not balanced, or no freedom is
            left for the residual.

    References:
        Hays, Statistics, 5th ed., 12.14; Olejnik and Algina, Psychological Methods 8 (2003). With balance
        the sums of squares are those of group means, and types I, II and III agree.
    """
    why = obstacle(frame, factors, outcome=outcome, block=block, interactions=interactions)
    if why:
        raise RequestError(f"frame: {why}.")
    columns = [*factors, *([block] if block is not None else [])]
    scores = frame[outcome].to_numpy(dtype=float)
    apart = scores - scores.mean()
    codes = {name: _codes(frame[name]) for name in columns}
    rows = {name: _between(apart, codes[name]) for name in columns}
    for a, b in itertools.combinations(factors, 2) if interactions else ():
        both = _between(apart, codes[a] * (codes[b].max() + 1) + codes[b])
        freedom = rows[a][0] * rows[b][0]
        rows[f"{a} × {b}"] = (freedom, max(both[1] - rows[a][1] - rows[b][1], 0.0))
    left = len(scores) - 1 - sum(freedom for freedom, _ in rows.values())
    rest = max(float((apart**2).sum()) - sum(squares for _, squares in rows.values()), 0.0)
    return _shares(rows | {"residual": (left, rest)})


def obstacle(
    frame: pd.DataFrame,
    factors: Sequence[str],
    *,
    outcome: str = "score",
    block: str | None = None,
    interactions: bool = True,
) -> str:
    """Say why the variance of a frame cannot be shared out; empty where it can.

    Args:
        frame: as `variance_shares` takes it, and all else.
        factors: likewise.
        outcome: likewise.
        block: likewise.
        interactions: likewise.

    Raises:
        RequestError: a column is lacking.
    """
    columns = [*factors, *([block] if block is not None else [])]
    for name in (*columns, outcome):
        if name not in frame.columns:
            raise RequestError(unknown("column", name, map(str, frame.columns)))
    if not factors or frame.empty:
        return gettext("expected at least one factor and one cell")
    gaps = int(frame[[*columns, outcome]].isna().any(axis=1).sum())
    if gaps:
        return say(
            "expected no gaps, got {gaps} of {cells} cells without a value",
            gaps=f"{gaps:,}",
            cells=f"{len(frame):,}",
        )
    sizes = [int(frame[name].nunique()) for name in columns]
    counts: Any = frame.groupby(list(columns), observed=True).size()
    full = math.prod(sizes)
    if len(counts) != full or counts.nunique() != 1:
        return say(
            "expected each of the {all} combinations of {columns} equally often, got {some} of them, {low} "
            "to {high} times",
            all=f"{full:,}",
            columns=listed(columns),
            some=f"{len(counts):,}",
            low=counts.min(),
            high=counts.max(),
        )
    own = [size - 1 for size in sizes[: len(factors)]]
    used = sum(size - 1 for size in sizes)
    used += sum(a * b for a, b in itertools.combinations(own, 2)) if interactions else 0
    if len(frame) - 1 - used < 1:
        return gettext("expected more cells than effects, got no freedom for the residual")
    values = frame[outcome]
    if values.max() == values.min():
        return gettext("expected scores that differ, got the same everywhere")
    return ""


def _codes(column: pd.Series[Any]) -> NDArray[np.intp]:
    return np.asarray(pd.factorize(column)[0])


def _between(apart: NDArray[np.float64], codes: NDArray[np.intp]) -> tuple[int, float]:
    """Freedom and sum of squares between equally large groups."""
    sums = np.bincount(codes, weights=apart)
    return len(sums) - 1, float((sums**2).sum() / (len(apart) / len(sums)))


def _shares(rows: Mapping[str, tuple[int, float]]) -> pd.DataFrame:
    from scipy.special import fdtrc  # type: ignore[import-untyped]

    index = pd.Index(list(rows))
    freedom, squares = (np.array([row[i] for row in rows.values()], dtype=float) for i in (0, 1))
    total, noise = squares.sum(), squares[-1] / freedom[-1]  # the residual stands last
    found = pd.DataFrame({"freedom": freedom, "squares": squares}, index=index)
    found["eta2"] = squares / total
    found["omega2"] = (squares - freedom * noise) / (total + noise)
    found.loc["residual", "omega2"] = 1 - found["omega2"].drop("residual").sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        found["p"] = fdtrc(freedom, freedom[-1], squares / freedom / noise)
    found.loc["residual", "p"] = np.nan
    return found
