"""Levels that cannot serve a whole pack at once: optimizers, penalties and losses, member by member.

An optimizer that needs matrices (Muon), or that looks at a whole tensor at a time (LARS), does something
else to a slice of rows than to each parameter alone. It is given views of the stack with the shapes, the
order and the gradients that the plain module's parameters have, so that the bits are those of training
alone, at the price of one step for each member. A loss that nobody has compared on batches laid end to
end is computed for each batch by itself, since vector code and what is left over may round differently.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recipebench.errors import RequestError
from recipebench.lightning_modules.optimizers import ELEMENTWISE, SHIPPED
from recipebench.lightning_modules.packed.optimizers import Slice, pack_optimizers
from recipebench.lightning_modules.packed.stack import ParameterStack
from recipebench.lightning_modules.schedules import make_scheduler


class MemberSlice(Slice):
    """The optimizer of one member, over parameters of its own."""

    @property
    def rates(self) -> list[float | None]:
        """The learning rate of the member's next step."""
        rate = self.optimizer.param_groups[0].get("lr")
        return [None if rate is None else float(rate)]


def own_parameters(stack: ParameterStack, place: int) -> list[nn.Parameter]:
    """Return the parameters of one member as its plain module has them: views of the stack, by name.

    Args:
        stack: the parameters of all members.
        place: of the member in the pack.

    Returns:
        In the module's order, each with `.grad`, a view of the stack too.
    """
    parameters = []
    for name in stack.shapes:
        parameter = nn.Parameter(stack.value(name)[place])
        parameter.grad = stack.grad(name)[place]
        parameters.append(parameter)
    return parameters


def member_optimizers(
    stack: ParameterStack,
    modules: Sequence[Any],
    factories: dict[str, Callable[..., Optimizer]],
    epochs: int,
) -> list[Slice]:
    """Return the optimizers of a pack: shared ones where steps are element-wise, else one for each member.

    An optimizer of one's own is watched: one that is declared element-wise has a witness, and all have to
    change their parameters in place.

    Args:
        stack: the parameters of all members.
        modules: the members, with `.optimizer` and `.schedule` (levels) and `.optimizer_options()`.
        factories: optimizers by name.
        epochs: of the whole run, which some schedules need to know.
    """
    names = [module.optimizer.name for module in modules]
    if SHIPPED.issuperset(names):
        return pack_optimizers(stack, modules, factories, epochs)
    slices: list[Slice] = []
    for kind, run in groupby(range(len(modules)), lambda k: (names[k] in ELEMENTWISE, names[k] in SHIPPED)):
        members, (elementwise, shipped) = list(run), kind
        if elementwise:
            part = _rows(stack, members[0], members[-1] + 1)
            packed = pack_optimizers(part, [modules[k] for k in members], factories, epochs)
            shared = [replace(each, members=_moved(each.members, members[0])) for each in packed]
            slices += shared if shipped else [_watched(stack, s, modules, factories, epochs) for s in shared]
        else:
            slices += [_own(stack, modules[k], k, factories, epochs) for k in members]
    return slices


def _own(
    stack: ParameterStack,
    module: Any,
    place: int,
    factories: dict[str, Callable[..., Optimizer]],
    epochs: int,
) -> MemberSlice:
    optimizer = factories[module.optimizer.name](own_parameters(stack, place), **module.optimizer_options())
    _hold(optimizer, module.optimizer.name)
    return MemberSlice(optimizer, range(place, place + 1), make_scheduler(module.schedule, optimizer, epochs))


def _hold(optimizer: Optimizer, name: str) -> None:
    """See to it that an optimizer's parameters stay what they are: views of the stack, with gradients."""
    held = [(w, w.data, w.grad) for group in optimizer.param_groups for w in group["params"]]

    def give(*_: object) -> None:
        for w, _, grad in held:
            w.grad = grad  # one that it let go of is a new tensor in a module alone, and this one here

    def look(*_: object) -> None:
        for w, data, _ in held:
            if w.data_ptr() != data.data_ptr() or w.dtype != data.dtype or w.shape != data.shape:
                raise RequestError(
                    f"optimizer {name}: expected parameters to be changed in place, got new tensors; use "
                    "add_, mul_ or copy_."
                )

    optimizer.register_step_pre_hook(give)
    optimizer.register_step_post_hook(look)


