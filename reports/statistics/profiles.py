"""Performance profiles of levels over problems: a picture, never a verdict."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recipebench.errors import RequestError

Floats = NDArray[np.float64]


def performance_ratios(costs: ArrayLike) -> Floats:
    """Return cost / smallest cost of the problem; a miss is infinite.

    Args:
        costs: (levels, problems), positive and lower is better (steps to a target, error); infinite for
            a miss, never NaN.

    Raises:
        RequestError: a cost is not positive, or every level misses some problem.

    Example:
        >>> performance_ratios([[1.0, 2.0, np.inf], [2.0, 1.0, 3.0]]).tolist()
        [[1.0, 2.0, inf], [2.0, 1.0, 1.0]]
    """
    values = np.asarray(costs, dtype=np.float64)
    if values.ndim != 2 or not (values > 0).all():
        raise RequestError("costs: expected (levels, problems), positive; a miss is infinite.")
    best = values.min(axis=0)
    if np.isinf(best).any():
        raise RequestError("costs: expected some level to solve each problem; leave out those none solves.")
    return np.asarray(values / best)


def performance_profile(costs: ArrayLike, ratios: ArrayLike) -> Floats:
    """Return ρ(τ): the share of problems that a level solves within τ times the best level's cost.

    Args:
        costs: (levels, problems), as `performance_ratios` takes them.
        ratios: (points,) values τ, at least 1.

    Returns:
        (levels, points) in [0, 1], not falling.

    References:
        Dolan and Moré, Benchmarking optimization software with performance profiles, Math. Programming
        91 (2002).
    """
    found = performance_ratios(costs)
    return np.asarray((found[:, :, None] <= np.asarray(ratios, dtype=np.float64)).mean(axis=1))


def profile_area(costs: ArrayLike, last: float) -> Floats:
    """Return the mean height of the profiles between ratio 1 and `last`, exactly.

    ∫ ρ(τ) dτ / (last - 1) = mean over problems of max(0, last - ratio) / (last - 1).

    Args:
        costs: (levels, problems).
        last: largest ratio, above 1.

    Returns:
        (levels,) in [0, 1].

    Example:
        >>> profile_area([[1.0, 2.0, np.inf], [2.0, 1.0, 3.0]], 4.0).round(6).tolist()  # 5/9 and 8/9
        [0.555556, 0.888889]
    """
    if not last > 1:
        raise RequestError(f"last: expected a ratio above 1, got {last}.")
    return np.asarray(np.maximum(last - performance_ratios(costs), 0.0).mean(axis=1) / (last - 1))
