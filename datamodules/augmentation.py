"""Augmentation: training images moved, turned, cut, mirrored, brightened or zoomed, whole batches at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recipebench.datamodules.catalog import AUGMENTATIONS
from recipebench.errors import RequestError
from recipebench.levels import Choice

Draw = Callable[[int], tuple[Tensor, ...]]
"""From a count k to k tensors (batch,) float64, uniform on [0, 1)."""


class Canvas(NamedTuple):
    """The two ends of the scale of brightness, as the images have it.

    Args:
        fill: value of a black pixel, which also lies outside of the image.
        full: value of a pixel of full brightness.
    """

    fill: float | Tensor
    full: float | Tensor


def augment(
    choice: Choice,
    images: Tensor,
    generator: torch.Generator,
    *,
    fill: float | Tensor = 0.0,
    full: float | Tensor = 1.0,
) -> Tensor:
    """Return a batch with every image augmented by its own draw; `none` returns `images` itself.

    Each image takes the same number of draws, one image after the other, so that an image gets the same
    bits however the stream is cut into batches. `images` is left alone.

    Args:
        choice: a level of `AUGMENTATIONS`; hyper-parameters left out take their defaults.
        images: (batch, channels, height, width) float32, in [0, 1] or standardized.
        generator: on the CPU; the only source of randomness.
        fill: value of a black pixel: a number, or one for each channel, (channels, 1, 1).
        full: value of a pixel of full brightness, likewise.

    Returns:
        float32 of the same shape.

    Raises:
        RequestError: the level or a value is not known, or a tensor has another shape.

    Example:
        >>> image = torch.tensor([[[[0.0, 0.5], [0.0, 1.0]]]])
        >>> stream = torch.Generator().manual_seed(1)
        >>> augment(Choice("flip", {"p": 1.0}), image, stream).tolist()
        [[[[0.5, 0.0], [1.0, 0.0]]]]

    References:
        Saito, Deep Learning from Scratch, data augmentation; Ng, Improving Deep Neural Networks, 1.8.
    """
    choice = AUGMENTATIONS.choose(choice)
    if choice.name == "none":
        return images
    _check(images, fill, full, f"augmentation {choice.name}")
    draw = partial(_uniform, len(images), generator, images.device)
    return AUGMENTERS[choice.name](images, draw, Canvas(fill, full), **choice.parameters)


def translate(images: Tensor, down: Tensor, right: Tensor, *, fill: float | Tensor = 0.0) -> Tensor:
    """Shift each image by whole pixels, exactly: out[r, c] = in[r - down, c - right], `fill` outside.

    Args:
        images: (batch, channels, height, width).
        down: (batch,) int64, rows; negative is up.
        right: (batch,) int64, columns; negative is left.
        fill: what comes in from outside.

    Example:
        >>> one = torch.ones(1, dtype=torch.int64)
        >>> translate(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 0 * one, one).tolist()
        [[[[0.0, 1.0], [0.0, 3.0]]]]
    """
    margin = int(torch.stack((down, right)).abs().amax()) if len(images) else 0
    return _windows(_bordered(images, margin, fill), margin - down, margin - right, images)


def crop(
    images: Tensor,
    top: Tensor,
    left: Tensor,
    *,
    pixels: int,
    padding: str = "reflect",
    fill: float | Tensor = 0.0,
) -> Tensor:
    """Pad each image by `pixels` on every side and cut a window of the old size out of it.

    Args:
        images: (batch, channels, height, width).
        top: (batch,) int64, first row of the window in the padded image, 0 to 2 `pixels`.
        left: (batch,) int64, its first column.
        pixels: width of the border.
        padding: `reflect` (mirrored at the outermost pixels) or `replicate` (the outermost pixels
            again), as in `torch.nn.functional.pad`, or `constant` (`fill`), which is a translation.
        fill: of a constant border.

    Raises:
        RequestError: a mirrored border is as wide as the image.

    References:
        He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2016, 4.2 (a constant
        border); Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024, 3.2 (a mirrored one).
    """
    if padding == "constant":
        return translate(images, pixels - top, pixels - left, fill=fill)
    if padding == "reflect" and pixels >= min(images.shape[-2:]):
        height, width = images.shape[-2:]
        raise RequestError(
            f"augmentation crop: pixels: expected less than the sides of an image of {height} x {width} "
            f"pixels, got {pixels}. A replicated border may be wider."
        )
    return _windows(F.pad(images, (pixels,) * 4, mode=padding), top, left, images)


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror the chosen images left to right; `chosen` (batch,) bool.

    A mirrored cat is a cat and a mirrored shirt a shirt, but most mirrored digits are no digits, and
    some resemble another (2 and 5): there the level is a declared mistake, to be compared with others.
    """
    return torch.where(_column(chosen), images.flip(-1), images)


