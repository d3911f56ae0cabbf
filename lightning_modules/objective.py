"""What training minimizes, mean loss plus penalty, as a function of a module's parameters."""

from __future__ import annotations

import copy
from typing import Protocol

from torch import Tensor, nn


class Scored(Protocol):
    """A module that tells the loss of every sample, as all that learn from (input, target) pairs do."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs, (batch, out_features)."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the data losses, (batch,)."""


class Objective(nn.Module):
    """J = mean of the losses + penalty, where the module has one.

    Args:
        module: a `SupervisedModule`, or another with `losses(outputs, targets)`; not copied.

    Shape:
        (batch, ...) inputs and their targets to a scalar.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return J on one batch."""
        module: Scored = self.module  # type: ignore[assignment]
        mean = module.losses(module(inputs), targets).mean()
        penalty = getattr(module, "penalty", None)
        return mean + penalty() if penalty else mean


def double_copy(module: nn.Module) -> nn.Module:
    """Return a copy in float64, in the same mode and without the trainer that the module may have."""
    trainer = getattr(module, "_trainer", None)
    return copy.deepcopy(module, {} if trainer is None else {id(trainer): None}).double()


def as_double(x: Tensor) -> Tensor:
    """Return real numbers in float64, whole ones (classes) as they are."""
    return x.double() if x.is_floating_point() else x
