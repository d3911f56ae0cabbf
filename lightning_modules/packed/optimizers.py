"""The optimizers of a pack: stock torch.optim, each stepping the rows of the members that share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from recipebench.lightning_modules.packed.stack import ParameterStack
from recipebench.lightning_modules.schedule_rules import MEASURED
from recipebench.lightning_modules.schedules import make_scheduler

CHUNK = 2**16
"""Floats that one element-wise step handles at a time, so that its temporaries stay in the cache."""


@dataclass(frozen=True)
class Slice:
    """An optimizer and the members that share it.

    Args:
        optimizer: a stock optimizer over rows of the stack.
        members: the places of the members in the pack.
        scheduler: changes its rate from epoch to epoch; None leaves it.
    """

    optimizer: Optimizer
    members: range
    scheduler: LRScheduler | ReduceLROnPlateau | None

    @property
    def rate(self) -> float | None:
        """The learning rate of the next step."""
        rate = self.optimizer.param_groups[0].get("lr")
        return None if rate is None else float(rate)

    def end_epoch(self, validation_losses: Mapping[int, float]) -> None:
        """Step the schedule; one that follows the validation loss is of one member, and waits without it."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            (member,) = self.members
            if member in validation_losses:
                self.scheduler.step(validation_losses[member])
        elif self.scheduler:
            self.scheduler.step()


def pack_optimizers(
    stack: ParameterStack,
    modules: Sequence[Any],
    factories: dict[str, Callable[..., Optimizer]],
    epochs: int,
) -> list[Slice]:
    """Return stock optimizers over slices of the stack, one for each run of members with equal options.

    An element-wise optimizer does to a slice of rows what it would do to each parameter alone, so
    members that follow each other with the same optimizer, options and schedule share one. A schedule
    that follows the validation loss belongs to one member.

    Args:
        stack: the parameters of all members.
        modules: the members, with `.optimizer` and `.schedule` (levels) and `.optimizer_options()`.
        factories: optimizers by name.
        epochs: of the whole run, which some schedules need to know.
    """
    slices, start = [], 0
    for stop in range(1, len(modules) + 1):
        if stop == len(modules) or not _alike(modules[start], modules[stop]):
            first = modules[start]
            parameters = _slices(stack, start, stop)
            optimizer = factories[first.optimizer.name](parameters, **first.optimizer_options())
            scheduler = make_scheduler(first.schedule, optimizer, epochs)
            slices.append(Slice(optimizer, range(start, stop), scheduler))
            start = stop
    return slices


def _alike(first: Any, second: Any) -> bool:
    """Whether two members can share an optimizer."""
    if first.schedule.name in MEASURED:
        return False
    recipes = [(m.optimizer.name, m.optimizer_options(), m.schedule) for m in (first, second)]
    return bool(recipes[0] == recipes[1])


def _slices(stack: ParameterStack, start: int, stop: int) -> list[nn.Parameter]:
    rows = max(1, CHUNK // stack.values.shape[1])
    slices = []
    for a in range(start, stop, rows):
        b = min(stop, a + rows)
        parameter = nn.Parameter(stack.values[a:b])
        parameter.grad = stack.grads[a:b]
        slices.append(parameter)
    return slices
