"""The optimizers of a pack: stock torch.optim, each stepping the rows of the members that share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from recipebench.lightning_modules.packed.stack import ParameterStack

CHUNK = 2**16
"""Floats that one element-wise step handles at a time, so that its temporaries stay in the cache."""


def pack_optimizers(
    stack: ParameterStack, modules: Sequence[Any], factories: dict[str, Callable[..., Optimizer]]
) -> list[Optimizer]:
    """Return stock optimizers over slices of the stack, one for each run of members with equal options.

    An element-wise optimizer does to a slice of rows what it would do to each parameter alone, so
    members that follow each other with the same optimizer and options share one.

    Args:
        stack: the parameters of all members.
        modules: the members, with `.optimizer` (a level) and `.optimizer_options()`.
        factories: optimizers by name.
    """
    optimizers, start = [], 0
    for stop in range(1, len(modules) + 1):
        if stop == len(modules) or _recipe(modules[stop]) != _recipe(modules[start]):
            name, options = _recipe(modules[start])
            optimizers.append(factories[name](_slices(stack, start, stop), **options))
            start = stop
    return optimizers


def _recipe(module: Any) -> tuple[str, dict[str, Any]]:
    return module.optimizer.name, module.optimizer_options()


def _slices(stack: ParameterStack, start: int, stop: int) -> list[nn.Parameter]:
    rows = max(1, CHUNK // stack.values.shape[1])
    slices = []
    for a in range(start, stop, rows):
        b = min(stop, a + rows)
        parameter = nn.Parameter(stack.values[a:b])
        parameter.grad = stack.grads[a:b]
        slices.append(parameter)
    return slices
