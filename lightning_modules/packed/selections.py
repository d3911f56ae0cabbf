"""Layers of K members that select, drop or reshape, and round nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipebench.lightning_modules.activations import Hardmax, Maxout, hardmax
from recipebench.lightning_modules.packed.base import Inputs, PackedLayer, pack_layer, stacked
from recipebench.lightning_modules.packed.stack import ParameterStack
from recipebench.lightning_modules.regularizers import DropoutAtTest


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
        return grad.view(len(grad), *self._shape)


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


@pack_layer.register(Hardmax)
class PackedHardmax(PackedLayer):
    """1 for the largest unit of each sample, with gradient 0: a selection, so nothing is rounded."""

    def __init__(
        self, layer: Hardmax, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)

    def forward(self, x: Inputs) -> Tensor:
        x = stacked(x)
        together: Tensor = hardmax(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return together

    def backward(self, grad: Tensor) -> Tensor:
        return grad.zero_()


@pack_layer.register(nn.Dropout)
class PackedDropout(PackedLayer):
    """Each member's own noise from its own stream, drawn as `nn.Dropout` draws it; none where p is 0."""

    def __init__(
        self, layer: nn.Dropout, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self._p = layer.p
        self._noise = torch.empty(0)

    def forward(self, x: Inputs) -> Tensor:
        x = stacked(x)
        if self._p == 0:
            return x
        self._noise = self._scaled(self._draw(x))
        return x * self._noise

    def backward(self, grad: Tensor) -> Tensor:
        return grad if self._p == 0 else grad.mul_(self._noise)

    def _draw(self, x: Tensor) -> Tensor:
        if self.stack.noise:
            return self.stack.noise.bernoulli(x, 1 - self._p)
        noise = torch.empty_like(x)
        for member, generator in zip(noise.unbind(), self.stack.generators, strict=True):
            member.bernoulli_(1 - self._p, generator=generator)
        return noise

    def _scaled(self, noise: Tensor) -> Tensor:
        return noise.div_(1 - self._p)


@pack_layer.register(DropoutAtTest)
class PackedDropoutAtTest(PackedDropout):
    """Dropout that does not scale in training; evaluation goes through the members themselves."""

    def _scaled(self, noise: Tensor) -> Tensor:
        return noise
