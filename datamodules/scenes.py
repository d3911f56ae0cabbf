"""Digit scenes: handwritten digits at random places and scales among noise and clutter, with their boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import numpy as np
import numpy.typing as npt
import torch

from recipebench.datamodules import fetch
from recipebench.datamodules.base import Options, Samples, TensorDataModule
from recipebench.datamodules.catalog import DATA, FACTS, facts_of, held_out_count
from recipebench.datamodules.digits import Digits
from recipebench.datamodules.mnist import MNIST
from recipebench.errors import RequestError
from recipebench.seeds import seed_for

Array = npt.NDArray[np.int64]

INK = 64
"""Gray value (of 255) from which a pixel counts as a digit's own; background noise stays below it."""

FAINTEST = 160
"""Gray value of the faintest digit's brightest pixel; the brightest has 255."""

OVERLAP = 0.05
"""Largest intersection over union of two digits' boxes."""

ATTEMPTS = 40
"""Random places that are tried for a digit before the scene goes without it."""


class DigitScenes(TensorDataModule):
    """Canvases of (1, size, size) uint8 with 1 to max_objects digits each, and the digits' boxes.

    A target is float32 (max_objects, 5): rows of x1, y1, x2, y2, class, and rows of -1 after the last
    digit. Coordinates are in pixels from the upper left corner; pixel i covers [i, i + 1], so a box of
    one pixel has area 1. A box is the smallest one around the digit's pixels of at least `INK`.

    A scene: uniform noise below `INK`; up to max_objects fragments of digits as clutter; then digits
    of height about 7/32 to 14/32 of the canvas, aspect kept, no two overlapping by more than
    `OVERLAP`, each with a contrast of its own, the brighter pixel winning. All of it is whole-number
    arithmetic on named streams, one a scene, so every machine draws the same bits, and smaller n are
    prefixes of larger ones. Training scenes (validation is carved from them) and test scenes hold
    different digits: MNIST's own training and test images, or the first 1,438 and the last 359 of
    scikit-learn's.

    Args:
        n: training scenes, validation included, 10 to 100,000; the test scenes are always the same 200.
        size: side of the canvas in pixels, 32 to 256.
        max_objects: most digits on one canvas, 1 to 8.
        source: where the digits come from, `digits` or `mnist`.
        data_dir: where to look for MNIST's files first; see `IdxImages`.
        **options: see `TensorDataModule`.

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Girshick, Donahue, Darrell and Malik, Rich Feature Hierarchies for Accurate Object Detection and
        Semantic Segmentation, CVPR 2014 (the task); Mnih, Heess, Graves and Kavukcuoglu, Recurrent
        Models of Visual Attention, NIPS 2014 (digits among fragments of digits).
    """

    name = "digit_scenes"
    facts = FACTS["digit_scenes"]

    def __init__(
        self,
        *,
        n: int = 1000,
        size: int = 64,
        max_objects: int = 4,
        source: str = "digits",
        data_dir: str | Path | None = None,
        **options: Unpack[Options],
    ) -> None:
        given = {"n": n, "size": size, "max_objects": max_objects, "source": source}
        chosen = DATA.choose({self.name: given})
        self.facts = facts_of(chosen)
        super().__init__(chosen.parameters, **options)
        if self.augmentation.name != "none":
            raise RequestError(
                f"{self.name}: augmentation: expected none, because the boxes would not follow the images, "
                f"got {self.augmentation.name}."
            )
        self.n = n
        self.size = size
        self.max_objects = max_objects
        self.source = source
        self.data_dir = data_dir

    def prepare_data(self) -> None:
        """Verify MNIST's files, and download what is missing, where the digits come from there.

        Raises:
            RequestError: a file is corrupt or cannot be had.
        """
        fetch.ensure(self.choice, self.data_dir)

    def load(self) -> tuple[Samples, Samples]:
        """Draw the scenes: inputs (n, 1, size, size) uint8, targets (n, max_objects, 5) float32.

        Raises:
            RequestError: a file of MNIST's is missing (`prepare_data` downloads it) or corrupt.
        """
        train, test = self._digits()
        return self._scenes("train", train, self.n), self._scenes("test", test, self.facts.test)

    def _digits(self) -> tuple[Samples, Samples]:
        if self.source == "mnist":
            return MNIST(data_dir=self.data_dir).load()
        digits, _ = Digits().load()
        gray = digits.inputs.int().mul(255).div(16, rounding_mode="floor").to(torch.uint8)
        first = len(gray) - held_out_count(len(gray))
        return (
            Samples(gray[:first], digits.targets[:first]),
            Samples(gray[first:], digits.targets[first:]),
        )

    def _scenes(self, split: str, digits: Samples, n: int) -> Samples:
        images, labels = digits.inputs[:, 0].numpy(), digits.targets.numpy()
        address = (self.facts.content, self.size, self.max_objects, self.source, split)
        drawn = [
            scene(_stream(*address, index), images, labels, size=self.size, max_objects=self.max_objects)
            for index in range(n)
        ]
        canvases = np.stack([canvas for canvas, _ in drawn]).astype(np.uint8)
        targets = np.stack([target for _, target in drawn]).astype(np.float32)
        return Samples(torch.from_numpy(canvases).unsqueeze(1), torch.from_numpy(targets))


