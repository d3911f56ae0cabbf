"""The optimizers of a pack: stock torch.optim or its vector forms, stepping the rows of many members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn, optim
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from recipebench.levels import Choice
from recipebench.lightning_modules.packed.stack import ParameterStack
from recipebench.lightning_modules.packed.vector_optimizers import vector_form
from recipebench.lightning_modules.schedule_rules import MEASURED
from recipebench.lightning_modules.schedules import make_scheduler, make_scheduler_of_groups

_T = TypeVar("_T")

CHUNK = 2**16
"""Floats that one element-wise step handles at a time, so that its temporaries stay in the cache."""


FUSED = (optim.SGD, optim.Adam, optim.AdamW)
"""Stock optimizers that have one kernel for a whole step on graphics processors."""

FUSED_ON = ("cuda", "cpu")
"""Devices that have it, the second to be tried out on."""


@dataclass(frozen=True)
class Slice:
    """An optimizer and the members that share it.

    Args:
        optimizer: steps rows of the stack; a parameter group for each set of hyper-parameters.
        members: the places of the members in the pack.
        scheduler: changes its rates from epoch to epoch; None leaves them.
    """

    optimizer: Optimizer
    members: range
    scheduler: LRScheduler | ReduceLROnPlateau | None

    @property
    def rates(self) -> list[float | None]:
        """The learning rate of each member's next step."""
        rates: list[float | None] = []
        for group in self.optimizer.param_groups:
            rate = None if group.get("lr") is None else float(group["lr"])
            rates += [rate] * sum(map(len, group["params"]))
        return rates

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
    """Return optimizers over slices of the stack, as few as do what each member's own would do.

    An element-wise optimizer does to a slice of rows what it would do to each parameter alone, so
    members that follow each other with the same optimizer, options and schedule share a stock one, and
    those that differ in options or schedule share a vector form, where there is one. A schedule that
    follows the validation loss belongs to one member.

    Args:
        stack: the parameters of all members.
        modules: the members, with `.optimizer` and `.schedule` (levels) and `.optimizer_options()`.
        factories: optimizers by name.
        epochs: of the whole run, which some schedules need to know.
    """
    parts = []
    for members in _runs(modules, _alike):
        first = modules[members.start]
        parameters = _slices(stack, members)
        optimizer = factories[first.optimizer.name](parameters, **first.optimizer_options())
        parts.append(_Part(optimizer, members, first.optimizer.name, first.schedule))
    return [_join(stack, parts[run.start : run.stop], epochs) for run in _runs(parts, _akin)]


@dataclass(frozen=True)
class _Part:
    """A stock optimizer of members with one recipe."""

    optimizer: Optimizer
    members: range
    name: str
    schedule: Choice


def _runs(items: Sequence[_T], belong: Callable[[_T, _T], bool]) -> Iterator[range]:
    """Cut a sequence where neighbors do not belong together."""
    start = 0
    for stop in range(1, len(items) + 1):
        if stop == len(items) or not belong(items[stop - 1], items[stop]):
            yield range(start, stop)
            start = stop


def _alike(first: Any, second: Any) -> bool:
    """Whether two members can share a stock optimizer."""
    if first.schedule.name in MEASURED:
        return False
    recipes = [(m.optimizer.name, m.optimizer_options(), m.schedule) for m in (first, second)]
    return bool(recipes[0] == recipes[1])


def _akin(first: _Part, second: _Part) -> bool:
    """Whether two stock optimizers can be stepped by one vector form."""
    if first.name != second.name or {first.schedule.name, second.schedule.name} & set(MEASURED):
        return False
    form = vector_form(first.optimizer)
    return form is not None and form == vector_form(second.optimizer)


def _join(stack: ParameterStack, parts: Sequence[_Part], epochs: int) -> Slice:
    """Return a stock optimizer as it is, or the vector form of several."""
    members = range(parts[0].members.start, parts[-1].members.stop)
    optimizer = parts[0].optimizer
    form = vector_form(optimizer) if len(parts) > 1 or not stack.exact else None
    if form is None or (len(parts) == 1 and _fused(stack, optimizer)):
        return Slice(optimizer, members, make_scheduler(parts[0].schedule, optimizer, epochs))
    groups = [part.optimizer.param_groups[0] for part in parts]
    vector = form[0](groups, _slices(stack, members))
    return Slice(vector, members, make_scheduler_of_groups([p.schedule for p in parts], vector, epochs))


def _fused(stack: ParameterStack, optimizer: Optimizer) -> bool:
    """Let a stock optimizer take a step in one kernel where bits are not promised; say whether it can.

    `capturable` keeps the number of the step on the device, too.
    """
    if stack.exact or stack.values.device.type not in FUSED_ON or type(optimizer) not in FUSED:
        return False
    for group in optimizer.param_groups:
        group.update({"fused": True, "foreach": False})
        if "capturable" in group:
            group["capturable"] = True
    return True


def _slices(stack: ParameterStack, members: range) -> list[nn.Parameter]:
    """Return rows of the stack as parameters: as many together as the cache holds, or all elsewhere."""
    rows = max(1, CHUNK // stack.values.shape[1]) if stack.exact else len(members)
    slices = []
    for a in range(members.start, members.stop, rows):
        b = min(members.stop, a + rows)
        parameter = nn.Parameter(stack.values[a:b])
        parameter.grad = stack.grads[a:b]
        slices.append(parameter)
    return slices
