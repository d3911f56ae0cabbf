"""im2col and the layer on it against torch's unfold, fold and Conv2d, loops, and a hand-worked example."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.lightning_modules.activations import maxout
from recipebench.lightning_modules.convolution import ChannelMaxout, Im2colConv2d, col2im, im2col

WINDOWS = list(itertools.product([1, 2, 3, 5], [1, 2, 3], [0, 1, 2]))
"""(kernel, stride, padding), some of which leave a rest."""


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("kernel", "stride", "padding"), WINDOWS)
def test_columns_are_torchs_unfold_and_fold(kernel: int, stride: int, padding: int) -> None:
    x = numbers(3, 2, 6, 7)
    columns = im2col(x, kernel, stride=stride, padding=padding)
    unfolded = F.unfold(x, kernel, stride=stride, padding=padding)
    assert torch.equal(columns, unfolded.transpose(1, 2).reshape(-1, 2 * kernel**2))

    rows = numbers(*columns.shape, seed=1)
    images = col2im(rows, (3, 2, 6, 7), kernel, stride=stride, padding=padding)
    laid = rows.view(3, -1, 2 * kernel**2).transpose(1, 2)
    folded = F.fold(laid, (6, 7), kernel, stride=stride, padding=padding)
    torch.testing.assert_close(images, folded, rtol=0, atol=1e-12)
    assert float((columns * rows).sum()) == pytest.approx(float((x * images).sum()), abs=1e-12)


def test_columns_of_a_view_are_those_of_a_copy() -> None:
    x = numbers(5, 8, 6, 2).permute(1, 3, 0, 2)
    assert torch.equal(im2col(x, 2, stride=2), im2col(x.contiguous(), 2, stride=2))


def test_a_window_larger_than_the_image_is_refused() -> None:
    with pytest.raises(RequestError, match="kernel 5 does not fit"):
        im2col(numbers(1, 1, 4, 8), 5)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (3, 4)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), WINDOWS)
def test_values_and_gradients_are_those_of_conv2d(
    kernel: int, stride: int, padding: int, channels: int, filters: int, batch: int
) -> None:
    theirs = nn.Conv2d(channels, filters, kernel, stride=stride, padding=padding).double()
    ours = Im2colConv2d(channels, filters, kernel, stride=stride, padding=padding).double()
    ours.load_state_dict(theirs.state_dict())
    results: list[tuple[Tensor, ...]] = []
    for layer in (theirs, ours):
        x = numbers(batch, channels, 6, 7).requires_grad_()
        y = layer(x)
        assert y.is_contiguous()
        gradients = torch.autograd.grad(y, (x, *layer.parameters()), numbers(*y.shape, seed=1))
        results.append((y, *gradients))

    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-12)


def test_a_three_dimensional_convolution_worked_by_hand() -> None:
    x = torch.tensor(
        [
            [[4, 2, 1, 2], [3, 0, 2, 4], [1, 2, 3, 0], [0, 1, 2, 3]],
            [[3, 0, 6, 5], [4, 2, 4, 3], [3, 0, 1, 0], [2, 3, 3, 1]],
            [[4, 2, 1, 2], [0, 1, 0, 4], [3, 0, 6, 2], [4, 2, 4, 5]],
        ],
        dtype=torch.float64,
    ).unsqueeze(0)
    filters = torch.tensor(
        [
            [[1, 0, 2], [0, 1, 2], [3, 0, 2]],
            [[1, 0, 0], [2, 3, 1], [0, 2, 0]],
            [[0, 1, 1], [1, 0, 0], [2, 0, 1]],
        ],
        dtype=torch.float64,
    )
    # upper left: channel by channel 4+2*1+2*2+3+2*3 = 19, 3+2*4+3*2+4 = 21, 2+1+2*3+6 = 15
    by_channel = torch.tensor([19, 21, 15], dtype=torch.float64)
    layer = Im2colConv2d(3, 1, 3).double()
    with torch.no_grad():
        layer.weight.copy_(filters.unsqueeze(0))
        layer.bias.zero_()

    alone = [F.conv2d(x[:, c : c + 1], filters[c].view(1, 1, 3, 3))[0, 0] for c in range(3)]

    assert torch.equal(torch.stack([channel[0, 0] for channel in alone]), by_channel)
    y = layer(x).detach()[0, 0]
    assert float(y[0, 0]) == 55
    torch.testing.assert_close(y, torch.stack(alone).sum(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 2, 2), Im2colConv2d(3, 2, 2)])
def test_filters_have_as_many_channels_as_their_input(layer: nn.Module) -> None:
    with pytest.raises(RuntimeError):
        layer(torch.zeros(1, 2, 4, 4))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2)])
def test_pools_have_nothing_to_learn_and_keep_channels_apart(pool: Any) -> None:
    x = numbers(2, 3, 4, 4)
    y = pool(x)
    other = x.clone()
    other[:, 1] += 1

    assert not list(pool.parameters())
    assert y.shape == (2, 3, 2, 2)
    changed = (pool(other) != y).flatten(2).any(2).any(0)
    assert changed.tolist() == [False, True, False]


def test_channel_maxout_is_maxout_of_every_pixel() -> None:
    x = numbers(2, 6, 3, 5).requires_grad_()
    pixels = x.permute(0, 2, 3, 1).reshape(-1, 6)
    expected = maxout(pixels, 3).view(2, 3, 5, 2).permute(0, 3, 1, 2)

    y = ChannelMaxout(3)(x)

    assert torch.equal(y, expected)
    given = numbers(2, 2, 3, 5, seed=1)
    ours, theirs = (torch.autograd.grad(out, x, given)[0] for out in (y, expected))
    assert torch.equal(ours, theirs)