def scene(
    draw: np.random.Generator,
    images: npt.NDArray[np.uint8],
    labels: Array,
    *,
    size: int,
    max_objects: int,
) -> tuple[Array, Array]:
    """Draw one scene; see `DigitScenes`.

    Args:
        draw: the scene's own stream.
        images: (digits, height, width), gray values 0 to 255.
        labels: (digits,) their classes.
        size: side of the canvas in pixels.
        max_objects: most digits.

    Returns:
        The canvas (size, size), 0 to 255, and the targets (max_objects, 5), -1 where there is no digit.
    """
    canvas = draw.integers(0, INK, (size, size))
    for _ in range(draw.integers(0, max_objects + 1)):
        _add_fragment(draw, canvas, images[draw.integers(len(images))])
    targets = np.full((max_objects, 5), -1)
    found = 0
    for _ in range(draw.integers(1, max_objects + 1)):
        chosen = draw.integers(len(images))
        glyph = _scaled(draw, ink(images[chosen].astype(np.int64)), size)
        box = _place(draw, glyph.shape, size, targets[:found, :4])
        if box is not None:
            _paint(canvas, glyph, box)
            targets[found] = [*box, labels[chosen]]
            found += 1
    return canvas, targets


def ink(image: Array) -> Array:
    """Return the smallest rectangle of an image that holds all its pixels of at least `INK`.

    Example:
        >>> ink(np.array([[0, 0, 0], [9, 70, 80], [0, 0, 90]]))
        array([[70, 80],
               [ 0, 90]])
    """
    rows, columns = np.nonzero(image >= INK)
    return image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def resize(image: Array, height: int, width: int) -> Array:
    """Resize by bilinear interpolation in whole numbers, pixel centers at halves, edges repeated.

    As `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`, rounded down, and the
    same bits on every machine.

    Args:
        image: (rows, columns) whole numbers of at least 0.
        height: of the result, in pixels.
        width: of the result, in pixels.

    Returns:
        (height, width).

    Example:
        >>> resize(np.array([[0, 100]]), 1, 4)
        array([[  0,  25,  75, 100]])
    """
    down, across = _weights(image.shape[0], height), _weights(image.shape[1], width)
    return down @ image @ across.T // (4 * height * width)


def _weights(old: int, new: int) -> Array:
    """Return the shares of `old` pixels in `new` ones, in units of 1 / (2 new): (new, old)."""
    place = np.clip((2 * np.arange(new) + 1) * old - new, 0, 2 * new * (old - 1))
    left, share = place // (2 * new), place % (2 * new)
    weights = np.zeros((new, old), dtype=np.int64)
    weights[np.arange(new), left] += 2 * new - share
    weights[np.arange(new), np.minimum(left + 1, old - 1)] += share
    return weights


def _scaled(draw: np.random.Generator, glyph: Array, size: int) -> Array:
    rows, columns = glyph.shape
    height = int(draw.integers(7 * size // 32, 14 * size // 32 + 1))
    width = min(max(round(height * columns / rows), 3), 14 * size // 32)
    scaled = resize(glyph, height, width)
    return ink(scaled * int(draw.integers(FAINTEST, 256)) // int(scaled.max()))


def _place(
    draw: np.random.Generator, shape: tuple[int, ...], size: int, others: Array
) -> tuple[int, int, int, int] | None:
    height, width = shape
    for _ in range(ATTEMPTS):
        x, y = int(draw.integers(size - width + 1)), int(draw.integers(size - height + 1))
        box = (x, y, x + width, y + height)
        if all(_overlap(box, other) <= OVERLAP for other in others.tolist()):
            return box
    return None


def _overlap(a: tuple[int, int, int, int], b: list[int]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _add_fragment(draw: np.random.Generator, canvas: Array, image: npt.NDArray[np.uint8]) -> None:
    """Paint a quarter of a digit, small, anywhere."""
    glyph = ink(image.astype(np.int64))
    rows, columns = (max(side // 2, 1) for side in glyph.shape)
    top, left = draw.integers(glyph.shape[0] - rows + 1), draw.integers(glyph.shape[1] - columns + 1)
    height, width = draw.integers(len(canvas) // 16, len(canvas) // 8 + 1, 2).tolist()
    x, y = draw.integers(len(canvas) - width + 1), draw.integers(len(canvas) - height + 1)
    part = resize(glyph[top : top + rows, left : left + columns], height, width)
    _paint(canvas, part, (x, y, x + width, y + height))


def _paint(canvas: Array, glyph: Array, box: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = box
    np.maximum(canvas[y1:y2, x1:x2], glyph, out=canvas[y1:y2, x1:x2])


def _stream(*names: object) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_for("generate", *names)))
