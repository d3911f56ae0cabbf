"""Differences of two levels over (data set, seed) blocks: intervals, p-values, power and seeds needed.

Arrays end in the axes (data sets, seeds); whatever stands before is carried along. A block that does not
exist is NaN. Positive differences mean that the first level is better.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recipebench.errors import RequestError, unknown

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

METHOD = "Welch-Satterthwaite t interval over (data set, seed) blocks, data sets as strata"
SOURCE = "Welch, Biometrika 34 (1947); Satterthwaite, Biometrics Bulletin 2 (1946); Cochran, 1941"

SPREADS_DIFFER = 0.2
"""Level of Cochran's C test at which the spreads of the data sets count as much different."""

POWER = 0.8
"""Probability with which a minimum detectable effect is found."""

MOST_SEEDS = 10_000
"""Where more seeds than these would be needed, the answer is infinity."""

MOST_SHIFT, FAR_SHIFT = 1e3, 6.0
"""Noncentralities beyond which power is 1, and beyond which the opposite tail is 0, to ten digits."""

ALTERNATIVES = ("two-sided", "greater", "less")


class Blocks(NamedTuple):
    """Paired differences, one a block: averaged over all other factors.

    Args:
        differences: (data sets, seeds), diverged cells at chance level; NaN where there is no block.
        without_diverged: the same without the pairs of which a cell diverged; NaN where none is left.
        pairs: number of pairs that were planned.
        gaps: number of planned pairs that lack a score.
        diverged: number of pairs of which a cell diverged.
    """

    differences: Floats
    without_diverged: Floats
    pairs: int
    gaps: int
    diverged: int


class Estimate(NamedTuple):
    """A mean difference with what its t interval needs; all of the shape of the leading axes.

    Args:
        mean: mean over the data sets of their means over seeds.
        error: standard error of `mean`; NaN where a data set has one block only.
        freedom: degrees of freedom of `error`.
    """

    mean: Floats
    error: Floats
    freedom: Floats


