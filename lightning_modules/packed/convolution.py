"""Layers of K members that treat maps: convolutions per member, pools stacked, norms with autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recipebench.lightning_modules.convolution import ChannelMaxout, Im2colConv2d
from recipebench.lightning_modules.packed.base import Inputs, PackedLayer, pack_layer, stacked
from recipebench.lightning_modules.packed.per_member import PerMember
from recipebench.lightning_modules.packed.stack import ParameterStack

_aten = torch.ops.aten

pack_layer.register(nn.BatchNorm2d)(PerMember)


@pack_layer.register(nn.Conv2d)
class PackedConv2d(PackedLayer):
    """K convolutions one after the other, by the calls that `nn.Conv2d` and autograd would make.

    A grouped convolution does all in one call, no faster on a CPU and with other bits; it is what
    `torch.vmap` makes of K convolutions, too. It is taken where bits are not promised.
    """

    weight: Tensor
    weight_grad: Tensor

    def __init__(
        self, layer: nn.Conv2d, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self.weight, self.weight_grad = stack.value(f"{name}.weight"), stack.grad(f"{name}.weight")
        self.bias, self.bias_grad = stack.value(f"{name}.bias"), stack.grad(f"{name}.bias")
        self._pairs = list(zip(self.weight.unbind(), self.bias.unbind(), strict=True))
        transposed, output_padding = False, [0, 0]
        self._geometry: tuple[Any, ...] = (
            *(layer.stride, layer.padding, layer.dilation),
            *(transposed, output_padding, layer.groups),
        )
        self._x: Inputs = ()

    @classmethod
    def refuses(cls, layer: nn.Module) -> str | None:
        if getattr(layer, "bias", None) is None:
            return "has no bias"
        if getattr(layer, "padding_mode", None) != "zeros" or isinstance(layer.padding, str):
            return "pads otherwise than with a number of zeros"
        return None

    def forward(self, x: Inputs) -> Tensor:
        if not self.stack.exact:
            return self._forward_grouped(stacked(x))
        self._x = x
        pairs = zip(x, self._pairs, strict=True)
        return torch.stack([torch.convolution(each, w, b, *self._geometry) for each, (w, b) in pairs])

    def backward(self, grad: Tensor) -> Tensor:
        if not self.stack.exact:
            return self._backward_grouped(grad)
        mask = [self.needs_input_grad, True, True]
        inputs = []
        for k, (x, (weight, bias)) in enumerate(zip(self._x, self._pairs, strict=True)):
            by_input, self.weight_grad[k], self.bias_grad[k] = _aten.convolution_backward(
                grad[k], x, weight, bias.shape, *self._geometry, mask
            )
            inputs.append(by_input)
        return torch.stack(inputs) if self.needs_input_grad else torch.empty(0)

    def _forward_grouped(self, x: Tensor) -> Tensor:
        *geometry, groups = self._geometry
        kind = self.stack.kind
        self._x = _side_by_side(x).to(kind)
        weight, bias = self.weight.flatten(0, 1).to(kind), self.bias.flatten().to(kind)
        geometry.append(len(x) * groups)
        return _apart(torch.convolution(self._x, weight, bias, *geometry), len(x))

    def _backward_grouped(self, grad: Tensor) -> Tensor:
        *geometry, groups = self._geometry
        weight, mask = self.weight.flatten(0, 1).to(self.stack.kind), [self.needs_input_grad, True, True]
        by_input, by_weight, by_bias = _aten.convolution_backward(
            _side_by_side(grad), self._x, weight, [len(weight)], *geometry, len(grad) * groups, mask
        )
        self.weight_grad.copy_(by_weight.view_as(self.weight))
        self.bias_grad.copy_(by_bias.view_as(self.bias))
        return _apart(by_input, len(grad)) if self.needs_input_grad else torch.empty(0)


def _side_by_side(maps: Tensor) -> Tensor:
    """(K, batch, channels, ...) to (batch, K * channels, ...)."""
    return maps.transpose(0, 1).flatten(1, 2)


def _apart(maps: Tensor, members: int) -> Tensor:
    """(batch, K * channels, ...) to (K, batch, channels, ...)."""
    apart: Tensor = maps.unflatten(1, (members, -1))
    return apart.transpose(0, 1).contiguous()


@pack_layer.register(Im2colConv2d)
class PackedIm2colConv2d(PackedLayer):
    """K convolutions by matrix products, one after the other, with autograd."""

    mixes = False
    weight: Tensor
    weight_grad: Tensor

    def __init__(
        self, layer: Im2colConv2d, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self.weight, self.weight_grad = stack.value(f"{name}.weight"), stack.grad(f"{name}.weight")
        self._bias_grad = stack.grad(f"{name}.bias")
        self._graph: list[tuple[Tensor, Tensor]] = []

    @torch.enable_grad()
    def forward(self, x: Inputs) -> Tensor:
        leaves = [each.detach().requires_grad_(self.needs_input_grad) for each in x]
        self._graph = [(leaf, m(leaf)) for leaf, m in zip(leaves, self.members, strict=True)]
        return torch.stack([y.detach() for _, y in self._graph])

    def backward(self, grad: Tensor) -> Tensor:
        inputs = []
        for k, (leaf, y) in enumerate(self._graph):
            wanted = (*self.members[k].parameters(), *([leaf] if self.needs_input_grad else []))
            self.weight_grad[k], self._bias_grad[k], *by_input = torch.autograd.grad(y, wanted, grad[k])
            inputs += by_input
        return torch.stack(inputs) if self.needs_input_grad else torch.empty(0)


class _Pool(PackedLayer):
    """K pools as one over K times as many images: no window sees more than one map."""

    def __init__(
        self, layer: nn.Module, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self._window = self.window(layer)
        self._images = self._chosen = torch.empty(0)

    def forward(self, x: Inputs) -> Tensor:
        x = stacked(x)
        self._images = x.flatten(0, 1)
        pooled: Tensor = self.pool(self._images).unflatten(0, x.shape[:2])
        return pooled

    def backward(self, grad: Tensor) -> Tensor:
        images: Tensor = self.spread(grad.flatten(0, 1)).unflatten(0, grad.shape[:2])
        return images

    def window(self, layer: Any) -> tuple[Any, ...]:
        """Return the options of the layer in the order of torch's kernels."""
        raise NotImplementedError

    def pool(self, images: Tensor) -> Tensor:
        """Return the pooled images."""
        raise NotImplementedError

    def spread(self, grad: Tensor) -> Tensor:
        """Return the gradient by the images."""
        raise NotImplementedError