def brightness(
    images: Tensor, factors: Tensor, *, fill: float | Tensor = 0.0, full: float | Tensor = 1.0
) -> Tensor:
    """Multiply the brightness of each image: u <- min(f u, 1), u = (x - fill) / (full - fill).

    Black stays black, and what would be brighter than `full` becomes `full`, so that the values stay in
    the range in which images lie.

    Args:
        images: (batch, channels, height, width).
        factors: (batch,) of at least 0: 0 is black, 1 the image itself.
        fill: value of a black pixel.
        full: value of a pixel of full brightness.

    Example:
        >>> brightness(torch.tensor([[[[0.0, 0.5, 0.9]]]]), torch.tensor([1.5])).tolist()
        [[[[0.0, 0.75, 1.0]]]]
    """
    weights = _column(factors).to(images)
    changed = (images - fill) * weights + fill if _shifted_scale(fill) else images * weights
    return torch.minimum(changed, torch.as_tensor(full, dtype=images.dtype, device=images.device))


def rotate(images: Tensor, degrees: Tensor, *, fill: float | Tensor = 0.0) -> Tensor:
    """Turn each image about its center, counterclockwise as it is seen; see `affine` for the sampling.

    Args:
        images: (batch, channels, height, width).
        degrees: (batch,); 90 is `torch.rot90(images, 1, (-2, -1))` of square images.
        fill: what lies outside.
    """
    return affine(images, degrees=degrees, fill=fill)


def scale(images: Tensor, factors: Tensor, *, fill: float | Tensor = 0.0) -> Tensor:
    """Zoom each image about its center; see `affine` for the sampling.

    Args:
        images: (batch, channels, height, width).
        factors: (batch,) above 0: 2 doubles all lengths, and what leaves the image is lost.
        fill: what lies outside.
    """
    return affine(images, factors=factors, fill=fill)


def affine(
    images: Tensor,
    *,
    degrees: Tensor | None = None,
    factors: Tensor | None = None,
    down: Tensor | None = None,
    right: Tensor | None = None,
    fill: float | Tensor = 0.0,
) -> Tensor:
    """Turn and zoom each image about its center, then shift it, in one bilinear sampling.

    A pixel is a point at its center and the image's center is ((height - 1) / 2, (width - 1) / 2). With
    q the offset of an output pixel from there, its value is the input's at the offset
    R(-degrees) (q - shift) / factor, between the four nearest pixels; pixels outside count as `fill`.

    Args:
        images: (batch, channels, height, width).
        degrees: (batch,), counterclockwise as it is seen; None: not turned.
        factors: (batch,) above 0, larger than 1 enlarges; None: not zoomed.
        down: (batch,) pixels, whole or not; None: not shifted.
        right: (batch,) likewise.
        fill: what lies outside.
    """
    grid = _sources(images, degrees, factors, down, right)
    if not _shifted_scale(fill):
        return F.grid_sample(images, grid, align_corners=False)
    return F.grid_sample(images - fill, grid, align_corners=False) + fill


def _sources(
    images: Tensor, degrees: Tensor | None, factors: Tensor | None, down: Tensor | None, right: Tensor | None
) -> Tensor:
    """Return where each output pixel is read: (batch, height, width, 2), x and y as `grid_sample` counts.

    Products and sums element by element: a matrix product could round differently in another batch.
    """
    height, width = images.shape[-2:]
    zeros = torch.zeros(len(images), dtype=torch.float64, device=images.device)
    angles = torch.deg2rad(zeros if degrees is None else degrees.double())
    lengths = zeros + 1 if factors is None else factors.double()
    cos, sin = ((f(angles) / lengths).to(images.dtype)[:, None, None] for f in (torch.cos, torch.sin))
    y = _offsets(height, zeros if down is None else down, images)[:, :, None]
    x = _offsets(width, zeros if right is None else right, images)[:, None, :]
    columns, rows = cos * x - sin * y, sin * x + cos * y
    return torch.stack((columns * (2 / width), rows * (2 / height)), dim=-1)