@dataclass(frozen=True)
class WatchedSlice(Slice):
    """An optimizer of one's own that several members share, with a witness that no member disturbs another.

    Args:
        witness: steps a copy of the first member by itself, with the same gradients.
    """

    witness: MemberSlice

    def end_epoch(self, validation_losses: Mapping[int, float]) -> None:
        """Step the schedules of both."""
        super().end_epoch(validation_losses)
        self.witness.end_epoch(validation_losses)


def _watched(
    stack: ParameterStack,
    shared: Slice,
    modules: Sequence[Any],
    factories: dict[str, Callable[..., Optimizer]],
    epochs: int,
) -> WatchedSlice:
    """Step a copy of a slice's first member by itself after every step, and refuse other bits."""
    place, name = shared.members.start, modules[shared.members.start].optimizer.name
    copied = _rows(stack, place, place + 1)
    copied.values, copied.grads = copied.values.clone(), copied.grads.clone()
    witness = replace(_own(copied, modules[place], 0, factories, epochs), members=range(place, place + 1))
    steps = itertools.count(1)

    def before(*_: object) -> None:
        copied.grads.copy_(stack.grads[place : place + 1])

    def after(*_: object) -> None:
        witness.optimizer.step()
        step = next(steps)
        if problem := _difference(stack, place, copied):
            raise RequestError(
                f"optimizer {name}: non-element-wise update: it is declared element-wise, so expected the "
                f"same bits in a pack as alone, got {problem} in step {step} of training; leave "
                "elementwise=True out."
            )

    _hold(shared.optimizer, name)
    shared.optimizer.register_step_pre_hook(before)
    shared.optimizer.register_step_post_hook(after)
    return WatchedSlice(shared.optimizer, shared.members, shared.scheduler, witness)


def _difference(stack: ParameterStack, place: int, copied: ParameterStack) -> str | None:
    """Say how a member's row differs from the copy that was stepped by itself, or return None."""
    row, alone = stack.values[place], copied.values[0]
    if torch.equal(row, alone):
        return None
    for name in stack.shapes:
        a, b = stack.value(name)[place], copied.value(name)[0]
        if not bool(((a == b) | (a.isnan() & b.isnan())).all()):
            return f"a difference of {float((a - b).abs().max()):.3g} in {name}"
    if bool(torch.isfinite(alone).all()) and not bool(torch.isfinite(row).all()):
        return "numbers that are not finite where value and gradient are 0"
    return None


def _rows(stack: ParameterStack, start: int, stop: int) -> ParameterStack:
    """Return the part of a stack that holds some members that follow each other; it shares their memory."""
    part = copy.copy(stack)
    part.values, part.grads = stack.values[start:stop], stack.grads[start:stop]
    part.generators = stack.generators[start:stop]
    return part


def _moved(members: range, by: int) -> range:
    return range(members.start + by, members.stop + by)


def add_penalty_gradients(stack: ParameterStack, module: Any, place: int) -> Tensor:
    """Add the gradient of a member's penalty, found by autograd, to the stack; return the penalty.

    For penalties whose gradient nobody has written out. Autograd adds up all that a penalty gives before
    it adds the loss's part, as it does for a module alone.

    Args:
        stack: the parameters of all members.
        module: the member, with `.penalty()` and `.weights()`.
        place: of the member in the pack.
    """
    names = {id(parameter): name for name, parameter in module.network.named_parameters()}
    weights = module.weights()
    with torch.enable_grad():
        value: Tensor = module.penalty()
        gradients = torch.autograd.grad(value, weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        stack.grad(names[id(weight)])[place] += gradient
    return value.detach()


def member_losses(
    modules: Sequence[Any], outputs: Tensor, targets: Tensor, samples: int
) -> tuple[Tensor, Tensor]:
    """Return the losses of every sample, and the gradient of each member's mean loss, batch by batch.

    Args:
        modules: the members, with `.losses(outputs, targets)`.
        outputs: (K, batch, out_features).
        targets: (K, batch) int64 or (K, batch, 1) float32.
        samples: of the whole batch, over which the mean is taken; these may be a part of them.

    Returns:
        (K, batch), and a tensor like `outputs`.
    """
    losses: list[Tensor] = []
    gradients: list[Tensor] = []
    for module, o, y in zip(modules, outputs.unbind(), targets.unbind(), strict=True):
        with torch.enable_grad():
            leaf = o.detach().clone().requires_grad_()
            found = module.losses(leaf, y)
        gradients += torch.autograd.grad(found, leaf, torch.full_like(found, 1 / samples))
        losses.append(found.detach())
    return torch.stack(losses), torch.stack(gradients)
