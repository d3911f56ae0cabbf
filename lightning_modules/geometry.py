"""What convolutions and pools do to the size of a map, and what a CNN weighs and costs, torch-free.

Source: Saito, Deep Learning from Scratch, convolutional neural networks (padding, stride, output size).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from recipebench.errors import RequestError
from recipebench.levels import Value

Shape = tuple[int, ...]
"""(channels, height, width) of one image or of the maps of one layer."""

NEAREST_PADDINGS = 3
"""Paddings that a message names where a stride does not fit."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """One layer that slides a window over maps: a convolution or a pool.

    Args:
        kind: `convolution` (filters see all channels) or `pool` (each channel by itself).
        inputs: (channels, height, width) of what it gets.
        outputs: (channels, height, width) of what it gives.
        kernel: height and width of the window.
        padding: zeros at each of the four sides.
        stride: how far the window moves.
    """

    kind: Literal["convolution", "pool"]
    inputs: Shape
    outputs: Shape
    kernel: int
    padding: int = 0
    stride: int = 1


RECEPTIVE_FIELDS: dict[str, dict[str, int]] = {
    "one_5x5": {"kernel": 5, "convs_per_block": 1},
    "two_3x3": {"kernel": 3, "convs_per_block": 2},
    "one_7x7": {"kernel": 7, "convs_per_block": 1},
    "three_3x3": {"kernel": 3, "convs_per_block": 3},
}
"""Parameters of `deep_cnn` whose blocks see 5x5 pixels (25 or 2 * 9 = 18 weights for each pair of
channels) or 7x7 (49 or 27), to be crossed with the same blocks."""

EQUAL_WEIGHTS: dict[str, dict[str, Any]] = {
    "two_3x3": {"kernel": 3, "convs_per_block": 2, "blocks": (16, 32)},
    "one_5x5": {"kernel": 5, "convs_per_block": 1, "blocks": (20, 32)},
}
"""Parameters of `deep_cnn` with nearly equal weights on one channel: 16,272 and 16,500 in convolutions."""


def output_size(size: int, kernel: int, *, padding: int = 0, stride: int = 1) -> int:
    """Return the size of a map after a window went over it: OH = (H + 2P - FH) / S + 1.

    Where the division leaves a rest it is rounded down, as torch does: the last pixels are not seen.
    `window_problem` refuses such windows.

    Args:
        size: height (or width) of the map, H.
        kernel: height (or width) of the window, FH.
        padding: zeros on each side, P.
        stride: how far the window moves, S.

    Raises:
        RequestError: the window is larger than the padded map.

    Example:
        >>> output_size(28, 5, padding=2), output_size(7, 3, stride=2)
        (28, 3)

    References:
        Saito, Deep Learning from Scratch, convolutional neural networks, stride.
    """
    if size + 2 * padding < kernel:
        raise RequestError(_too_large(size, kernel, padding))
    return (size + 2 * padding - kernel) // stride + 1


def window_problem(size: int, kernel: int, *, padding: int = 0, stride: int = 1) -> str | None:
    """Say why a window does not fit a map without a rest, and what would fit, or return None.

    Args:
        size: height or width of the map.
        kernel: height or width of the window.
        padding: zeros on each side.
        stride: how far the window moves.

    Example:
        >>> print(window_problem(28, 5, stride=3))
        stride 3 does not fit 28 + 2*0 - 5 = 23: 23/3 is not whole; strides 1 and 23 fit, or padding 2 or 5
    """
    span = size + 2 * padding - kernel
    if span < 0:
        return _too_large(size, kernel, padding)
    if span % stride == 0:
        return None
    paddings = (p for p in range(stride + kernel) if p != padding and _fits(size + 2 * p - kernel, stride))
    other = " or ".join(map(str, itertools.islice(paddings, NEAREST_PADDINGS)))
    return (
        f"stride {stride} does not fit {size} + 2*{padding} - {kernel} = {span}: {span}/{stride} is not "
        f"whole; strides {_listed(_divisors(span))} fit" + (f", or padding {other}" if other else "")
    )


def receptive_field(windows: Iterable[tuple[int, int]]) -> int:
    """Return how many input pixels, in height or width, one output pixel depends on.

    r = 1 + sum over layers of (kernel - 1) times the product of the strides before.

    Args:
        windows: (kernel, stride) of each layer, first to last.

    Example:
        >>> receptive_field([(5, 1)]), receptive_field([(3, 1), (3, 1)])
        (5, 5)

    References:
        Saito, Deep Learning from Scratch, deep learning (two 3x3 filters in place of one of 5x5).
    """
    field, step = 1, 1
    for kernel, stride in windows:
        field += (kernel - 1) * step
        step *= stride
    return field


def convolution_problem(parameters: Mapping[str, Value], shape: Sequence[int]) -> str | None:
    """Say why a CNN does not fit images of a shape, and what would, or return None.

    Args:
        parameters: all of `cnn`, `deep_cnn` or `transfer_cnn`, checked against the catalog.
        shape: (channels, height, width) of one image.

    Example:
        >>> cnn = {"channels": (8, 16, 16), "kernel": 3, "padding": 1, "pool": "max", "pool_size": 2}
        >>> convolution_problem(cnn, (1, 32, 32)) is None
        True
        >>> convolution_problem(cnn, (1, 28, 28))
        'pool 3: pool_size 2 does not fit 7: 7/2 is not whole; 1 and 7 fit'
    """
    try:
        windows_of(parameters, shape)
    except RequestError as error:
        return str(error)
    return None


def windows_of(parameters: Mapping[str, Value], shape: Sequence[int]) -> list[Window]:
    """Return the convolutions and pools of a CNN in their order.

    Args:
        parameters: of a model with `channels` (a convolution and a pool for each) or `blocks`
            (`convs_per_block` convolutions that keep the size, and a pool, for each); what is left out
            is kernel 3, padding 0, stride 1, convs_per_block 2, and no pool.
        shape: (channels, height, width) of one image.

    Raises:
        RequestError: a window does not fit; the message says what fits.
    """
    if len(shape) != 3:
        raise RequestError(f"expected images of (channels, height, width), got samples of {tuple(shape)}")
    windows: list[Window] = []
    for filters in _widths(parameters, "blocks" if "blocks" in parameters else "channels"):
        for _ in range(_whole(parameters, "convs_per_block", 2) if "blocks" in parameters else 1):
            windows.append(_convolution(windows, parameters, shape, filters))
        if parameters.get("pool", "none") != "none":
            windows.append(_pool(windows, parameters, shape))
    return windows


def count_weights(
    parameters: Mapping[str, Value], shape: Sequence[int], classes: int, *, pieces: int = 1
) -> int:
    """Count the weights of a CNN's convolutions and linear layers, biases left out, without building it.

    Args:
        parameters: all of `cnn`, `deep_cnn` or `transfer_cnn`.
        shape: (channels, height, width) of one image.
        classes: outputs of the last layer.
        pieces: of Maxout; 1 for other activations.

    Raises:
        RequestError: a window does not fit.

    Example:
        >>> cnn = {"channels": (6, 16), "kernel": 5, "pool": "max", "pool_size": 2, "hidden": (120, 84)}
        >>> count_weights(cnn, (1, 28, 28), 10)  # 150 + 2,400 + 30,720 + 10,080 + 840
        44190
    """
    convolutions = [w for w in windows_of(parameters, shape) if w.kind == "convolution"]
    return sum(_filter_weights(w) * pieces for w in convolutions) + _linear_weights(
        parameters, shape, classes, pieces
    )


def count_multiply_adds(
    parameters: Mapping[str, Value], shape: Sequence[int], classes: int, *, pieces: int = 1
) -> int:
    """Count the multiplications (each with an addition) of a CNN's forward pass over one image.

    A convolution takes its weights once for each pixel of its output; pools and activations are left
    out. Training takes about three times as many: forward, and the gradients by weights and by inputs.

    Args:
        parameters: all of `cnn`, `deep_cnn` or `transfer_cnn`.
        shape: (channels, height, width) of one image.
        classes: outputs of the last layer.
        pieces: of Maxout; 1 for other activations.

    Raises:
        RequestError: a window does not fit.

    Example:
        >>> count_multiply_adds({"channels": (6,), "kernel": 5, "hidden": ()}, (1, 28, 28), 10)
        120960
    """
    convolutions = [w for w in windows_of(parameters, shape) if w.kind == "convolution"]
    slid = sum(_filter_weights(w) * pieces * math.prod(w.outputs[1:]) for w in convolutions)
    return slid + _linear_weights(parameters, shape, classes, pieces)


def _convolution(
    before: Sequence[Window], parameters: Mapping[str, Value], shape: Sequence[int], filters: int
) -> Window:
    kernel = _whole(parameters, "kernel", 3)
    if "blocks" in parameters:
        padding, stride = _same_padding(kernel), 1
    else:
        padding, stride = _whole(parameters, "padding", 0), _whole(parameters, "stride", 1)
    inputs = before[-1].outputs if before else tuple(shape)
    number = 1 + sum(w.kind == "convolution" for w in before)
    for size in inputs[1:]:
        if problem := window_problem(size, kernel, padding=padding, stride=stride):
            raise RequestError(f"convolution {number}: {problem}")
    height, width = (output_size(size, kernel, padding=padding, stride=stride) for size in inputs[1:])
    outputs = (filters, height, width)
    return Window(
        kind="convolution", inputs=inputs, outputs=outputs, kernel=kernel, padding=padding, stride=stride
    )


def _pool(before: Sequence[Window], parameters: Mapping[str, Value], shape: Sequence[int]) -> Window:
    size = _whole(parameters, "pool_size", 2)
    inputs = before[-1].outputs if before else tuple(shape)
    number = 1 + sum(w.kind == "pool" for w in before)
    for side in inputs[1:]:
        if side % size:
            raise RequestError(
                f"pool {number}: pool_size {size} does not fit {side}: {side}/{size} is not whole; "
                f"{_listed(_divisors(side))} fit"
            )
    channels, height, width = inputs
    outputs = (channels, height // size, width // size)
    return Window(kind="pool", inputs=inputs, outputs=outputs, kernel=size, stride=size)


def _same_padding(kernel: int) -> int:
    if kernel % 2 == 0:
        raise RequestError(
            f"kernel: expected an odd number, so that padding (kernel - 1)/2 keeps the size, got {kernel}; "
            f"{kernel - 1} and {kernel + 1} fit"
        )
    return (kernel - 1) // 2


def _filter_weights(window: Window) -> int:
    return window.outputs[0] * window.inputs[0] * window.kernel**2


def _linear_weights(parameters: Mapping[str, Value], shape: Sequence[int], classes: int, pieces: int) -> int:
    windows = windows_of(parameters, shape)
    flat = math.prod(windows[-1].outputs if windows else shape)
    widths = [flat, *_widths(parameters, "hidden")]
    inner = sum(a * b * pieces for a, b in itertools.pairwise(widths))
    return inner + widths[-1] * classes


def _widths(parameters: Mapping[str, Value], name: str) -> tuple[int, ...]:
    value = parameters.get(name, ())
    assert isinstance(value, tuple)
    return tuple(int(v) for v in value)


def _whole(parameters: Mapping[str, Value], name: str, default: int) -> int:
    value = parameters.get(name, default)
    assert isinstance(value, int)
    return value


def _too_large(size: int, kernel: int, padding: int) -> str:
    least = -(-(kernel - size) // 2)
    return (
        f"kernel {kernel} does not fit {size} + 2*{padding} = {size + 2 * padding}; "
        f"kernels up to {size + 2 * padding} fit, or padding of at least {least}"
    )


def _fits(span: int, stride: int) -> bool:
    return span >= 0 and span % stride == 0


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _listed(numbers: Sequence[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
