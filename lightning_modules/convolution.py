"""Convolution written out: im2col, its adjoint col2im, a layer that multiplies the columns, Maxout of maps.

Source: Saito, Deep Learning from Scratch, convolutional neural networks (im2col).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipebench.lightning_modules.activations import Maxout
from recipebench.lightning_modules.geometry import output_size


def im2col(x: Tensor, kernel: int, *, stride: int = 1, padding: int = 0) -> Tensor:
    """Lay out every window of every image as one row, so that a convolution becomes a matrix product.

    The windows are a strided view of the padded images: a step of one window down is `stride` rows of
    memory, a step of one pixel inside a window is one row. Only the last reshape copies.

    Args:
        x: (batch, channels, height, width).
        kernel: height and width of a window.
        stride: pixels from one window to the next.
        padding: zeros at each side.

    Returns:
        (batch * out_height * out_width, channels * kernel * kernel), windows in reading order.

    Raises:
        RequestError: the window is larger than the padded image.

    Example:
        >>> im2col(torch.arange(9.0).view(1, 1, 3, 3), kernel=2)[0]
        tensor([0., 1., 3., 4.])

    References:
        Saito, Deep Learning from Scratch, convolutional neural networks, im2col.
    """
    padded = F.pad(x, (padding, padding, padding, padding))
    batch, channels, height, width = padded.shape
    down = output_size(height, kernel, stride=stride)
    across = output_size(width, kernel, stride=stride)
    image, channel, row, pixel = padded.stride()
    windows = padded.as_strided(
        (batch, down, across, channels, kernel, kernel),
        (image, row * stride, pixel * stride, channel, row, pixel),
    )
    return windows.reshape(batch * down * across, channels * kernel * kernel)


def col2im(
    columns: Tensor, shape: tuple[int, int, int, int], kernel: int, *, stride: int = 1, padding: int = 0
) -> Tensor:
    """Add every window back to where it came from: the adjoint of `im2col`, hence its gradient.

    <im2col(x), c> = <x, col2im(c)>; a pixel that several windows saw gets the sum of what they hold.

    Args:
        columns: (batch * out_height * out_width, channels * kernel * kernel), as `im2col` returns it.
        shape: (batch, channels, height, width) of the images.
        kernel: height and width of a window.
        stride: pixels from one window to the next.
        padding: zeros that `im2col` put at each side; what falls there is dropped.

    Returns:
        (batch, channels, height, width).

    Raises:
        RequestError: the window is larger than the padded image.

    Example:
        >>> ones = torch.ones(4, 4)
        >>> col2im(ones, (1, 1, 3, 3), kernel=2)[0, 0]
        tensor([[1., 2., 1.],
                [2., 4., 2.],
                [1., 2., 1.]])

    References:
        Saito, Deep Learning from Scratch, convolutional neural networks, col2im.
    """
    batch, channels, height, width = shape
    down = output_size(height, kernel, padding=padding, stride=stride)
    across = output_size(width, kernel, padding=padding, stride=stride)
    windows = columns.view(batch, down, across, channels, kernel, kernel).permute(0, 3, 1, 2, 4, 5)
    images = columns.new_zeros(batch, channels, height + 2 * padding, width + 2 * padding)
    for i in range(kernel):
        for j in range(kernel):
            rows, pixels = slice(i, i + stride * down, stride), slice(j, j + stride * across, stride)
            images[:, :, rows, pixels] += windows[..., i, j]
    return images[:, :, padding : padding + height, padding : padding + width]


class _Columns(torch.autograd.Function):
    """`im2col`, with `col2im` for its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
        ctx.shape, ctx.window = x.shape, (kernel, stride, padding)
        return im2col(x, kernel, stride=stride, padding=padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        kernel, stride, padding = ctx.window
        return col2im(grad, ctx.shape, kernel, stride=stride, padding=padding), None, None, None


class Im2colConv2d(nn.Conv2d):
    """`nn.Conv2d` as one matrix product: y = im2col(x) Wᵀ + b, each row of W one filter laid flat.

    The sum over a row runs over all channels, so a filter has as many channels as its input.

    Args:
        in_channels: channels of the input.
        out_channels: filters.
        kernel_size: height and width of the filters.
        stride: pixels from one window to the next.
        padding: zeros at each side.

    Shape:
        (batch, in_channels, height, width) to (batch, out_channels, out_height, out_width), contiguous.

    Raises:
        RuntimeError: the input has another number of channels than the filters.

    Example:
        >>> layer = Im2colConv2d(1, 1, 2)
        >>> _ = nn.init.ones_(layer.weight), nn.init.zeros_(layer.bias)
        >>> layer(torch.arange(9.0).view(1, 1, 3, 3))[0, 0].tolist()
        [[8.0, 12.0], [20.0, 24.0]]

    References:
        Saito, Deep Learning from Scratch, convolutional neural networks.
    """

    bias: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, padding=padding)
        self._window = (kernel_size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of the images with all filters."""
        kernel, stride, padding = self._window
        down, across = (output_size(n, kernel, padding=padding, stride=stride) for n in x.shape[2:])
        columns: Tensor = _Columns.apply(x, kernel, stride, padding)  # type: ignore[no-untyped-call]
        rows: Tensor = torch.addmm(self.bias, columns, self.weight.flatten(1).t())
        return rows.view(len(x), down, across, self.out_channels).permute(0, 3, 1, 2).contiguous()


CONVOLUTIONS: dict[str, type[nn.Conv2d]] = {"torch": nn.Conv2d, "im2col": Im2colConv2d}
"""The implementations of a convolution by name; one computes what the other does."""


class ChannelMaxout(Maxout):
    """Maxout of maps: the maximum over groups of `pieces` neighboring channels, pixel by pixel.

    The convolution before it has `pieces` times as many filters as there are channels after it.

    Args:
        pieces: affine pieces of each channel, 2 by default.
        match: see `Maxout`.

    Shape:
        (batch, channels * pieces, height, width) to (batch, channels, height, width).

    Example:
        >>> ChannelMaxout(2)(torch.tensor([1.0, 3.0, 2.0, -5.0]).view(1, 4, 1, 1)).flatten()
        tensor([3., 2.])

    References:
        Goodfellow et al., Maxout Networks, ICML 2013, 4 (convolutional layers).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the maximum of each group of channels."""
        grouped: Tensor = x.unflatten(1, (-1, self.pieces))
        return grouped.max(2).values
