"""The two columns of a score for K members: halves are exact, so equal however they are grouped."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipebench.lightning_modules.packed.base import Inputs, PackedLayer, pack_layer, stacked
from recipebench.lightning_modules.packed.stack import ParameterStack
from recipebench.lightning_modules.two_columns import TwoColumns


@pack_layer.register(TwoColumns)
class PackedTwoColumns(PackedLayer):
    """(K, batch, 1) to (K, batch, 2)."""

    def __init__(
        self, layer: TwoColumns, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)

    def forward(self, x: Inputs) -> Tensor:
        x = stacked(x)
        return torch.cat([-0.5 * x, 0.5 * x], dim=2)

    def backward(self, grad: Tensor) -> Tensor:
        negative, positive = (0.5 * grad).unbind(2)
        return (positive - negative).unsqueeze(2)
