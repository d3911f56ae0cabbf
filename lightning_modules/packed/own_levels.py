"""Levels that cannot serve a whole pack at once: optimizers, penalties and losses, member by member.

An optimizer that needs matrices (Muon), or that looks at a whole tensor at a time (LARS), does something
else to a slice of rows than to each parameter alone. It is given views of the stack with the shapes, the
order and the gradients that the plain module's parameters have, so that the bits are those of training
alone, at the price of one step for each member. A loss that nobody has compared on batches laid end to
end is computed for each batch by itself, since vector code and what is left over may round differently.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recipebench.lightning_modules.optimizers import ELEMENTWISE
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

    Args:
        stack: the parameters of all members.
        modules: the members, with `.optimizer` and `.schedule` (levels) and `.optimizer_options()`.
        factories: optimizers by name.
        epochs: of the whole run, which some schedules need to know.
    """
    if all(module.optimizer.name in ELEMENTWISE for module in modules):
        return pack_optimizers(stack, modules, factories, epochs)
    slices: list[Slice] = []
    places = range(len(modules))
    for elementwise, run in groupby(places, lambda k: modules[k].optimizer.name in ELEMENTWISE):
        members = list(run)
        if elementwise:
            part = _rows(stack, members[0], members[-1] + 1)
            shared = pack_optimizers(part, [modules[k] for k in members], factories, epochs)
            slices += [replace(each, members=_moved(each.members, members[0])) for each in shared]
        else:
            slices += [_own(stack, modules[k], k, factories, epochs) for k in members]
    return slices


def _own(
    stack: ParameterStack,
    module: Any,
    place: int,
    factories: dict[str, Callable[..., Optimizer]],
    epochs: int,
) -> Slice:
    make = factories[module.optimizer.name]
    optimizer = make(own_parameters(stack, place), **module.optimizer_options())
    return MemberSlice(optimizer, range(place, place + 1), make_scheduler(module.schedule, optimizer, epochs))


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
