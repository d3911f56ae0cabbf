"""Activations of K members that treat every number by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipebench.lightning_modules.activations import Step, threshold_step
from recipebench.lightning_modules.packed.base import Inputs, PackedLayer, pack_layer, stacked
from recipebench.lightning_modules.packed.stack import ParameterStack

VECTOR = 32
"""Element-wise kernels take 32 floats at a time and treat the rest by other code (AVX-512; AVX2: 16)."""

_aten = torch.ops.aten


class _Elementwise(PackedLayer):
    """One function of one number, applied to all members at once where that keeps the bits."""

    exact = False
    """Whether any grouping gives the same bits: nothing that vector and tail code could round differently."""

    def __init__(
        self, layer: nn.Module, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self._kept = torch.empty(0)

    def forward(self, x: Inputs) -> Tensor:
        x = stacked(x)
        y = torch.empty_like(x)
        for a, out in self._groups(x, y):
            self.function(a, out)
        self._kept = self.keep(x, y)
        return y

    def backward(self, grad: Tensor) -> Tensor:
        for g, kept in self._groups(grad, self._kept):
            self.derivative(g, kept, out=g)  # nobody else needs it: each layer owns the gradient it gets
        return grad

    def _groups(self, *tensors: Tensor) -> Sequence[tuple[Tensor, ...]]:
        if self.exact or not self.stack.exact or tensors[0][0].numel() % VECTOR == 0:
            return [tensors]
        return list(zip(*(t.unbind() for t in tensors), strict=True))

    def keep(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what the derivative is computed from: the outputs, unless overridden."""
        return y

    def function(self, x: Tensor, out: Tensor) -> None:
        """Compute f(x) into `out`."""
        raise NotImplementedError

    def derivative(self, grad: Tensor, kept: Tensor, out: Tensor) -> None:
        """Compute grad * f'(x) into `out`, by the kernel that autograd would call."""
        raise NotImplementedError


@pack_layer.register(nn.ReLU)
class PackedReLU(_Elementwise):
    """max(0, x)."""

    exact = True

    def function(self, x: Tensor, out: Tensor) -> None:
        torch.clamp_min(x, 0, out=out)

    def derivative(self, grad: Tensor, kept: Tensor, out: Tensor) -> None:
        _aten.threshold_backward.grad_input(grad, kept, 0, grad_input=out)


@pack_layer.register(nn.LeakyReLU)
class PackedLeakyReLU(_Elementwise):
    """x for x > 0, slope * x otherwise: one multiplication, rounded alike everywhere."""

    exact = True

    def __init__(
        self, layer: nn.LeakyReLU, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(layer, members, name, stack)
        self._slope = layer.negative_slope

    def keep(self, x: Tensor, y: Tensor) -> Tensor:
        return x

    def function(self, x: Tensor, out: Tensor) -> None:
        _aten.leaky_relu.out(x, self._slope, out=out)

    def derivative(self, grad: Tensor, kept: Tensor, out: Tensor) -> None:
        _aten.leaky_relu_backward.grad_input(grad, kept, self._slope, False, grad_input=out)


@pack_layer.register(Step)
class PackedStep(_Elementwise):
    """1 if x > 0, else 0, with gradient 0: nothing is rounded."""

    exact = True

    def function(self, x: Tensor, out: Tensor) -> None:
        out.copy_(threshold_step(x))

    def derivative(self, grad: Tensor, kept: Tensor, out: Tensor) -> None:
        out.zero_()


@pack_layer.register(nn.Sigmoid)
class PackedSigmoid(_Elementwise):
    """1 / (1 + exp(-x))."""

    def function(self, x: Tensor, out: Tensor) -> None:
        torch.sigmoid(x, out=out)

    def derivative(self, grad: Tensor, kept: Tensor, out: Tensor) -> None:
        _aten.sigmoid_backward.grad_input(grad, kept, grad_input=out)


@pack_layer.register(nn.Tanh)
class PackedTanh(_Elementwise):
    """tanh(x)."""

    def function(self, x: Tensor, out: Tensor) -> None:
        torch.tanh(x, out=out)

    def derivative(self, grad: Tensor, kept: Tensor, out: Tensor) -> None:
        _aten.tanh_backward.grad_input(grad, kept, grad_input=out)
