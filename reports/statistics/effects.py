"""Sizes of effects, which stand beside every interval, and the error of the test set itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recipebench.errors import RequestError
from recipebench.reports.statistics.inference import strata

Floats = NDArray[np.float64]


class Effects(NamedTuple):
    """How large and how steady a difference is.

    Args:
        superiority: P(first > second) over blocks, ties by half.
        agreeing: data sets whose mean difference has the sign of the overall mean.
        data_sets: number of data sets.
        flips: whether means of both signs occur among the data sets.
        interaction: share of the squared effect that differs between data sets, in [0, 1].
        correlation: between the two levels over blocks, the gain of pairing; NaN where not given.
    """

    superiority: float
    agreeing: int
    data_sets: int
    flips: bool
    interaction: float
    correlation: float = np.nan


def effects(differences: ArrayLike) -> Effects:
    """Return the effect sizes of block differences.

    Args:
        differences: (data sets, seeds), NaN where there is no block.

    Example:
        >>> effects([[1.0, 2.0], [-1.0, 1.0]])[:4]
        (0.75, 1, 2, False)
    """
    values = np.asarray(differences, dtype=np.float64)
    means = strata(values)[0]
    means = means[~np.isnan(means)]
    overall = means.mean() if len(means) else np.nan
    return Effects(
        superiority=superiority(values),
        agreeing=int((np.sign(means) == np.sign(overall)).sum()),
        data_sets=len(means),
        flips=bool((means > 0).any() and (means < 0).any()),
        interaction=interaction_share(values),
    )


def superiority(differences: ArrayLike) -> float:
    """Return P(first > second) over blocks: the share of positive differences, a tie is half of one.

    Args:
        differences: of any shape; NaN where there is no block.

    References:
        McGraw and Wong, A common language effect size statistic, Psychological Bulletin 111 (1992).

    Example:
        >>> superiority([[1.0, 0.0], [-1.0, 2.0]])
        0.625
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(((values > 0) + 0.5 * (values == 0)).mean()) if len(values) else np.nan


def interaction_share(differences: ArrayLike) -> float:
    """Return τ² / (τ² + μ²): how much of the effect is a matter of the data set.

    τ² = variance between the means of the data sets - their mean squared error; μ² = squared mean -
    variance between the means / D; each is 0 where its estimate is negative.

    Args:
        differences: (data sets, seeds), NaN where there is no block.

    Returns:
        In [0, 1]; NaN with one data set, an unknown error, or neither τ² nor μ² above 0.

    References:
        Searle, Casella and McCulloch, Variance Components (1992), 3.6.

    Example:
        >>> interaction_share([[1.0, 1.0], [-1.0, -1.0]]), interaction_share([[1.0, 1.0], [1.0, 1.0]])
        (1.0, 0.0)
    """
    means, variance, _ = strata(differences)
    if len(means) < 2:
        return np.nan
    between = means.var(ddof=1)
    apart = max(between - variance.mean(), 0.0)
    common = max(means.mean() ** 2 - between / len(means), 0.0)
    known = not np.isnan(between + variance.mean()) and apart + common > 0
    return float(apart / (apart + common)) if known else np.nan


def pairing_gain(first: ArrayLike, second: ArrayLike) -> float:
    """Return the correlation of two levels over seeds, inside the data sets: the gain of pairing.

    Pairing multiplies the variance of the difference by about 1 - correlation; near 0 it gains nothing.

    Args:
        first: (data sets, seeds) block means of one level.
        second: (data sets, seeds) of the other.

    Returns:
        In [-1, 1]; NaN where one has no spread.
    """
    one = np.asarray(first, dtype=np.float64)
    two = np.asarray(second, dtype=np.float64)
    one, two = one - one.mean(axis=1, keepdims=True), two - two.mean(axis=1, keepdims=True)
    size = np.sqrt((one**2).sum() * (two**2).sum())
    return float((one * two).sum() / size) if size > 0 else np.nan


def interquartile_mean(scores: ArrayLike) -> float:
    """Return the mean of the middle half of all scores, runs and tasks together.

    Args:
        scores: (runs, tasks), on one scale.

    References:
        Agarwal et al., Deep RL at the edge of the statistical precipice, NeurIPS 2021, 4.3.

    Example:
        >>> interquartile_mean([[1, 2], [2, 2], [1, 1], [2, 1]])
        1.5
    """
    from scipy.stats import trim_mean  # type: ignore[import-untyped]

    return float(trim_mean(np.asarray(scores, dtype=np.float64), 0.25, axis=None))


def probability_of_improvement(first: ArrayLike, second: ArrayLike) -> float:
    """Return P(X > Y) + P(X = Y) / 2 for unpaired runs, averaged over tasks.

    Args:
        first: (runs, tasks).
        second: (other runs, tasks): the number of runs may differ.

    Raises:
        RequestError: the tasks differ in number.

    References:
        Agarwal et al. (2021), 4.3, by the Mann-Whitney statistic.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 2 or two.ndim != 2 or one.shape[1] != two.shape[1]:
        raise RequestError(f"scores: expected (runs, tasks) twice, got {one.shape} and {two.shape}.")
    apart = one[:, None, :] - two[None, :, :]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def accuracy_error(accuracy: ArrayLike, items: int) -> Floats:
    """Return sqrt(a (1 - a) / items): the standard error of an accuracy by its test items.

    It is shared by all runs on one test set and does not shrink with seeds.

    Args:
        accuracy: in [0, 1].
        items: size of the test set.

    Example:
        >>> accuracy_error(0.98, 10_000).round(5).item()
        0.0014
    """
    share = np.asarray(accuracy, dtype=np.float64)
    return np.asarray(np.sqrt(share * (1 - share) / items))


def difference_error(first: ArrayLike, second: ArrayLike) -> float:
    """Return the standard error of a difference of accuracies by the test items that both were asked.

    The standard deviation over items of (share of seeds right, first - second), over sqrt(items).

    Args:
        first: (seeds, items) whether the answer was right.
        second: (seeds, items) of the other level, the same items.

    References:
        McNemar, Psychometrika 12 (1947), of which this is the form with several seeds.

    Raises:
        RequestError: the items differ in number.
    """
    one, two = np.atleast_2d(np.asarray(first, float)), np.atleast_2d(np.asarray(second, float))
    if one.shape[1] != two.shape[1]:
        raise RequestError(f"items: expected the same test set twice, got {one.shape[1]} and {two.shape[1]}.")
    apart = one.mean(axis=0) - two.mean(axis=0)
    return float(apart.std(ddof=1) / np.sqrt(len(apart)))
