"""Scales on which scores are compared, and how their differences are shown.

On every scale larger is better, so that a positive difference means that the first level is better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recipebench.errors import RequestError, unknown

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A monotone function of a score, and how a difference on it is told.

    Args:
        name: of the scale.
        forward: (scores, items) -> values, larger is better.
        inverse: values -> scores, as if the test set had no end.
        shown: what `effect` is.
        effect: difference on the scale -> the number that is shown.
    """

    name: str
    forward: Callable[[Floats, float], Floats]
    inverse: Callable[[Floats], Floats]
    shown: str
    effect: Callable[[Floats], Floats]


def transform(scores: ArrayLike, scale: str, *, items: float = np.inf) -> Floats:
    """Return scores on a scale, larger is better; NaN stays NaN.

    raw: x; lower: -x; logit_accuracy: log((a + h) / (1 - a + h)); log_error: -log(1 - a + h);
    log_loss: -log x, with h = 1 / (2 · items): half an item, so that an accuracy of 1 is finite.

    Args:
        scores: accuracies in [0, 1], losses above 0, or any numbers for raw and lower.
        scale: of `SCALES`.
        items: number of test items that an accuracy is a share of.

    Raises:
        RequestError: the scale is not known, or a score has no finite value on it.

    References:
        Cox and Snell, Analysis of Binary Data, 2nd ed., 2.1 (the empirical logit).

    Example:
        >>> transform([0.5, 0.9], "logit_accuracy").round(3).tolist()
        [0.0, 2.197]
    """
    values = np.asarray(scores, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _known(scale).forward(values, items)
    bad = ~np.isfinite(found) & ~np.isnan(values)
    if bad.any():
        raise RequestError(
            f"scores: expected values that are finite on the scale {scale!r}, got {values[bad].flat[0]:g}."
            " Give the number of test items if it is an accuracy of 0 or 1."
        )
    return found


def back(differences: ArrayLike, scale: str) -> Floats:
    """Return a difference, or the ends of its interval, as it is shown: an odds, error or loss ratio.

    Args:
        differences: on the scale, first - second.
        scale: of `SCALES`; what the result is stands in its `shown`.

    Example:
        >>> back([0.0, 0.6931], "log_error").round(3).tolist()  # half as many errors
        [1.0, 0.5]
    """
    return np.asarray(_known(scale).effect(np.asarray(differences, dtype=np.float64)))


def in_units(differences: ArrayLike, reference: float, scale: str) -> Floats:
    """Return what a difference on the scale is in the unit of the score, at a reference score.

    inverse(forward(reference) + difference) - reference.

    Args:
        differences: on the scale.
        reference: score of the second level, strictly inside the range of scores.
        scale: of `SCALES`.

    Example:
        >>> in_units(np.log(2.0), 0.98, "log_error").round(6).item()
        0.01
    """
    known = _known(scale)
    here = transform(reference, scale)
    return np.asarray(known.inverse(here + np.asarray(differences, dtype=np.float64)) - reference)


def on_scale(smallest: float, reference: float, scale: str) -> float:
    """Return the smallest effect, given in the unit of the score, on a scale at a reference score.

    Args:
        smallest: size of an improvement, at least 0, in the unit of the score.
        reference: score from which it is an improvement, fixed before the run.
        scale: of `SCALES`.

    Example:
        >>> round(on_scale(0.01, 0.98, "log_error"), 4)
        0.6931
    """
    better = reference - smallest if scale in ("lower", "log_loss") else reference + smallest
    return float(transform(better, scale) - transform(reference, scale))


def _known(scale: str) -> Scale:
    if scale not in SCALES:
        raise RequestError(unknown("scale", scale, SCALES))
    return SCALES[scale]


def _expit(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)))


SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            name="raw", forward=lambda x, _: x, inverse=lambda y: y, shown="difference", effect=lambda d: d
        ),
        Scale(
            name="lower",
            forward=lambda x, _: -x,
            inverse=lambda y: -y,
            shown="difference, positive where the first is lower",
            effect=lambda d: d,
        ),
        Scale(
            name="logit_accuracy",
            forward=lambda a, n: np.log((a + 0.5 / n) / (1 - a + 0.5 / n)),
            inverse=_expit,
            shown="odds ratio of a right answer",
            effect=np.exp,
        ),
        Scale(
            name="log_error",
            forward=lambda a, n: -np.log(1 - a + 0.5 / n),
            inverse=lambda y: 1 - np.exp(-y),
            shown="ratio of the error rates",
            effect=lambda d: np.exp(-d),
        ),
        Scale(
            name="log_loss",
            forward=lambda x, _: -np.log(x),
            inverse=lambda y: np.exp(-y),
            shown="ratio of the losses",
            effect=lambda d: np.exp(-d),
        ),
    )
}
"""The scales by name."""