def block_differences(
    first: ArrayLike,
    second: ArrayLike,
    *,
    first_diverged: ArrayLike | None = None,
    second_diverged: ArrayLike | None = None,
    planned: ArrayLike | None = None,
) -> Blocks:
    """Return first - second, averaged over all other factors inside each (data set, seed) block.

    Cells of one block share split, batch order and initial draws, so that their differences are not
    independent; blocks are.

    Args:
        first: (data sets, seeds, others) scores of one level, larger is better; diverged cells stand at
            chance level; NaN for gaps.
        second: (data sets, seeds, others) of the other level, paired.
        first_diverged: (data sets, seeds, others) bool; nothing diverged if it is left out.
        second_diverged: likewise.
        planned: (data sets, seeds, others) bool: pairs that the suite contains; all if it is left out.

    Raises:
        RequestError: the shapes differ, or there are not three axes.

    Example:
        >>> found = block_differences([[[3.0, 5.0], [4.0, 4.0]]], [[[1.0, 2.0], [2.0, np.nan]]])
        >>> found.differences.tolist(), found.gaps
        ([[2.5, 2.0]], 1)

    References:
        Kirk, Experimental Design, 4th ed., chapter 8 (randomized blocks).
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 3:
        raise RequestError(
            f"scores: expected two equal shapes (data sets, seeds, others), got {one.shape} and {two.shape}."
        )
    wanted = _mask(planned, one.shape, True)
    lost = (_mask(first_diverged, one.shape, False) | _mask(second_diverged, one.shape, False)) & wanted
    pair = np.where(wanted, one - two, np.nan)
    return Blocks(
        differences=_nanmean(pair),
        without_diverged=_nanmean(np.where(lost, np.nan, pair)),
        pairs=int(wanted.sum()),
        gaps=int((wanted & np.isnan(pair)).sum()),
        diverged=int(lost.sum()),
    )


def divergence_rates(
    first_diverged: ArrayLike, second_diverged: ArrayLike, *, planned: ArrayLike | None = None
) -> Blocks:
    """Return the difference of the shares of cells that diverged, one a block.

    Divergence is nearly determined by the recipe, so that cells are not independent and McNemar's test
    over cells is wrong; blocks are treated like those of a score.

    Args:
        first_diverged: (data sets, seeds, others) bool.
        second_diverged: likewise.
        planned: pairs that the suite contains; all if it is left out.

    Returns:
        Differences in [-1, 1], positive where the first diverges more often; nothing is dropped.
    """
    one, two = (np.asarray(mask, dtype=np.float64) for mask in (first_diverged, second_diverged))
    return block_differences(one, two, planned=planned)


def relative(blocks: Blocks, smallest: ArrayLike) -> Blocks:
    """Divide the differences of each data set by its smallest effect, so that one claim spans all.

    Args:
        blocks: in the unit of the scores.
        smallest: (data sets,) smallest effect that matters, positive, in the same unit.

    Returns:
        Differences without unit: 1 is the smallest effect that matters.

    Raises:
        RequestError: an effect is not positive.
    """
    units = np.asarray(smallest, dtype=np.float64)
    if units.shape != blocks.differences.shape[:1] or not (units > 0).all():
        raise RequestError(
            f"smallest: expected {len(blocks.differences)} positive effects, got {units.tolist()}."
        )
    return blocks._replace(
        differences=blocks.differences / units[:, None],
        without_diverged=blocks.without_diverged / units[:, None],
    )


def over_seeds(differences: ArrayLike) -> Estimate:
    """Estimate the mean difference on these data sets: seeds are random, data sets are fixed strata.

    mean = Σ m_d / D, error² = Σ a_d / D² with a_d = s_d² / n_d, and freedom = (Σ a_d)² / Σ a_d²/(n_d - 1).
    Where the spreads differ much (Cochran's C test of the a_d at level `SPREADS_DIFFER`), freedom is no
    larger than min n_d - 1: Satterthwaite's value is too large where one spread dominates and happens to
    come out small.

    Args:
        differences: (..., data sets, seeds), NaN where there is no block.

    Returns:
        Shapes (...); `mean` is NaN where a data set has no block, `error` where one has a single block.

    References:
        Satterthwaite, An approximate distribution of estimates of variance components (1946);
        Cochran, The distribution of the largest of a set of estimated variances (1941).

    Example:
        >>> found = over_seeds([[1.0, 2.0, 3.0]])
        >>> float(found.mean), float(found.freedom)
        (2.0, 2.0)
    """
    values = np.asarray(differences, dtype=np.float64)
    mean, variance, n = strata(values)
    total = variance.sum(axis=-1)
    return Estimate(mean.mean(axis=-1), np.sqrt(total) / values.shape[-2], _freedom(variance, n))


def over_data_sets(differences: ArrayLike) -> Estimate:
    """Estimate the mean difference on new data sets: data sets are random, one value each.

    Student's t over the D means of the data sets, freedom D - 1; the noise of the seeds is part of their
    spread.

    Args:
        differences: (..., data sets, seeds), NaN where there is no block.

    References:
        Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), 3.1.
    """
    mean, _, _ = strata(differences)
    return over_seeds(mean[..., None, :])


def strata(differences: ArrayLike) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return mean, squared standard error of the mean and number of blocks of every data set.

    Args:
        differences: (..., data sets, seeds), NaN where there is no block.

    Returns:
        Three arrays (..., data sets). The mean of no block and the error of fewer than two are NaN. A
        spread below 1e-12 of the largest value is rounding, and 0.
    """
    values = np.asarray(differences, dtype=np.float64)
    gap = np.isnan(values)
    some = bool(gap.any())
    known = np.where(gap, 0.0, values) if some else values
    n = (~gap).sum(axis=-1) if some else np.full(values.shape[:-1], values.shape[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = known.sum(axis=-1) / np.where(n > 0, n, np.nan)
        apart = known - mean[..., None]
        squares = (np.where(gap, 0.0, apart) if some else apart) ** 2
        variance = squares.sum(axis=-1) / np.where(n > 1, n - 1, np.nan)
    rounding = 1e-12 * np.abs(known).max(axis=-1, initial=0.0)
    return mean, np.where(variance <= rounding**2, 0.0, variance) / np.maximum(n, 1), n.astype(np.int64)


def interval(estimate: Estimate, level: float | Floats = 0.95) -> tuple[Floats, Floats]:
    """Return mean ± t(1 - alpha/2, freedom) · error.

    Args:
        estimate: of any shape.
        level: 1 - alpha, for a family 1 - alpha / claims (`families.bonferroni`).

    Example:
        >>> [round(float(end), 3) for end in interval(over_seeds([[1.0, 2.0, 3.0]]))]
        [-0.484, 4.484]
    """
    half = quantile((1 + np.asarray(level)) / 2, estimate.freedom) * estimate.error
    return estimate.mean - half, estimate.mean + half


def p_values(estimate: Estimate, null: float = 0.0, alternative: str = "two-sided") -> Floats:
    """Return the p-value of mean = null, by Student's t.

    Without spread the p-value is 0, or 1 where the mean equals `null`.

    Args:
        estimate: of any shape.
        null: the difference under the hypothesis.
        alternative: `two-sided`, `greater` or `less`.

    Raises:
        RequestError: the alternative is not known.

    Example:
        >>> round(float(p_values(over_seeds([[1.0, 2.0, 3.0]]))), 4)
        0.0742
    """
    from scipy.special import stdtr  # type: ignore[import-untyped]

    if alternative not in ALTERNATIVES:
        raise RequestError(unknown("alternative", alternative, ALTERNATIVES))
    apart = estimate.mean - null
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where((estimate.error == 0) & (apart == 0), 0.0, apart / estimate.error)
    if alternative == "two-sided":
        same = (estimate.error == 0) & (apart == 0)
        return np.asarray(np.where(same, 1.0, 2 * stdtr(estimate.freedom, -np.abs(t))))
    return np.asarray(stdtr(estimate.freedom, -t if alternative == "greater" else t))


def equivalence_p(estimate: Estimate, margin: float) -> Floats:
    """Return the p-value of two one-sided tests that |difference| < margin.

    The larger of the p-values of difference ≤ -margin and of difference ≥ margin.

    Args:
        estimate: of any shape.
        margin: positive, in the unit of the differences, fixed before the run.

    References:
        Schuirmann, A comparison of the two one-sided tests procedure, J. Pharmacokinetics 15 (1987).

    Raises:
        RequestError: the margin is not positive.
    """
    if not margin > 0:
        raise RequestError(f"margin: expected a positive difference, got {margin}.")
    return np.maximum(p_values(estimate, -margin, "greater"), p_values(estimate, margin, "less"))


def quantile(probability: float | Floats, freedom: ArrayLike) -> Floats:
    """Return the quantile of Student's t; NaN where the degrees of freedom are."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(np.asarray(freedom, dtype=np.float64), probability))


def power(distance: ArrayLike, estimate: Estimate, level: float = 0.95) -> Floats:
    """Return the probability that the interval excludes a value `distance` away from the truth.

    P(|T| > t(1 - alpha/2, freedom)) for T of the noncentral t distribution, ncp = distance / error.

    Args:
        distance: of the true difference from the tested one, for example the smallest effect from 0.
        estimate: its error and freedom are used; before a run, those of `planned`.
        level: 1 - alpha, adjusted for the family.

    References:
        Cohen, Statistical Power Analysis (1988), 2.

    Example:
        >>> round(float(power(3.0, planned([1.0], 5), 0.99)), 3)  # 3 standard deviations, 5 claims
        0.895
    """
    from scipy.special import nctdtr

    bound = quantile((1 + level) / 2, estimate.freedom)
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = np.abs(np.asarray(distance, dtype=np.float64)) / estimate.error
    missed = nctdtr(estimate.freedom, np.minimum(shift, MOST_SHIFT), bound)
    # SciPy gives NaN instead of what is too small for its series.
    missed = np.where(np.isnan(missed) & (shift > bound), 0.0, missed)
    opposite = np.where(
        shift < FAR_SHIFT, nctdtr(estimate.freedom, np.minimum(shift, FAR_SHIFT), -bound), 0.0
    )
    return np.asarray(np.where(np.isinf(shift), 1.0, 1 - missed + opposite))


def detectable(estimate: Estimate, level: float = 0.95, power: float = POWER) -> Floats:
    """Return the minimum detectable effect: the distance that is found with probability `power`.

    error · ncp with P(T(ncp) > t(1 - alpha/2, freedom)) = power.

    Args:
        estimate: its error and freedom are used.
        level: 1 - alpha, adjusted for the family.
        power: above alpha / 2.

    Returns:
        In the unit of the differences; infinite where the error is not known.

    References:
        Bloom, Minimum detectable effects, Evaluation Review 19 (1995).
    """
    from scipy.special import nctdtrinc

    bound = quantile((1 + level) / 2, estimate.freedom)
    found = nctdtrinc(estimate.freedom, 1 - power, bound) * estimate.error
    return np.asarray(np.where(np.isnan(found), np.inf, found))


def planned(spreads: ArrayLike, seeds: int) -> Estimate:
    """Return error and freedom of a run that is only planned; its mean is 0.

    Args:
        spreads: (data sets,) standard deviation of the block differences, from a pilot or an assumption.
        seeds: blocks a data set, at least 2.

    Raises:
        RequestError: fewer than two seeds.
    """
    if seeds < 2:
        raise RequestError(f"seeds: expected at least 2, got {seeds}.")
    a = np.asarray(spreads, dtype=np.float64) ** 2 / seeds
    total = a.sum()
    freedom = (seeds - 1) * (total**2 / (a**2).sum() if total > 0 else 1.0)
    return Estimate(np.zeros(()), np.sqrt(total) / np.asarray(len(a)), np.asarray(freedom))


def seeds_needed(
    distance: float, spreads: ArrayLike, level: float = 0.95, power_wanted: float = POWER
) -> float:
    """Return the smallest number of seeds a data set with which `power` reaches the one wanted.

    Args:
        distance: of the true difference from the tested one; the observed distance stands in for it, so
            that the answer is a rough one.
        spreads: (data sets,) standard deviations of the block differences.
        level: 1 - alpha, adjusted for the family.
        power_wanted: probability that the interval excludes the tested difference.

    Returns:
        At least 2; infinite above `MOST_SEEDS`; NaN where a spread is not known.

    Example:
        >>> seeds_needed(3.0, [1.0], 0.95)
        4.0
    """
    if np.isnan(spreads).any() or math.isnan(distance):
        return math.nan

    def enough(seeds: int) -> bool:
        return bool(power(distance, planned(spreads, seeds), level) >= power_wanted)

    seeds = _by_normal(distance, spreads, level, power_wanted)
    if seeds > MOST_SEEDS:
        return math.inf
    n = max(2, int(seeds))
    while n > 2 and enough(n - 1):
        n -= 1
    while not enough(n):
        n += 1
    return float(n) if n <= MOST_SEEDS else math.inf


def _by_normal(distance: float, spreads: ArrayLike, level: float, power_wanted: float) -> float:
    """Seeds if the errors were known: (z + z')² Σ s² / (D distance)², a few fewer than Student's t needs."""
    from scipy.special import ndtri

    of = np.asarray(spreads, dtype=np.float64)
    z = float(ndtri((1 + level) / 2) + ndtri(power_wanted))
    noise = float((of**2).sum()) * (z / len(of)) ** 2
    return noise / distance**2 if distance**2 > 0 else math.inf


def seeds_for_equivalence(
    distance: float, spreads: ArrayLike, level: float = 0.95, power_wanted: float = POWER
) -> float:
    """Return the smallest number of seeds with which two one-sided tests succeed often enough.

    Args:
        distance: of the true difference from the nearer margin, inside it.
        spreads: (data sets,) standard deviations of the block differences.
        level: 1 - alpha, adjusted for the family; each test is one-sided at alpha.
        power_wanted: probability of success, of the test at the nearer margin.

    Returns:
        As `seeds_needed`; infinite where the difference does not lie inside the margin.
    """
    return seeds_needed(distance, spreads, 2 * level - 1, power_wanted) if distance > 0 else math.inf


def family_freedom(differences: ArrayLike) -> Floats:
    """Return the degrees of freedom that the spreads of a whole family allow.

    Each claim's shares of variance a_d / Σ a are averaged over the claims; freedom is 1 / Σ share² /
    (n_d - 1). Adjusted intervals reach far into the tail, where a claim is decided by the draw in which
    the dominating spread came out small; the other claims tell that it is a dominating one.

    Args:
        differences: (..., claims, data sets, seeds), NaN where there is no block.

    Returns:
        (..., claims) an upper bound for the freedom of each claim; NaN where no claim has a spread.

    References:
        Satterthwaite (1946), with shares pooled over the family.
    """
    _, variance, n = strata(differences)
    total = variance.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = _nanmean(np.moveaxis(variance / total, -2, -1))[..., None, :]
        return np.asarray(1 / (share**2 / np.maximum(n - 1, 1)).sum(axis=-1))


def at_most(estimate: Estimate, freedom: ArrayLike) -> Estimate:
    """Return the estimate with its freedom lowered to a bound; a bound that is NaN bounds nothing."""
    return estimate._replace(
        freedom=np.where(np.isnan(freedom), estimate.freedom, np.minimum(estimate.freedom, freedom))
    )


def _freedom(variance: Floats, n: NDArray[np.int64]) -> Floats:
    least = n.min(axis=-1) - 1.0
    total = variance.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = total**2 / (variance**2 / (n - 1)).sum(axis=-1)
        dominated = variance.max(axis=-1) / total > _largest_share(least, variance.shape[-1])
    found = np.where((total == 0) | dominated, least, found)
    return np.asarray(np.where(np.isnan(total), np.nan, found))


def _largest_share(freedom: Floats, count: int) -> Floats:
    """Critical value of Cochran's C: 1 / (1 + (D - 1) / F) with F at level / D."""
    from scipy.special import fdtri

    if count == 1:
        return np.full(freedom.shape, np.inf)
    kinds, where = np.unique(freedom, return_inverse=True)
    with np.errstate(invalid="ignore"):
        bound = fdtri(kinds, (count - 1) * kinds, 1 - SPREADS_DIFFER / count)
    return np.asarray((bound / (bound + count - 1))[where.reshape(freedom.shape)])


def _mask(given: ArrayLike | None, shape: tuple[int, ...], default: bool) -> Mask:
    mask = np.full(shape, default) if given is None else np.asarray(given, dtype=bool)
    if mask.shape != shape:
        raise RequestError(f"mask: expected the shape of the scores, {shape}, got {mask.shape}.")
    return mask


def _nanmean(values: Floats) -> Floats:
    there = ~np.isnan(values)
    n = there.sum(axis=-1)
    return np.asarray(np.where(there, values, 0.0).sum(axis=-1) / np.where(n > 0, n, np.nan))
