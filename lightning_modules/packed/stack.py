"""The parameters of K modules as one tensor, of which each module's own parameters are views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipebench.lightning_modules import exactness
from recipebench.lightning_modules.packed.noise import CounterNoise

ALIGNMENT = 16
"""Every parameter starts at a multiple of 16 floats, 64 bytes, as in tensors of its own."""


class ParameterStack:
    """K modules of one shape, their parameters side by side: row k of `values` belongs to module k.

    A module's parameters are made views of its row, so that the modules can be evaluated, saved and
    compared as if each lived alone, and every element-wise optimizer step is one call for all.

    Args:
        modules: K modules with equal parameter names and shapes, of one type of numbers, on one device.
        noise_seeds: the seed of each module's noise stream.
        kind: the numbers that layers multiply with, where not those of the parameters.

    Attributes:
        values: (K, size), the parameters, gaps filled with zeros; of the modules' type, on their device.
        grads: (K, size), their gradients, zero in the gaps.
        exact: whether the bits are to be those of each module alone; see `exactness.promises_bits`.
        generators: K generators, one noise stream for all layers of a module, consumed in forward order.
        noise: what takes their place where bits are not promised; None where they are.
    """

    def __init__(
        self, modules: Sequence[nn.Module], noise_seeds: Sequence[int], kind: torch.dtype | None = None
    ) -> None:
        self.shapes = {name: p.shape for name, p in modules[0].named_parameters()}
        self._offsets: dict[str, int] = {}
        size = 0
        for name, shape in self.shapes.items():
            self._offsets[name] = size
            size += -(-shape.numel() // ALIGNMENT) * ALIGNMENT
        like = next(modules[0].parameters(), torch.empty(0))
        self.values = like.data.new_zeros(len(modules), size)
        self.grads = torch.zeros_like(self.values)
        device = self.values.device
        self.exact = exactness.promises_bits(device)
        self.kind = kind or self.values.dtype
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in noise_seeds]
        self.noise = None if self.exact else CounterNoise(noise_seeds, device)
        for row, module in enumerate(modules):
            self._adopt(row, module)

    def value(self, name: str) -> Tensor:
        """Return parameter `name` of all members as a view: (K, *shape)."""
        return self._view(self.values, name)

    def grad(self, name: str) -> Tensor:
        """Return the gradient of parameter `name` of all members as a view: (K, *shape)."""
        return self._view(self.grads, name)

    def _adopt(self, row: int, module: nn.Module) -> None:
        parameters = dict(module.named_parameters())
        if {n: p.shape for n, p in parameters.items()} != self.shapes:
            raise ValueError(f"Expected parameters {self.shapes}, got those of {module}.")
        for name, parameter in parameters.items():
            view = self.value(name)[row]
            view.copy_(parameter.data)
            parameter.data = view

    def _view(self, flat: Tensor, name: str) -> Tensor:
        shape, start = self.shapes[name], self._offsets[name]
        return flat[:, start : start + shape.numel()].view(len(flat), *shape)
