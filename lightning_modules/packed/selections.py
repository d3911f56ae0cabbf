"""Layers of K members that select, drop or reshape, and round nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipebench.lightning_modules.activations import Maxout
from recipebench.lightning_modules.packed.base import Inputs, PackedLayer, pack_layer, stacked
from recipebench.lightning_modules.packed.stack import ParameterStack


@pack_layer.register(nn.Flatten)
class PackedFlatten(PackedLayer):
    """(K, batch, ...) to (K, batch, features)."""

    def __init__(
        self, layer: nn.Flatten, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self._shape: torch.Size = torch.Size()

    @classmethod
    def refuses(cls, layer: nn.Module) -> str | None:
        whole = getattr(layer, "start_dim", None) == 1 and getattr(layer, "end_dim", None) == -1
        return None if whole else "keeps dimensions apart"

    def forward(self, x: Inputs) -> Inputs:
        self._shape = x[0].shape
        if isinstance(x, Tensor):
            return x.flatten(2)
        flat = {id(member): member.flatten(1) for member in x}
        return [flat[id(member)] for member in x]

    def backward(self, grad: Tensor) -> Tensor:
        return grad.view(-1, *self._shape)


@pack_layer.register(Maxout)
class PackedMaxout(PackedLayer):
    """The largest of each group of pieces: a selection, so nothing is rounded."""

    def __init__(self, layer: Maxout, members: Sequence[nn.Module], name: str, stack: ParameterStack) -> None:
        super().__init__(members, name, stack)
        self._pieces = layer.pieces
        self._chosen = torch.empty(0)

    def forward(self, x: Inputs) -> Tensor:
        pieces: Tensor = stacked(x).unflatten(-1, (-1, self._pieces))
        values, chosen = pieces.max(-1, keepdim=True)
        self._chosen = chosen
        return values.squeeze(-1)

    def backward(self, grad: Tensor) -> Tensor:
        result = grad.new_zeros(*grad.shape, self._pieces)
        return result.scatter_(-1, self._chosen, grad.unsqueeze(-1)).flatten(-2)


@pack_layer.register(nn.Dropout)
class PackedDropout(PackedLayer):
    """Each member's own noise from its own stream, drawn as `nn.Dropout` draws it."""

    def __init__(
        self, layer: nn.Dropout, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self._p = layer.p
        self._noise = torch.empty(0)

    def forward(self, x: Inputs) -> Tensor:
        x = stacked(x)
        self._noise = torch.empty_like(x)
        for noise, generator in zip(self._noise.unbind(), self.stack.generators, strict=True):
            noise.bernoulli_(1 - self._p, generator=generator)
        self._noise.div_(1 - self._p)
        return x * self._noise

    def backward(self, grad: Tensor) -> Tensor:
        return grad.mul_(self._noise)
