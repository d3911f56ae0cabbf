"""How the learning rate changes from epoch to epoch: pure functions, torch-free.

Epochs count from 1. A rule returns the factor of the optimizer's own rate that holds during an epoch; a
rule that reads measurements (`plateau`) returns the rate itself. `first_epoch` says which number the first
epoch has in a formula: 1, as in the lecture notes, so that even the first epoch's rate is lowered, or 0,
as in torch's schedulers, so that training begins with the full rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from recipebench.levels import Choice

PLATEAU_THRESHOLD = 1e-4
"""By which share a loss must be lower than the best to count as an improvement: torch's default."""


def constant(epoch: int, total: int) -> float:
    """1: the rate stays as it is.

    Args:
        epoch: number of the epoch, from 1.
        total: epochs of the run.
    """
    return 1.0


def inverse_time(epoch: int, total: int, decay: float = 1.0, first_epoch: int = 1) -> float:
    """1 / (1 + decay * n), n the epoch's number.

    Args:
        epoch: number of the epoch, from 1.
        total: epochs of the run.
        decay: how fast the rate falls, 1 by default.
        first_epoch: number of the first epoch in the formula, 1 by default.

    Example:
        >>> [round(0.2 * inverse_time(epoch, 4), 3) for epoch in (1, 2, 3, 4)]
        [0.1, 0.067, 0.05, 0.04]

    References:
        Ng, Improving Deep Neural Networks, 2.9 (the example: rate 0.2, decay 1).
    """
    return 1 / (1 + decay * _number(epoch, first_epoch))


def exponential(epoch: int, total: int, gamma: float = 0.95, first_epoch: int = 1) -> float:
    """gamma^n, n the epoch's number; with `first_epoch` 0 it is torch's `ExponentialLR`.

    Args:
        epoch: number of the epoch, from 1.
        total: epochs of the run.
        gamma: factor of each epoch, 0.95 by default.
        first_epoch: number of the first epoch in the formula, 1 by default.

    Example:
        >>> [exponential(epoch, 3, gamma=0.5) for epoch in (1, 2, 3)]
        [0.5, 0.25, 0.125]

    References:
        Ng, Improving Deep Neural Networks, 2.9.
    """
    return gamma ** _number(epoch, first_epoch)


def root(epoch: int, total: int, k: float = 1.0, first_epoch: int = 1) -> float:
    """k / sqrt(n), n the epoch's number, which cannot be 0 (Lee's 1 / sqrt(t + 1), t from 0, is the same).

    Args:
        epoch: number of the epoch, from 1.
        total: epochs of the run.
        k: factor of the first epoch, 1 by default.
        first_epoch: number of the first epoch in the formula, 1 by default.

    Raises:
        ZeroDivisionError: the number of the epoch is 0; `schedule_problem` says so before the run.

    Example:
        >>> [root(epoch, 9) for epoch in (1, 4)]
        [1.0, 0.5]

    References:
        Ng, Improving Deep Neural Networks, 2.9; Lee, Machine Learning, gradient descent.
    """
    return k / math.sqrt(_number(epoch, first_epoch))


