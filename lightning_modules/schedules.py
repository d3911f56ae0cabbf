"""The schedules that are compared, as stock torch schedulers that step once an epoch."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Sequence
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules.schedule_rules import (
    MEASURED,
    PLATEAU_THRESHOLD,
    RULES,
    schedule_problem,
)

SCHEDULES: ChainMap[str, Callable[..., float]] = ChainMap(RULES, MEASURED)
"""Every schedule by name, see `schedule_rules`; one that is added here is a rule of the epoch."""


def make_scheduler(
    choice: Choice, optimizer: Optimizer, epochs: int
) -> LRScheduler | ReduceLROnPlateau | None:
    """Return the torch scheduler of a level; it sets the first epoch's rate at once.

    Call its `step()` at the end of every epoch; `ReduceLROnPlateau.step` takes the validation loss.
    In Lightning: `{"scheduler": ..., "interval": "epoch", "monitor": "validation_loss"}`.

    Args:
        choice: a level of the catalog's schedules.
        optimizer: whose learning rates are set.
        epochs: epochs of the run.

    Returns:
        `ReduceLROnPlateau` for `plateau`, None for `constant`, `LambdaLR` over the level's rule for the rest.

    Raises:
        RequestError: the schedule has no rate for some epoch, as `root` with `first_epoch` 0.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
        >>> scheduler = make_scheduler(Choice("inverse_time", {"decay": 1.0, "first_epoch": 1}), sgd, 10)
        >>> scheduler.get_last_lr()
        [0.1]
    """
    if problem := schedule_problem(choice, epochs):
        raise RequestError(problem)
    if choice.name == "constant":
        return None
    if choice.name == "plateau":
        options = dict(choice.parameters)
        return ReduceLROnPlateau(optimizer, mode="min", threshold=PLATEAU_THRESHOLD, **options)  # type: ignore[arg-type]
    return LambdaLR(optimizer, partial(_factor, choice, epochs))


def make_scheduler_of_groups(
    choices: Sequence[Choice], optimizer: Optimizer, epochs: int
) -> LRScheduler | None:
    """Return a torch scheduler that gives every parameter group a schedule of its own.

    Each group's rate is the very float that `make_scheduler` would set.

    Args:
        choices: a level of the catalog's schedules for each group; none that follows measurements.
        optimizer: whose learning rates are set.
        epochs: epochs of the run.

    Returns:
        None where all are `constant`, else `LambdaLR` over the levels' rules.

    Raises:
        RequestError: a schedule has no rate for some epoch.
        KeyError: a schedule is not a rule of the epoch.
    """
    for choice in choices:
        if problem := schedule_problem(choice, epochs):
            raise RequestError(problem)
    if all(choice.name == "constant" for choice in choices):
        return None
    return LambdaLR(optimizer, [partial(_factor, choice, epochs) for choice in choices])


def _factor(choice: Choice, epochs: int, passed: int) -> float:
    """Return the factor after a number of epochs, as `LambdaLR` counts them."""
    return RULES[choice.name](passed + 1, epochs, **choice.parameters)
