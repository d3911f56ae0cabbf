"""Means and intervals as pure functions on arrays; gaps are NaN and are counted, never filled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recipebench.errors import RequestError, unknown

Floats = NDArray[np.float64]

METHOD = "Student's t interval of the mean, 95 %, n - 1 degrees of freedom"
SCALES = ("raw", "logit", "log")
"""Scales on which the interval of a mean can be made: as it is, for shares, and for what is positive."""

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


def mean_intervals(values: ArrayLike, scale: str | ArrayLike = "raw", level: float = 0.95) -> Intervals:
    """Return the mean of every row with a t interval that is made on a scale and transformed back.

    g(mean) ± t(1 - alpha/2, n - 1) · g'(mean) · s / sqrt(n), then g⁻¹ of the ends: the mean and its error
    are those of the values, and by the delta method the error is taken to the scale. logit: g(m) =
    log(m / (1 - m)), g'(m) = 1 / (m (1 - m)), for means of shares, whose intervals stay inside 0 and 1;
    log: g'(m) = 1 / m, for means of what is positive. The interval holds the mean, whatever the spread.

    Args:
        values: (rows, seeds), one value a seed; NaN where a seed has none.
        scale: of `SCALES`, one for all rows or one for each. A mean that its scale cannot hold (a logit of
            0, 1 or anything beyond) has its raw interval; where a mean of shares is 0 or 1 all are.
        level: probability 1 - alpha.

    Raises:
        RequestError: a scale is not known.

    References:
        Agresti, Categorical Data Analysis (intervals of transformed estimates by the delta method).

    Example:
        >>> found = mean_intervals([[0.98, 0.99, 1.0]], "logit")
        >>> [round(float(x[0]), 4) for x in found[:3]]
        [0.99, 0.8895, 0.9992]
    """
    plain = t_intervals(values, level)
    scales = np.broadcast_to(np.asarray(scale, dtype=str), plain.mean.shape)
    for name in np.unique(scales):
        if name not in SCALES:
            raise RequestError(unknown("scale", str(name), SCALES))
    low, high = plain.low.copy(), plain.high.copy()
    half = (plain.high - plain.low) / 2
    for name, (inside, to_scale, back) in _SCALES.items():
        with np.errstate(invalid="ignore"):
            at = (scales == name) & inside(plain.mean)
        here = plain.mean[at]
        center, slope = to_scale(here)
        with np.errstate(over="ignore"):
            low[at], high[at] = back(center - slope * half[at]), back(center + slope * half[at])
    return Intervals(plain.mean, low, high, plain.n)


def _expit(values: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-values)))


_SCALES: dict[str, tuple[Callable[[Floats], Any], Callable[[Floats], Any], Callable[[Floats], Floats]]] = {
    "logit": (
        lambda m: (m > 0) & (m < 1),
        lambda m: (np.log(m) - np.log1p(-m), 1 / (m * (1 - m))),
        _expit,
    ),
    "log": (lambda m: m > 0, lambda m: (np.log(m), 1 / m), lambda y: np.asarray(np.exp(y))),
}
"""Where a scale holds a mean; the mean on it and the slope there; and the way back."""