def _offsets(size: int, shifts: Tensor, images: Tensor) -> Tensor:
    centered = torch.arange(size, dtype=images.dtype, device=images.device) - (size - 1) / 2
    return centered - shifts.to(images)[:, None]


def _bordered(images: Tensor, pixels: int, fill: float | Tensor) -> Tensor:
    if not isinstance(fill, Tensor):
        return F.pad(images, (pixels,) * 4, value=fill)
    padded = F.pad(torch.zeros_like(images), (pixels,) * 4) + fill
    padded[..., pixels : pixels + images.shape[-2], pixels : pixels + images.shape[-1]] = images
    return padded


def _windows(padded: Tensor, top: Tensor, left: Tensor, images: Tensor) -> Tensor:
    """Cut a window of the size of `images` out of every padded image."""
    height, width = images.shape[-2:]
    every = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: all windows of all images
    return every[torch.arange(len(images), device=images.device), :, top, left]


def _uniform(batch: int, generator: torch.Generator, device: torch.device, count: int) -> tuple[Tensor, ...]:
    return torch.rand(batch, count, generator=generator, dtype=torch.float64).to(device).unbind(1)


def _between(u: Tensor, limit: float, center: float = 0.0) -> Tensor:
    """From [0, 1) to [center - limit, center + limit)."""
    return center + (2 * u - 1) * limit


def _whole(u: Tensor, count: int) -> Tensor:
    """From [0, 1) to 0 … count - 1, all equally likely."""
    return torch.floor(u * count).to(torch.int64)


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _shifted_scale(fill: float | Tensor) -> bool:
    """Whether black is not 0, or may not be."""
    return isinstance(fill, Tensor) or bool(fill)


def _check(images: Tensor, fill: float | Tensor, full: float | Tensor, owner: str) -> None:
    if images.ndim != 4:
        shape = tuple(images.shape)
        raise RequestError(f"{owner}: expected images (batch, channels, height, width), got {shape}.")
    for name, value in (("fill", fill), ("full", full)):
        if isinstance(value, Tensor) and value.ndim and value.shape[-2:] != (1, 1):
            shape = tuple(value.shape)
            raise RequestError(f"{owner}: {name}: expected a number or (channels, 1, 1), got {shape}.")


def _random_translate(images: Tensor, draw: Draw, canvas: Canvas, *, pixels: int) -> Tensor:
    down, right = (_whole(u, 2 * pixels + 1) - pixels for u in draw(2))
    return translate(images, down, right, fill=canvas.fill)


def _random_crop(images: Tensor, draw: Draw, canvas: Canvas, *, pixels: int, padding: str) -> Tensor:
    top, left = (_whole(u, 2 * pixels + 1) for u in draw(2))
    return crop(images, top, left, pixels=pixels, padding=padding, fill=canvas.fill)


def _random_flip(images: Tensor, draw: Draw, canvas: Canvas, *, p: float) -> Tensor:
    return flip(images, draw(1)[0] < p)


def _random_brightness(images: Tensor, draw: Draw, canvas: Canvas, *, amount: float) -> Tensor:
    return brightness(images, _between(draw(1)[0], amount, 1.0), fill=canvas.fill, full=canvas.full)


def _random_rotate(images: Tensor, draw: Draw, canvas: Canvas, *, degrees: float) -> Tensor:
    return rotate(images, _between(draw(1)[0], degrees), fill=canvas.fill)


def _random_scale(images: Tensor, draw: Draw, canvas: Canvas, *, amount: float) -> Tensor:
    return scale(images, _between(draw(1)[0], amount, 1.0), fill=canvas.fill)


def _random_affine(
    images: Tensor, draw: Draw, canvas: Canvas, *, degrees: float, pixels: int, scale: float
) -> Tensor:
    turn, zoom, down, right = draw(4)
    return affine(
        images,
        degrees=_between(turn, degrees),
        factors=_between(zoom, scale, 1.0),
        down=_between(down, pixels),
        right=_between(right, pixels),
        fill=canvas.fill,
    )


AUGMENTERS: dict[str, Callable[..., Tensor]] = {
    "translate": _random_translate,
    "rotate": _random_rotate,
    "crop": _random_crop,
    "flip": _random_flip,
    "brightness": _random_brightness,
    "scale": _random_scale,
    "affine": _random_affine,
}
"""What each level of `AUGMENTATIONS` but `none` does: (images, draw, canvas, **hyper-parameters)."""
