"""Shares of variance by factor: a balanced analysis of variance, unbiased by ω²."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pandas as pd

from recipebench.errors import RequestError, unknown


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
        Hays, Statistics, 5th ed., 12.14; Olejnik and Algina, Psychological Methods 8 (2003). Fitted by
        statsmodels `anova_lm`; with balance its types I, II and III agree.
    """
    from statsmodels.formula.api import ols  # type: ignore[import-untyped]
    from statsmodels.stats.anova import anova_lm  # type: ignore[import-untyped]

    columns = [*factors, *([block] if block is not None else [])]
    _check(frame, columns, factors, outcome)
    short = {name: f"f{i}" for i, name in enumerate(columns)}
    plain = pd.DataFrame({short[name]: frame[name].astype(str).to_numpy() for name in columns})
    plain["y"] = frame[outcome].to_numpy(dtype=float)
    terms = {f"C({short[name]})": name for name in columns}
    if interactions:
        for a, b in itertools.combinations(factors, 2):
            terms[f"C({short[a]}):C({short[b]})"] = f"{a} × {b}"
    fit = ols(f"y ~ {' + '.join(terms)}", plain).fit()
    if fit.df_resid < 1:
        raise RequestError("frame: expected more cells than effects, got no freedom for the residual.")
    return _shares(anova_lm(fit, typ=1).rename(index={**terms, "Residual": "residual"}))


def _shares(table: pd.DataFrame) -> pd.DataFrame:
    squares, freedom = (table[c].to_numpy(dtype=float) for c in ("sum_sq", "df"))
    total, noise = squares.sum(), squares[-1] / freedom[-1]  # the residual stands last
    found = pd.DataFrame({"freedom": freedom, "squares": squares}, index=table.index)
    found["eta2"] = squares / total
    found["omega2"] = (squares - freedom * noise) / (total + noise)
    found.loc["residual", "omega2"] = 1 - found["omega2"].drop("residual").sum()
    found["p"] = table["PR(>F)"]
    return found


def _check(frame: pd.DataFrame, columns: Sequence[str], factors: Sequence[str], outcome: str) -> None:
    for name in (*columns, outcome):
        if name not in frame.columns:
            raise RequestError(unknown("column", name, map(str, frame.columns)))
    if frame[[*columns, outcome]].isna().any(axis=None):
        raise RequestError(f"frame: expected no gaps in {', '.join((*columns, outcome))}.")
    counts: Any = frame.groupby(list(columns), observed=True).size()
    full = 1
    for name in columns:
        full *= frame[name].nunique()
    if len(counts) != full or counts.nunique() != 1:
        raise RequestError(
            f"frame: expected each of the {full} combinations of {', '.join(columns)} equally often,"
            f" got {len(counts)} of them, {counts.min()} to {counts.max()} times."
        )
