"""What a packed layer is, and the way from a plain layer to its packed form.

A packed layer computes what K plain layers would compute, either *stacked*, in one call for all
members, or *per member*, K calls of the very kernel that the plain layer uses. Stacked is chosen only
where the arithmetic is the same by construction (element-wise operations without tails) or was found
the same on this machine, for this shape, when it first came up (matrix products).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import torch
from torch import Tensor, nn

from recipebench.lightning_modules.packed.stack import ParameterStack

Inputs = Tensor | Sequence[Tensor]
"""What a layer gets: (K, batch, features), or K tensors (batch, features) of which some are the same."""


class PackedLayer:
    """K plain layers of one type and shape, run together.

    Args:
        members: the K plain layers, whose parameters are views of a `ParameterStack`.
        name: the name of the layer in its module.
        stack: where the parameters of all members lie.

    Attributes:
        has_parameters: whether there is something to train.
        needs_input_grad: whether `backward` must return the inputs' gradient.
        weight: the weights that penalties act on, (K, ...); None where there are none.
        weight_grad: where their gradients are written, (K, ...).
    """

    weight: Tensor | None = None
    weight_grad: Tensor | None = None
    mixes = True
    """Whether inputs may be of another type than the parameters."""

    def __init__(self, members: Sequence[nn.Module], name: str, stack: ParameterStack) -> None:
        self.members = members
        self.name = name
        self.stack = stack
        self.has_parameters = any(True for _ in members[0].parameters())
        self.needs_input_grad = True

    @classmethod
    def refuses(cls, layer: nn.Module) -> str | None:
        """Say why a layer of the right type has no packed form after all, or return None."""
        return None

    def forward(self, x: Inputs) -> Inputs:
        """Return the outputs, (K, batch, features), and keep what `backward` needs."""
        raise NotImplementedError

    def backward(self, grad: Tensor) -> Tensor:
        """Write the parameters' gradients into the stack; return the inputs', empty if nobody needs it."""
        raise NotImplementedError


def stacked(x: Inputs) -> Tensor:
    """Return inputs as one tensor, (K, batch, ...); shared ones are copied."""
    return x if isinstance(x, Tensor) else torch.stack(list(x))


@singledispatch
def pack_layer(
    layer: nn.Module,
    members: Sequence[nn.Module],
    name: str,
    stack: ParameterStack,
) -> PackedLayer:
    """Return the packed form of K layers like `layer`; look it up with `layer_obstacle` first.

    Args:
        layer: one of the members; its type decides.
        members: the K plain layers.
        name: the name of the layer in its module.
        stack: where the parameters of all members lie.

    Raises:
        TypeError: this type of layer has no packed form.
    """
    raise TypeError(f"{type(layer).__name__} has no packed form.")


def layer_obstacle(layer: nn.Module) -> str | None:
    """Say why a layer cannot be packed, or return None; its type is exact, as a subclass may do anything."""
    if type(layer) not in pack_layer.registry or type(layer) is nn.Module:
        return "has no packed form"
    if altered(layer):
        return "has a hook or a forward of its own"
    packed = pack_layer.dispatch(type(layer))
    assert isinstance(packed, type)
    assert issubclass(packed, PackedLayer)
    return packed.refuses(layer)


def altered(module: nn.Module) -> bool:
    """Whether somebody hung something on this very module: a hook, or a method of the instance."""
    hooks = (
        *(module._forward_hooks, module._forward_pre_hooks),
        *(module._backward_hooks, module._backward_pre_hooks),
    )
    methods = [name for name in vars(module) if callable(getattr(type(module), name, None))]
    return any(hooks) or bool(methods)
