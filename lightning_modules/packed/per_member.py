"""Layers that run member by member, since their sums are not grouped alike in a stack."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipebench.lightning_modules.packed.base import Inputs, PackedLayer, pack_layer, stacked
from recipebench.lightning_modules.packed.stack import ParameterStack
from recipebench.lightning_modules.synchronized_norm import SynchronizedBatchNorm


@pack_layer.register(nn.PReLU)
@pack_layer.register(nn.BatchNorm1d)
@pack_layer.register(SynchronizedBatchNorm)
class PerMember(PackedLayer):
    """K plain layers, one after the other, with autograd: for layers whose sums are not grouped alike."""

    mixes = False

    def __init__(
        self, layer: nn.Module, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self._graph: list[tuple[Tensor, Tensor]] = []

    @torch.enable_grad()
    def forward(self, x: Inputs) -> Tensor:
        self._graph = []
        for layer, member in zip(self.members, stacked(x).unbind(), strict=True):
            leaf = member.detach().requires_grad_()
            self._graph.append((leaf, layer.train()(leaf)))
            layer.eval()
        return torch.stack([y.detach() for _, y in self._graph])

    def backward(self, grad: Tensor) -> Tensor:
        result = torch.empty_like(grad)
        for row, (layer, (leaf, y)) in enumerate(zip(self.members, self._graph, strict=True)):
            parameters = dict(layer.named_parameters())
            gradients = torch.autograd.grad(y, (leaf, *parameters.values()), grad[row])
            result[row] = gradients[0]
            for name, g in zip(parameters, gradients[1:], strict=True):
                self.stack.grad(f"{self.name}.{name}")[row] = g
        return result
