"""What tuning gives: expected best of k trials, choice of a value, width of its optimum, rank by budget."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recipebench.errors import RequestError, unknown

Floats = NDArray[np.float64]

SCALES = ("log", "linear")


class Chosen(NamedTuple):
    """The value that validation chooses.

    Args:
        position: of the best trial; the first of equals.
        edge: whether it is the first or the last of the grid: extend it, or the claim is inconclusive.
    """

    position: int
    edge: bool


class Width(NamedTuple):
    """How wide the good part of a sensitivity curve is.

    Args:
        width: of the values within the tolerance of the best one: decades for `log`, else in their unit.
        share: of the whole range.
        edge: whether it reaches an end of the range, so that it is wider than is known.
    """

    width: float
    share: float
    edge: bool


def expected_best(scores: ArrayLike, direction: str = "higher") -> Floats:
    """Return the expected best of k trials for k = 1 … N, without bias.

    Σ_i C(i - 1, k - 1) / C(N, k) x_(i): the mean of the best over all subsets of k of the N trials.
    (Drawing with replacement, as Dodge et al. (2019) do, is biased to pessimism.)

    Args:
        scores: (..., N) final scores of independent trials, no gaps: a diverged trial stands at chance.
        direction: `higher` or `lower` is better.

    Returns:
        (..., N), the k-th entry for k + 1 trials.

    Raises:
        RequestError: there are gaps or no trials, or the direction is not known.

    References:
        Tang et al., Showing your work doesn't always work, ACL 2020, 3.

    Example:
        >>> expected_best([3.0, 1.0, 2.0]).round(4).tolist()
        [2.0, 2.6667, 3.0]
    """
    values = _scores(scores, direction)
    ordered = np.sort(values, axis=-1)
    n = ordered.shape[-1]
    found = ordered @ _weights(n)
    return np.asarray(found if direction == "higher" else -found)


def choose(scores: ArrayLike, direction: str = "higher") -> Chosen:
    """Choose a trial by its validation scores, on seeds that no reported cell uses.

    The means over seeds are summed exactly, so that equal scores in another order stay equal.

    Args:
        scores: (trials, seeds) validation scores in the order of the grid; no gaps.
        direction: `higher` or `lower` is better.

    Example:
        >>> choose([[0.1, 0.2], [0.8, 0.9], [0.7, 0.9]])
        Chosen(position=1, edge=False)
    """
    values = _scores(scores, direction)
    mean = np.array([math.fsum(row) / len(row) if np.isfinite(row).all() else -np.inf for row in values])
    best = int(mean.argmax())
    return Chosen(best, best in (0, len(mean) - 1))


def near_optimal(
    values: ArrayLike, scores: ArrayLike, tolerance: float, *, direction: str = "higher", scale: str = "log"
) -> Width:
    """Return how wide the range of a hyper-parameter is in which the score is nearly the best one.

    The curve is linear between trials; its parts within `tolerance` of the best trial are added up.

    Args:
        values: (trials,) of the hyper-parameter, rising; positive for `log`.
        scores: (trials,) means over seeds; no gaps.
        tolerance: above 0, in the unit of the scores.
        direction: `higher` or `lower` is better.
        scale: `log` or `linear`.

    Raises:
        RequestError: the values do not rise, the lengths differ, or an option is not known.

    References:
        Sivaprasad et al., Optimizer benchmarking needs to account for hyperparameter tuning, ICML 2020.

    Example:
        >>> near_optimal([0.01, 0.1, 1.0], [0.5, 0.9, 0.5], 0.1)
        Width(width=0.5, share=0.25, edge=False)
    """
    if scale not in SCALES:
        raise RequestError(unknown("scale", scale, SCALES))
    x, y = np.asarray(values, dtype=np.float64), _scores(scores, direction)
    if x.shape != y.shape or len(x) < 2 or not (np.diff(x) > 0).all() or (scale == "log" and x[0] <= 0):
        raise RequestError(f"values: expected rising values, one a score ({y.shape}), got {x.tolist()}.")
    if not tolerance > 0:
        raise RequestError(f"tolerance: expected a positive difference, got {tolerance}.")
    if scale == "log":
        x = np.log10(x)
    above = y - (y.max() - tolerance)
    width = float((np.diff(x) * _inside(above[:-1], above[1:])).sum())
    return Width(
        round(width, 12), round(width / float(x[-1] - x[0]), 12), bool(max(above[0], above[-1]) >= 0)
    )


def rank_by_budget(scores: ArrayLike, direction: str = "higher") -> Floats:
    """Return the mean rank of each level when every level may try k trials, for k = 1 … N.

    Ranks of the expected best of k (`expected_best`) inside each data set, averaged over data sets.

    Args:
        scores: (data sets, levels, N) scores of the trials, as many for each level.
        direction: `higher` or `lower` is better.

    Returns:
        (N, levels), 1 is best.

    References:
        Sivaprasad et al. (2020), 4; Schmidt, Schneider and Hennig, Descending through a crowded valley,
        ICML 2021.
    """
    best = expected_best(scores, direction)
    if best.ndim != 3:
        raise RequestError(f"scores: expected (data sets, levels, trials), got shape {best.shape}.")
    return mean_ranks(best if direction == "higher" else -best)


def mean_ranks(best: ArrayLike) -> Floats:
    """Return the rank of each level inside each data set, 1 for the highest, averaged over data sets.

    Args:
        best: (data sets, levels, N) of which more is better.

    Returns:
        (N, levels); equal values share the mean of their ranks.
    """
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    return np.asarray(rankdata(-np.asarray(best, dtype=np.float64), axis=1).mean(axis=0).T)


def _weights(n: int) -> Floats:
    """C(i - 1, k - 1) / C(n, k) for order statistic i (row) and budget k (column)."""
    from scipy.special import gammaln  # type: ignore[import-untyped]

    i, k = np.arange(1, n + 1)[:, None], np.arange(1, n + 1)[None, :]
    low = np.maximum(i - k, 0)
    ways = gammaln(i) - gammaln(k) - gammaln(low + 1)
    of = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.where(i >= k, np.exp(ways - of), 0.0)


def _inside(left: Floats, right: Floats) -> Floats:
    """Share of a segment from height `left` to `right` that lies at 0 or above."""
    with np.errstate(invalid="ignore", divide="ignore"):
        crossing = np.maximum(left, right) / np.abs(right - left)
    both = (left >= 0) & (right >= 0)
    neither = (left < 0) & (right < 0)
    return np.where(both, 1.0, np.where(neither, 0.0, crossing))


def _scores(scores: ArrayLike, direction: str) -> Floats:
    if direction not in ("higher", "lower"):
        raise RequestError(unknown("direction", direction, ("higher", "lower")))
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0 or np.isnan(values).any():
        raise RequestError("scores: expected at least one trial and no gaps.")
    return values if direction == "higher" else -values
