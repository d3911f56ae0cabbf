"""Linear layers of K members: matrix products, stacked where this machine gives single ones' bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        self._groups: list[tuple[slice, Tensor]] = []
        self._multiplied = self.weight

    @classmethod
    def refuses(cls, layer: nn.Module) -> str | None:
        return "has no bias" if getattr(layer, "bias", None) is None else None

    def forward(self, x: Inputs) -> Tensor:
        self._x = x
        if not self.stack.exact:
            return self._forward_in_groups(x)
        if isinstance(x, Tensor) and self._stacks(x):
            return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))
        y = x[0].new_empty(len(x), x[0].shape[0], self._outputs)
        each = y.unbind()
        for k in _neighbors(x):
            torch.addmm(self._biases[k], x[k], self._weights[k].t(), out=each[k])
        return y

    def backward(self, grad: Tensor) -> Tensor:
        x = self._x
        if not self.stack.exact:
            return self._backward_in_groups(grad)
        torch.sum(grad, 1, out=self.bias_grad)
        if isinstance(x, Tensor) and self._stacks(x):
            torch.bmm(grad.transpose(1, 2), x, out=self.weight_grad)
            return torch.bmm(grad, self.weight) if self.needs_input_grad else torch.empty(0)
        each = grad.transpose(1, 2).unbind()
        for k in _neighbors(x):
            torch.mm(each[k], x[k], out=self._weight_grads[k])
        return self._input_grads(grad) if self.needs_input_grad else torch.empty(0)

    def _forward_in_groups(self, x: Inputs) -> Tensor:
        """Take a batched product for each group of members with the same inputs, of which no copy is made."""
        kind = self.stack.kind
        self._groups = [(members, given.to(kind)) for members, given in sharers(x)]
        self._multiplied, bias = self.weight.to(kind), self.bias.to(kind).unsqueeze(1)
        y = self._multiplied.new_empty(len(x), x[0].shape[0], self._outputs)
        for members, given in self._groups:
            weight = self._multiplied[members].transpose(1, 2)
            torch.baddbmm(bias[members], given.expand(len(weight), -1, -1), weight, out=y[members])
        return y

    def _backward_in_groups(self, grad: Tensor) -> Tensor:
        torch.sum(grad, 1, dtype=self.bias.dtype, out=self.bias_grad)
        for members, given in self._groups:
            g, result = grad[members].transpose(1, 2), self.weight_grad[members]
            if g.dtype == result.dtype:
                torch.bmm(g, given.expand(len(g), -1, -1), out=result)
            else:
                result.copy_(torch.bmm(g, given.expand(len(g), -1, -1)))
        return torch.bmm(grad, self._multiplied) if self.needs_input_grad else torch.empty(0)

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
        return products_are_exact(len(x), x.shape[1], self._inputs, self._outputs, x.dtype)


def _neighbors(x: Inputs) -> list[int]:
    """Return the members, those with the same inputs one after the other, for the cache."""
    return list(range(len(x))) if isinstance(x, Tensor) else sorted(range(len(x)), key=lambda k: id(x[k]))


def sharers(x: Inputs) -> list[tuple[slice, Tensor]]:
    """Return members in groups of the same inputs, each at equal distances, so that views can stand for it.

    Args:
        x: (K, batch, features), which is one group, or a tensor for each member, of which some are the same.

    Returns:
        The places of each group, and its inputs.

    Example:
        >>> a, b = torch.zeros(1), torch.ones(1)
        >>> [(group.start, group.stop, group.step) for group, _ in sharers([a, b, a, b, a, a])]
        [(0, 5, 2), (5, 6, 1), (1, 4, 2)]
    """
    if isinstance(x, Tensor):
        return [(slice(0, len(x), 1), x)]
    places: dict[int, list[int]] = {}
    for place, each in enumerate(x):
        places.setdefault(id(each), []).append(place)
    return [(run, x[run.start]) for group in places.values() for run in _runs(group)]


def _runs(places: Sequence[int]) -> Iterator[slice]:
    """Cut ascending places where the distance to the next one changes."""
    start = 0
    while start < len(places):
        stop = start + 1
        step = places[stop] - places[start] if stop < len(places) else 1
        while stop < len(places) and places[stop] - places[stop - 1] == step:
            stop += 1
        yield slice(places[start], places[stop - 1] + 1, step)
        start = stop


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
