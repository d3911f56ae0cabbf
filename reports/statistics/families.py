"""Many claims at once: Holm and Bonferroni for the registered ones, Benjamini-Hochberg for the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recipebench.errors import RequestError

Floats = NDArray[np.float64]

REGISTERED = "registered: Holm p-values, Bonferroni intervals"
EXPLORATORY = "exploratory: Benjamini-Hochberg, no verdict"


def bonferroni(claims: int, alpha: float = 0.05) -> float:
    """Return the level 1 - alpha / claims at which each interval of a family is made.

    All intervals together then cover with probability 1 - alpha at least.

    Args:
        claims: number of registered claims, those that gaps block among them.
        alpha: error of the family.

    Raises:
        RequestError: there is no claim.

    References:
        Dunn, Multiple comparisons among means, JASA 56 (1961).

    Example:
        >>> bonferroni(5)
        0.99
    """
    if claims < 1:
        raise RequestError(f"claims: expected at least 1, got {claims}.")
    return 1 - alpha / claims


def holm(p_values: ArrayLike) -> Floats:
    """Return Holm's adjusted p-values: running maximum of (m - i + 1) p_(i), at most 1.

    A p-value that is NaN (a claim that gaps block) counts in m, as if it were 1, and stays NaN.

    Args:
        p_values: (claims,) raw.

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6 (1979).

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.size < 2:
        return raw
    from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

    found = multipletests(np.where(np.isnan(raw), 1.0, raw), method="holm")[1]
    return np.asarray(np.where(np.isnan(raw), np.nan, found))


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Return p-values adjusted to the false discovery rate: for what is exploratory, never for a verdict.

    Args:
        p_values: (comparisons,) raw; NaN counts in m and stays NaN.

    References:
        Benjamini and Hochberg, Controlling the false discovery rate, JRSS B 57 (1995).

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(6).tolist()
        [0.03, 0.04, 0.04]
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.size < 2:
        return raw
    from scipy.stats import false_discovery_control  # type: ignore[import-untyped]

    found = false_discovery_control(np.where(np.isnan(raw), 1.0, raw), method="bh")
    return np.asarray(np.where(np.isnan(raw), np.nan, found))
