"""Linear layers of K members: matrix products, stacked where this machine gives single ones' bits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipebench.lightning_modules.packed.base import Inputs, PackedLayer, pack_layer
from recipebench.lightning_modules.packed.stack import ParameterStack


@pack_layer.register(nn.Linear)
class PackedLinear(PackedLayer):
    """y = x Wᵀ + b for K pairs (W, b), in the products that `nn.Linear` and autograd would call."""

    weight: Tensor
    weight_grad: Tensor

    def __init__(
        self, layer: nn.Linear, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self.weight, self.weight_grad = stack.value(f"{name}.weight"), stack.grad(f"{name}.weight")
        self.bias, self.bias_grad = stack.value(f"{name}.bias"), stack.grad(f"{name}.bias")
        self._outputs, self._inputs = layer.weight.shape
        self._weights, self._biases = self.weight.unbind(), self.bias.unbind()
        self._weight_grads = self.weight_grad.unbind()
        self._x: Inputs = ()

    @classmethod
    def refuses(cls, layer: nn.Module) -> str | None:
        return "has no bias" if getattr(layer, "bias", None) is None else None

    def forward(self, x: Inputs) -> Tensor:
        self._x = x
        if isinstance(x, Tensor) and self._stacks(x):
            return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))
        y = x[0].new_empty(len(x), x[0].shape[0], self._outputs)
        each = y.unbind()
        for k in _neighbors(x):
            torch.addmm(self._biases[k], x[k], self._weights[k].t(), out=each[k])
        return y

    def backward(self, grad: Tensor) -> Tensor:
        x = self._x
        torch.sum(grad, 1, out=self.bias_grad)
        if isinstance(x, Tensor) and self._stacks(x):
            torch.bmm(grad.transpose(1, 2), x, out=self.weight_grad)
            return torch.bmm(grad, self.weight) if self.needs_input_grad else torch.empty(0)
        each = grad.transpose(1, 2).unbind()
        for k in _neighbors(x):
            torch.mm(each[k], x[k], out=self._weight_grads[k])
        return self._input_grads(grad) if self.needs_input_grad else torch.empty(0)

    def _input_grads(self, grad: Tensor) -> Tensor:
        rows = grad.shape[1]
        result = grad.new_empty(len(grad), rows, self._inputs)
        for out, g, weight in zip(result.unbind(), grad.unbind(), self._weights, strict=True):
            if rows == self._inputs == 1:  # autograd takes a single number for a column: product transposed
                torch.mm(weight.t(), g.t(), out=out)
            else:
                torch.mm(g, weight, out=out)
        return result

    def _stacks(self, x: Tensor) -> bool:
        if x.device.type != "cpu":  # bits are promised on processors alone
            return True
        return products_are_exact(len(x), x.shape[1], self._inputs, self._outputs, x.dtype)


def _neighbors(x: Inputs) -> list[int]:
    """Return the members, those with the same inputs one after the other, for the cache."""
    return list(range(len(x))) if isinstance(x, Tensor) else sorted(range(len(x)), key=lambda k: id(x[k]))


@cache
def products_are_exact(
    members: int, rows: int, inputs: int, outputs: int, dtype: torch.dtype = torch.float32
) -> bool:
    """Whether batched products of this shape carry the bits of single ones, tried out on this machine.

    The forward product, the weights' gradient and the inputs' gradient are computed both ways on
    random numbers and compared as integers. Shapes known to differ are not even tried.

    Args:
        members: K.
        rows: samples in a batch.
        inputs: features in.
        outputs: features out.
        dtype: of all numbers.
    """
    if min(rows, inputs, outputs) < 2 or rows * inputs * outputs < 400:
        return False
    g = torch.Generator().manual_seed(0)
    x = torch.randn(members, rows, inputs, generator=g, dtype=dtype)
    w = torch.randn(members, outputs, inputs, generator=g, dtype=dtype)
    b = torch.randn(members, outputs, generator=g, dtype=dtype)
    d = torch.randn(members, rows, outputs, generator=g, dtype=dtype)
    forward = torch.baddbmm(b.unsqueeze(1), x, w.transpose(1, 2))
    pairs = [
        *zip(forward, map(F.linear, x, w, b), strict=True),
        *zip(torch.bmm(d.transpose(1, 2), x), (e.t().mm(a) for e, a in zip(d, x, strict=True)), strict=True),
        *zip(torch.bmm(d, w), map(torch.mm, d, w), strict=True),
    ]
    return all(same_bits(together, single) for together, single in pairs)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal as integers: 0.0 and -0.0 differ, NaN equals itself.

    Example:
        >>> same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
        False
    """
    kind = {4: torch.int32, 8: torch.int64}[a.element_size()]
    return torch.equal(a.contiguous().view(kind), b.contiguous().view(kind))
