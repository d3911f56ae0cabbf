"""When a run has nothing more to gain: rules on the losses so far, torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def has_converged(losses: Sequence[float], tolerance: float = 0.01, patience: int = 1) -> bool:
    """Whether the last `patience` changes of the loss were all small: |L_t - L_(t-1)| < tolerance |L_(t-1)|.

    A loss that stays exactly the same has not changed, be it 0; one that is not finite never converges.

    Args:
        losses: the training loss of each epoch that is over.
        tolerance: relative change that counts as none, 0.01 by default.
        patience: how many changes in a row must be that small, 1 by default.

    Example:
        >>> [has_converged([2.0, 1.0, 0.995][:n]) for n in (1, 2, 3)]
        [False, False, True]

    References:
        Li, Dive into Deep Learning (lectures), linear regression, questions: stop when the objective changes
        by about 1 %.
    """
    changes = list(pairwise(losses))[-patience:]
    return len(changes) == patience and all(_is_small(before, after, tolerance) for before, after in changes)


def _is_small(before: float, after: float, tolerance: float) -> bool:
    change = abs(after - before)  # NaN where a loss is not finite, and NaN is below nothing
    return change == 0 or change < tolerance * abs(before)