@pack_layer.register(nn.MaxPool2d)
class PackedMaxPool2d(_Pool):
    """The largest of each window."""

    @classmethod
    def refuses(cls, layer: nn.Module) -> str | None:
        return "returns indices too" if getattr(layer, "return_indices", True) else None

    def window(self, layer: nn.MaxPool2d) -> tuple[Any, ...]:
        sizes = map(_pair, (layer.kernel_size, layer.stride, layer.padding, layer.dilation))
        return (*sizes, layer.ceil_mode)

    def pool(self, images: Tensor) -> Tensor:
        values: Tensor
        values, self._chosen = _aten.max_pool2d_with_indices(images, *self._window)
        return values

    def spread(self, grad: Tensor) -> Tensor:
        result: Tensor = _aten.max_pool2d_with_indices_backward(
            grad, self._images, *self._window, self._chosen
        )
        return result


@pack_layer.register(nn.AvgPool2d)
class PackedAvgPool2d(_Pool):
    """The mean of each window."""

    def window(self, layer: nn.AvgPool2d) -> tuple[Any, ...]:
        sizes = map(_pair, (layer.kernel_size, layer.stride, layer.padding))
        return (*sizes, layer.ceil_mode, layer.count_include_pad, layer.divisor_override)

    def pool(self, images: Tensor) -> Tensor:
        result: Tensor = _aten.avg_pool2d(images, *self._window)
        return result

    def spread(self, grad: Tensor) -> Tensor:
        result: Tensor = _aten.avg_pool2d_backward(grad, self._images, *self._window)
        return result


@pack_layer.register(ChannelMaxout)
class PackedChannelMaxout(PackedLayer):
    """The largest of each group of channels: a selection, so nothing is rounded."""

    def __init__(
        self, layer: ChannelMaxout, members: Sequence[nn.Module], name: str, stack: ParameterStack
    ) -> None:
        super().__init__(members, name, stack)
        self._pieces = layer.pieces
        self._chosen = torch.empty(0)

    def forward(self, x: Inputs) -> Tensor:
        groups: Tensor = stacked(x).unflatten(2, (-1, self._pieces))
        values, self._chosen = groups.max(3, keepdim=True)
        return values.squeeze(3)

    def backward(self, grad: Tensor) -> Tensor:
        batch, channels, height, width = grad.shape[1:]
        result = grad.new_zeros(len(grad), batch, channels, self._pieces, height, width)
        return result.scatter_(3, self._chosen, grad.unsqueeze(3)).flatten(2, 3)


def _pair(size: int | tuple[int, int]) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)
