"""Means and intervals as pure functions on arrays; gaps are NaN and are counted, never filled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

METHOD = "Student's t interval of the mean, 95 %, n - 1 degrees of freedom"
SOURCE = "Student, The probable error of a mean, Biometrika 6 (1908); quantiles from scipy.special.stdtrit"


class Intervals(NamedTuple):
    """Means with the ends of their intervals, one element a row.

    Args:
        mean: mean over the values of a row; NaN where there is none.
        low: lower end; NaN below two values.
        high: upper end; NaN below two values.
        n: number of values.
    """

    mean: Floats
    low: Floats
    high: Floats
    n: NDArray[np.int64]


def t_intervals(values: ArrayLike, level: float = 0.95) -> Intervals:
    """Return mean ± t(1 - alpha/2, n - 1) s / sqrt(n) for every row, over its values that are not NaN.

    Args:
        values: (rows, seeds), one value a seed; NaN where a seed has none.
        level: probability 1 - alpha that the interval covers the mean, for independent normal values.

    References:
        Student, The probable error of a mean, Biometrika 6 (1908).

    Example:
        >>> found = t_intervals([[1.0, 2.0, 3.0]])
        >>> [round(float(x[0]), 3) for x in found]
        [2.0, -0.484, 4.484, 3.0]
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    there = ~np.isnan(array)
    n = there.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.where(there, array, 0.0).sum(axis=1) / np.where(n > 0, n, np.nan)
        squares = np.where(there, array - mean[:, None], 0.0) ** 2
        freedom = np.where(n > 1, n - 1, np.nan)
        half = stdtrit(freedom, (1 + level) / 2) * np.sqrt(squares.sum(axis=1) / freedom / n)
    return Intervals(mean, mean - half, mean + half, n.astype(np.int64))


def mean_over_rows(values: ArrayLike) -> Floats:
    """Return the mean of each column over the rows that have a value; NaN where none has.

    Args:
        values: (rows, columns), NaN for gaps.

    Example:
        >>> mean_over_rows([[1.0, np.nan], [3.0, np.nan]]).tolist()
        [2.0, nan]
    """
    return t_intervals(np.asarray(values, dtype=np.float64).T).mean
