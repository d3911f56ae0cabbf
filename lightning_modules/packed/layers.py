"""The packed form of each plain layer: one forward and one backward for K members, bit for bit theirs.

A packed layer computes what K plain layers would compute, either *stacked*, in one call for all
members, or *per member*, K calls of the very kernel that the plain layer uses. Stacked is chosen only
where the arithmetic is the same by construction (element-wise operations without tails) or was found
the same on this machine, for this shape, when it first came up (matrix products).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipebench.lightning_modules.activations import Maxout
from recipebench.lightning_modules.packed.stack import ParameterStack

VECTOR = 32
"""Element-wise kernels take 32 floats at a time and treat the rest by other code (AVX-512; AVX2: 16)."""

Inputs = Tensor | Sequence[Tensor]
"""What a layer gets: (K, batch, features), or K tensors (batch, features) of which some are shared."""


class PackedLayer:
    """K plain layers of one type and shape, run together.

    Args:
        members: the K plain layers, whose parameters are views of a `ParameterStack`.
        name: the name of the layer in its module.
        stack: where the parameters of all members lie.
    """

    def __init__(self, members: Sequence[nn.Module], name: str, stack: ParameterStack) -> None:
        self.members = members
        self.name = name
        self.stack = stack
        self.has_parameters = any(True for _ in members[0].parameters())

    def forward(self, x: Inputs) -> Inputs:
        """Return the outputs, (K, batch, features), and keep what `backward` needs."""
        raise NotImplementedError

    def backward(self, grad: Tensor, *, needs_input_grad: bool = True) -> Tensor | None:
        """Write the parameters' gradients into the stack and return those of the inputs."""
        raise NotImplementedError


def stacked(x: Inputs) -> Tensor:
    """Return inputs as one tensor, (K, batch, ...); shared ones are copied."""
    return x if isinstance(x, Tensor) else torch.stack(list(x))


@singledispatch
def pack_layer(
    layer: nn.Module, members: Sequence[nn.Module], name: str, stack: ParameterStack
) -> PackedLayer:
    """Return the packed form of K layers like `layer`; look a type up with `can_pack` first.

    Raises:
        TypeError: this exact type of layer has no packed form.
    """
    raise TypeError(f"{type(layer).__name__} has no packed form.")


def can_pack(layer: nn.Module) -> bool:
    """Whether this exact type of layer has a packed form; a subclass may compute anything, so it has none."""
    return type(layer) in pack_layer.registry and not _has_hooks(layer)


def _has_hooks(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)


# Matrix products ---------------------------------------------------------------------------------


@pack_layer.register(nn.Linear)
class PackedLinear(PackedLayer):
    """y = x Wᵀ + b for K pairs (W, b)."""

    def __init__(
        self, layer: nn.Linear, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self.weight, self.bias = stack.value(f"{name}.weight"), stack.value(f"{name}.bias")
        self.weight_grad, self.bias_grad = stack.grad(f"{name}.weight"), stack.grad(f"{name}.bias")
        self._each = list(zip(self.bias.unbind(), self.weight.transpose(1, 2).unbind(), strict=True))
        self._each_weight = self.weight.unbind()
        self._each_grad = self.weight_grad.unbind()
        self._x: Inputs = ()

    def forward(self, x: Inputs) -> Tensor:
        self._x = x
        rows, (outputs, inputs) = x[0].shape[0], self.weight.shape[1:]
        if isinstance(x, Tensor) and products_are_exact(len(x), rows, inputs, outputs):
            return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))
        y = torch.empty(len(self.members), rows, outputs)
        each = y.unbind()
        for k in neighbors(x):
            torch.addmm(*self._each[k][:1], x[k], self._each[k][1], out=each[k])
        return y

    def backward(self, grad: Tensor, *, needs_input_grad: bool = True) -> Tensor | None:
        x = self._x
        torch.sum(grad, 1, out=self.bias_grad)
        rows, (outputs, inputs) = grad.shape[1], self.weight.shape[1:]
        stacked = isinstance(x, Tensor) and products_are_exact(len(x), rows, inputs, outputs)
        if stacked:
            torch.bmm(grad.transpose(1, 2), x, out=self.weight_grad)
        else:
            each = grad.transpose(1, 2).unbind()
            for k in neighbors(x):
                torch.mm(each[k], x[k], out=self._each_grad[k])
        if not needs_input_grad:
            return None
        if stacked:
            return torch.bmm(grad, self.weight)
        result = torch.empty(len(self.members), rows, inputs)
        for out, g, weight in zip(result.unbind(), grad.unbind(), self._each_weight, strict=True):
            if rows == inputs == 1:  # autograd takes a single number for a column and transposes the product
                torch.mm(weight.t(), g.t(), out=out)
            else:
                torch.mm(g, weight, out=out)
        return result


