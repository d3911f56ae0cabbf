"""Ranks of levels over data sets: Friedman, Nemenyi, critical differences, Wilcoxon and sign flips.

An overview, never a verdict: whether two levels differ by Nemenyi's test depends on which others are in
the pool (Benavoli, Corani and Mangili, JMLR 17 (2016)).
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recipebench.errors import RequestError, unknown
from recipebench.reports.statistics.families import holm

Floats = NDArray[np.float64]

MOST_ENUMERATED = 16
"""Sign flips of up to so many blocks are enumerated, of more they are drawn."""


class Friedman(NamedTuple):
    """Friedman's test of equal levels.

    Args:
        ranks: (levels,) mean ranks, 1 is best.
        chi2: Friedman's statistic without a correction for ties.
        chi2_p: its p-value, levels - 1 degrees of freedom.
        f: Iman and Davenport's less conservative statistic.
        f_p: its p-value, levels - 1 and (levels - 1)(blocks - 1) degrees of freedom.
        blocks: number of blocks.
    """

    ranks: Floats
    chi2: float
    chi2_p: float
    f: float
    f_p: float
    blocks: int


class Critical(NamedTuple):
    """What a critical-difference diagram draws.

    Args:
        ranks: (levels,) mean ranks, 1 is best.
        difference: mean ranks that lie at least so far apart differ.
        groups: levels, by position, that do not differ from each other: maximal and of two at least.
        alpha: of the critical difference.
    """

    ranks: Floats
    difference: float
    groups: tuple[tuple[int, ...], ...]
    alpha: float


class Signed(NamedTuple):
    """A test of paired differences by signs or ranks.

    Args:
        p: two-sided p-value.
        smallest: smallest p-value that so many blocks can give, 2 / 2^n.
        warning: why it cannot reject, or empty.
    """

    p: float
    smallest: float
    warning: str


def rank(scores: ArrayLike, direction: str = "higher") -> Floats:
    """Rank the levels inside each block, 1 is best; ties share the mean of their ranks.

    Args:
        scores: (blocks, levels), one value each: average over seeds first.
        direction: `higher` or `lower` is better.

    Raises:
        RequestError: there are gaps, or not two axes, or the direction is not known.

    Example:
        >>> rank([[0.9, 0.8, 0.9]]).tolist()
        [[1.5, 3.0, 1.5]]
    """
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    if direction not in ("higher", "lower"):
        raise RequestError(unknown("direction", direction, ("higher", "lower")))
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or np.isnan(values).any():
        raise RequestError(f"scores: expected (blocks, levels) without gaps, got shape {values.shape}.")
    return np.asarray(rankdata(-values if direction == "higher" else values, axis=1))


def friedman(ranks: ArrayLike) -> Friedman:
    """Return Friedman's test from the ranks inside blocks.

    χ² = 12 N / (k (k + 1)) (Σ R_j² - k (k + 1)² / 4), F = (N - 1) χ² / (N (k - 1) - χ²).

    Args:
        ranks: (blocks, levels) as `rank` gives them, or as they were published.

    References:
        Demšar, JMLR 7 (2006), 3.2.2. SciPy's `friedmanchisquare` divides by a correction for ties; see
        `friedman_ties`.

    Raises:
        RequestError: fewer than two blocks or three levels.
    """
    from scipy.special import chdtrc, fdtrc  # type: ignore[import-untyped]

    values = np.asarray(ranks, dtype=np.float64)
    n, k = values.shape
    if n < 2 or k < 3:
        raise RequestError(f"ranks: expected at least 2 blocks and 3 levels, got {n} and {k}.")
    mean = values.mean(axis=0)
    chi2 = 12 * n / (k * (k + 1)) * float((mean**2).sum() - k * (k + 1) ** 2 / 4)
    left = n * (k - 1) - chi2
    f = (n - 1) * chi2 / left if left > 1e-12 else np.inf
    f_p = float(fdtrc(k - 1, (k - 1) * (n - 1), f)) if np.isfinite(f) else 0.0
    return Friedman(mean, chi2, float(chdtrc(k - 1, chi2)), f, f_p, n)


def friedman_ties(scores: ArrayLike) -> tuple[float, float]:
    """Return SciPy's Friedman statistic, corrected for ties, and its p-value.

    Args:
        scores: (blocks, levels).
    """
    from scipy.stats import friedmanchisquare

    found = friedmanchisquare(*np.asarray(scores, dtype=np.float64).T)
    return float(found.statistic), float(found.pvalue)


def critical_difference(ranks: ArrayLike, alpha: float = 0.05) -> Critical:
    """Return Nemenyi's critical difference q sqrt(k (k + 1) / 6N), and groups.

    q is the quantile of the studentized range of k levels, infinite freedom, over sqrt(2).

    Args:
        ranks: (blocks, levels) as `rank` gives them; average over seeds first.
        alpha: error of all pairs together.

    References:
        Demšar, JMLR 7 (2006), 3.2.2 and table 5a.
    """
    from scipy.stats import studentized_range

    values = np.asarray(ranks, dtype=np.float64)
    n, k = values.shape
    q = float(studentized_range.ppf(1 - alpha, k, np.inf)) / np.sqrt(2)
    difference = float(q * np.sqrt(k * (k + 1) / (6 * n)))
    mean = values.mean(axis=0)
    return Critical(mean, difference, _groups(mean, difference), alpha)


def nemenyi(ranks: ArrayLike) -> Floats:
    """Return Nemenyi's p-values of all pairs, by scikit-posthocs.

    Args:
        ranks: (blocks, levels) as `rank` gives them; average over seeds first.

    Returns:
        (levels, levels), 1 on the diagonal.

    Raises:
        RequestError: scikit-posthocs read other levels than these.
    """
    from scikit_posthocs import posthoc_nemenyi_friedman  # type: ignore[import-untyped]

    values = np.asarray(ranks, dtype=np.float64)
    found = posthoc_nemenyi_friedman(values).to_numpy()
    if found.shape != (values.shape[1],) * 2:
        raise RequestError(f"ranks: expected p-values of {values.shape[1]} levels, got shape {found.shape}.")
    return np.asarray(found, dtype=np.float64)


def wilcoxon(differences: ArrayLike) -> Signed:
    """Return Wilcoxon's signed-rank test of paired differences, one a block.

    Args:
        differences: (blocks,); zeros are dropped.

    References:
        Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1 (1945).

    Example:
        >>> wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0])[:2]
        (0.0625, 0.0625)
    """
    from scipy.stats import wilcoxon as of_scipy

    values = _paired(differences)
    values = values[values != 0]
    p = float(of_scipy(values).pvalue) if len(values) else 1.0
    return _signed(p, len(values))


def sign_flip(differences: ArrayLike, generator: np.random.Generator, draws: int = 100_000) -> Signed:
    """Return the two-sided p-value of the mean under random signs of the differences.

    The share of sign patterns whose |mean| is at least the observed one: all 2^n up to 16 blocks, else
    drawn, with the observed pattern counted among them.

    Args:
        differences: (blocks,).
        generator: for the draws.
        draws: number of patterns where they are drawn.

    References:
        Fisher, The Design of Experiments (1935), 21; Phipson and Smyth, SAGMB 9 (2010).
    """
    values = _paired(differences)
    n = len(values)
    if n <= MOST_ENUMERATED:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        extra = 0
    else:
        signs = generator.choice(np.array([-1, 1]), size=(draws, n))
        extra = 1
    bound = abs(values.sum()) - 1e-12 * np.abs(values).sum()
    hits = int((np.abs(signs @ values) >= bound).sum())
    return _signed((hits + extra) / (len(signs) + extra), n)


def with_holm(tests: list[Signed]) -> list[Signed]:
    """Return the tests with Holm's p-values; the smallest possible one grows with their number.

    Args:
        tests: of one family.
    """
    adjusted = holm([test.p for test in tests]).tolist()
    m = len(tests)
    return [
        test._replace(
            p=p,
            smallest=min(1.0, m * test.smallest),
            warning=test.warning or _warning(m * test.smallest, f"{m} comparisons of so few blocks"),
        )
        for test, p in zip(tests, adjusted, strict=True)
    ]


def _groups(mean: Floats, difference: float) -> tuple[tuple[int, ...], ...]:
    """Runs of neighboring mean ranks narrower than the difference, none inside another."""
    order = np.argsort(mean, kind="stable")
    runs = []
    for start, end in combinations(range(len(order)), 2):
        if mean[order[end]] - mean[order[start]] < difference:
            runs.append((start, end))
    widest = [(s, e) for s, e in runs if not any((a <= s and e <= b) and (a, b) != (s, e) for a, b in runs)]
    return tuple(tuple(int(i) for i in order[s : e + 1]) for s, e in widest)


def _paired(differences: ArrayLike) -> Floats:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise RequestError(f"differences: expected (blocks,) without gaps, got shape {values.shape}.")
    return values


def _signed(p: float, n: int) -> Signed:
    smallest = min(1.0, 2.0 / 2**n)
    return Signed(p, smallest, _warning(smallest, f"{n} blocks"))


def _warning(smallest: float, what: str) -> str:
    return f"{what}: no p-value below {min(smallest, 1.0):.3g} is possible" if smallest > 0.05 else ""