def staircase(epoch: int, total: int, every: int = 5, factor: float = 0.5) -> float:
    """factor^floor((epoch - 1) / every): the rate is halved now and then; torch's `StepLR`.

    Args:
        epoch: number of the epoch, from 1.
        total: epochs of the run.
        every: epochs with the same rate, 5 by default.
        factor: of the rate at each step down, 0.5 by default.

    Example:
        >>> [staircase(epoch, 6, every=2) for epoch in (1, 2, 3, 4, 5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]

    References:
        Ng, Improving Deep Neural Networks, 2.9.
    """
    return float(factor ** ((epoch - 1) // every))


def manual(epoch: int, total: int, epochs: Sequence[int] = (5, 8), factor: float = 0.1) -> float:
    """factor^(number of listed epochs that are over): the rate adjusted by hand; torch's `MultiStepLR`.

    Args:
        epoch: number of the epoch, from 1.
        total: epochs of the run.
        epochs: after which of them the rate is multiplied, 5 and 8 by default.
        factor: of the rate at each of them, 0.1 by default.

    Example:
        >>> [manual(epoch, 4, epochs=(1, 3), factor=0.5) for epoch in (1, 2, 3, 4)]
        [1.0, 0.5, 0.5, 0.25]

    References:
        Ng, Improving Deep Neural Networks, 2.9 (manual decay); `torch.optim.lr_scheduler.MultiStepLR`.
    """
    return float(factor ** sum(after < epoch for after in epochs))


def cosine(epoch: int, total: int, minimum: float = 0.0) -> float:
    """minimum + (1 - minimum) (1 + cos(pi t / total)) / 2, t = epoch - 1: torch's `CosineAnnealingLR`.

    Args:
        epoch: number of the epoch, from 1.
        total: epochs of the run; the rate of the epoch after the last would be the minimum.
        minimum: smallest factor of the rate, 0 by default.

    Example:
        >>> [cosine(epoch, 2) for epoch in (1, 2)]
        [1.0, 0.5]

    References:
        Loshchilov and Hutter, SGDR, ICLR 2017; `torch.optim.lr_scheduler.CosineAnnealingLR`.
    """
    return minimum + (1 - minimum) * (1 + math.cos(math.pi * (epoch - 1) / total)) / 2


def warmup(epoch: int, total: int, length: int = 5) -> float:
    """min(1, epoch / length): the rate rises evenly and stays; torch's `LinearLR` from 1 / length on.

    Args:
        epoch: number of the epoch, from 1.
        total: epochs of the run.
        length: the first epoch with the full rate, 5 by default.

    Example:
        >>> [warmup(epoch, 9, length=4) for epoch in (1, 2, 4, 9)]
        [0.25, 0.5, 1.0, 1.0]

    References:
        Goyal et al., Accurate, Large Minibatch SGD, 2017, 2.2.
    """
    return min(1.0, epoch / length)


def plateau(rate: float, losses: Sequence[float], factor: float = 0.1, patience: int = 2) -> float:
    """The rate, times `factor` whenever more than `patience` epochs in a row brought no better loss.

    A loss is better if it is below (1 - 0.0001) times the best. After each step down the count of bad
    epochs starts again; a step of 1e-8 or less is not taken. All this is torch's `ReduceLROnPlateau`.

    Args:
        rate: the optimizer's own learning rate.
        losses: the validation loss after each epoch that is over.
        factor: of the rate at each step down, 0.1 by default.
        patience: epochs without a better loss that are borne, 2 by default.

    Returns:
        The rate of the next epoch.

    Example:
        >>> [plateau(1.0, [3.0, 2.0, 2.0, 2.0][:n], factor=0.5, patience=1) for n in (2, 3, 4)]
        [1.0, 1.0, 0.5]

    References:
        `torch.optim.lr_scheduler.ReduceLROnPlateau`; Ng, Improving Deep Neural Networks, 2.9 (adjusting by
        hand, mechanized).
    """
    best, bad = math.inf, 0
    for loss in losses:
        better = loss < best * (1 - PLATEAU_THRESHOLD)
        best, bad = (loss, 0) if better else (best, bad + 1)
        if bad > patience:
            rate, bad = _step_down(rate, factor), 0
    return rate


def _step_down(rate: float, factor: float) -> float:
    lower = rate * factor
    return lower if rate - lower > 1e-8 else rate


def _number(epoch: int, first_epoch: int) -> int:
    return epoch - 1 + first_epoch


RULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "inverse_time": inverse_time,
    "exponential": exponential,
    "root": root,
    "staircase": staircase,
    "manual": manual,
    "cosine": cosine,
    "warmup": warmup,
}
"""The factor that the number of the epoch decides: functions of (epoch, total, **hyper-parameters)."""

MEASURED: dict[str, Callable[..., float]] = {"plateau": plateau}
"""The rate that losses decide: functions of (rate, losses, **hyper-parameters)."""


def scheduled_rate(
    choice: Choice, rate: float, epoch: int, total: int, losses: Sequence[float] = ()
) -> float:
    """Return the learning rate of an epoch, the very float that torch's scheduler would set.

    Args:
        choice: a level of the catalog's schedules.
        rate: the optimizer's own learning rate.
        epoch: number of the epoch, from 1.
        total: epochs of the run.
        losses: validation losses of the epochs before this one, in their order; read by `plateau` alone.

    Raises:
        KeyError: there is no such schedule.

    Example:
        >>> scheduled_rate(Choice("staircase", {"every": 1, "factor": 0.5}), 0.1, epoch=2, total=4)
        0.05
    """
    if choice.name in MEASURED:
        return MEASURED[choice.name](rate, losses[: epoch - 1], **choice.parameters)
    return rate * RULES[choice.name](epoch, total, **choice.parameters)


def schedule_problem(choice: Choice, epochs: int) -> str | None:
    """Say why a schedule cannot set the rate of every epoch of a run, and what fits; None if it can.

    Args:
        choice: a level of the catalog's schedules.
        epochs: epochs of the run.

    Example:
        >>> schedule_problem(Choice("root", {"k": 1.0, "first_epoch": 0}), epochs=10)
        'schedule root: first_epoch: expected 1, since k / sqrt(0) has no value, got 0.'
    """
    if choice.name == "root" and choice.parameters["first_epoch"] == 0:
        return "schedule root: first_epoch: expected 1, since k / sqrt(0) has no value, got 0."
    if choice.name == "manual":
        listed = choice.parameters["epochs"]
        assert isinstance(listed, tuple)
        if any(later <= earlier for earlier, later in pairwise(listed)):
            return f"schedule manual: epochs: expected numbers that rise, got {list(listed)}."
    return None