def neighbors(x: Inputs) -> list[int]:
    """Return the members in an order in which those with the same inputs follow each other, for the cache."""
    return sorted(range(len(x)), key=lambda k: id(x[k])) if not isinstance(x, Tensor) else list(range(len(x)))


@cache
def products_are_exact(members: int, rows: int, inputs: int, outputs: int) -> bool:
    """Whether batched products of this shape carry the bits of single ones, tried out on this machine.

    The forward product, the weights' gradient and the inputs' gradient are computed both ways on
    random numbers and compared as integers. Shapes known to differ are not even tried.
    """
    if min(rows, inputs, outputs) < 2 or rows * inputs * outputs < 400:
        return False
    g = torch.Generator().manual_seed(0)
    x = torch.randn(members, rows, inputs, generator=g)
    w = torch.randn(members, outputs, inputs, generator=g)
    b = torch.randn(members, outputs, generator=g)
    d = torch.randn(members, rows, outputs, generator=g)
    stacked = (
        torch.baddbmm(b.unsqueeze(1), x, w.transpose(1, 2)),
        torch.bmm(d.transpose(1, 2), x),
        torch.bmm(d, w),
    )
    each = zip(x, w, b, d, strict=True)
    single = zip(*[(F.linear(x, w, b), d.t().mm(x), d.mm(w)) for x, w, b, d in each], strict=True)
    return all(same_bits(s, torch.stack(t)) for s, t in zip(stacked, single, strict=True))


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two float32 tensors are equal as integers, so that 0.0 and -0.0 differ and NaN equals itself."""
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


# Element-wise layers -----------------------------------------------------------------------------


class _Elementwise(PackedLayer):
    """One function of one number, applied to all members at once where that keeps the bits."""

    exact = False
    """Whether any grouping gives the same bits: no rounding that vector and tail code could do differently."""

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

    def backward(self, grad: Tensor, *, needs_input_grad: bool = True) -> Tensor | None:
        result = torch.empty_like(grad)
        for g, kept, out in self._groups(grad, self._kept, result):
            self.derivative(g, kept, out)
        return result

    def _groups(self, *tensors: Tensor) -> Sequence[tuple[Tensor, ...]]:
        if self.exact or tensors[0][0].numel() % VECTOR == 0:
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


_aten = torch.ops.aten


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


# Layers that select, drop or reshape -------------------------------------------------------------


@pack_layer.register(nn.Flatten)
class PackedFlatten(PackedLayer):
    """(K, batch, ...) to (K, batch, features)."""

    def __init__(
        self, layer: nn.Flatten, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self._shape: torch.Size = torch.Size()

    def forward(self, x: Inputs) -> Inputs:
        self._shape = x[0].shape
        if isinstance(x, Tensor):
            return x.flatten(2)
        flat = {id(member): member.flatten(1) for member in x}
        return [flat[id(member)] for member in x]

    def backward(self, grad: Tensor, *, needs_input_grad: bool = True) -> Tensor | None:
        return grad.view(-1, *self._shape)


@pack_layer.register(Maxout)
class PackedMaxout(PackedLayer):
    """The largest of each group of pieces: a selection, so nothing is rounded."""

    def __init__(self, layer: Maxout, members: Sequence[nn.Module], name: str, stack: ParameterStack) -> None:
        super().__init__(members, name, stack)
        self._pieces = layer.pieces
        self._chosen = torch.empty(0)

    def forward(self, x: Inputs) -> Tensor:
        values, chosen = stacked(x).unflatten(-1, (-1, self._pieces)).max(-1, keepdim=True)
        self._chosen = chosen
        return values.squeeze(-1)

    def backward(self, grad: Tensor, *, needs_input_grad: bool = True) -> Tensor | None:
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

    def backward(self, grad: Tensor, *, needs_input_grad: bool = True) -> Tensor | None:
        return grad * self._noise


# Layers that run per member ----------------------------------------------------------------------


@pack_layer.register(nn.PReLU)
@pack_layer.register(nn.BatchNorm1d)
class PerMember(PackedLayer):
    """K plain layers, one after the other, with autograd: for layers whose sums are not grouped alike."""

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

    def backward(self, grad: Tensor, *, needs_input_grad: bool = True) -> Tensor | None:
        result = torch.empty_like(grad)
        for row, (layer, (leaf, y)) in enumerate(zip(self.members, self._graph, strict=True)):
            names, parameters = zip(*layer.named_parameters(), strict=True)
            gradients = torch.autograd.grad(y, (leaf, *parameters), grad[row])
            result[row] = gradients[0]
            for name, g in zip(names, gradients[1:], strict=True):
                self.stack.grad(f"{self.name}.{name}")[row] = g
        return result
