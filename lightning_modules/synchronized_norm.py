"""Batch norm over the batch of several processes: each normalizes its part by the whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from recipebench.lightning_modules.shares import Share


class _Sum(torch.autograd.Function):
    """The sum over processes. Every process's loss depends on it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return share.add_up(values.clone())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        share: Share = ctx.share
        return share.add_up(grads[0].clone()), None


class SynchronizedBatchNorm(_BatchNorm):
    """gamma (z - mean) / sqrt(variance + eps) + beta, for each channel over the batch of all processes.

    What `nn.BatchNorm1d` or `nn.BatchNorm2d` computes on one device, up to rounding, running averages
    included; in eval mode it is theirs. A process may have no sample at all. (torch's `SyncBatchNorm` asks
    for a graphics processor.)

    Args:
        layer: the layer that it takes the place of; parameters and running averages are shared with it.
        share: what of every batch this process gets.

    Shape:
        (samples of this process, channels, ...) to the same shape.

    References:
        Ioffe and Szegedy, Batch Normalization, ICML 2015; torch.nn.SyncBatchNorm.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layer: _BatchNorm, share: Share) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum)
        self.weight, self.bias = layer.weight, layer.bias
        for name, buffer in layer.named_buffers():
            self.register_buffer(name, buffer)
        self.share = share

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that nn.BatchNorm1d has
        """Normalize, and follow the statistics in training."""
        if not self.training:
            return super().forward(input)
        over = [0, *range(2, input.dim())]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        own = torch.tensor(input.numel() / input.shape[1], dtype=torch.float64, device=input.device)
        count = self.share.add_up(own).to(input.dtype)
        mean = _sum(input.sum(over), self.share) / count
        centered = input - mean.view(shape)
        variance = _sum(centered.square().sum(over), self.share) / count
        self._follow(mean.detach(), variance.detach() * (count / (count - 1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        return centered * scale.view(shape) + self.bias.view(shape)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Add a batch to the running averages; the variance is the unbiased one there."""
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - as above
        """Take inputs of any number of dimensions, as the statistics do."""


def _sum(values: Tensor, share: Share) -> Tensor:
    total: Tensor = _Sum.apply(values, share)  # type: ignore[no-untyped-call]
    return total


def synchronize(network: nn.Module, share: Share) -> None:
    """Put a `SynchronizedBatchNorm` in the place of every batch norm; a network on one device stays as it is.

    Args:
        network: whose layers are replaced, at any depth.
        share: what of every batch this process gets.
    """
    if share.ranks == 1:
        return
    for name, layer in list(network.named_children()):
        if isinstance(layer, _BatchNorm) and type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d):
            setattr(network, name, SynchronizedBatchNorm(layer, share))
        else:
            synchronize(layer, share)
