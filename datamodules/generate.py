"""What generated data sets share: draws from named streams, and arithmetic with the same bits everywhere."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recipebench.seeds import seed_for

Array = npt.NDArray[np.float64]

TERMS = 11
"""Terms of the sine's series after the first: the next is below 1e-18."""


def normal(content: str, stream: str, shape: tuple[int, ...]) -> Array:
    """Draw from N(0, 1); more rows under the same names go on where fewer end.

    Args:
        content: generator and version, as `Facts.content` names them.
        stream: what is drawn, so that each kind of draw has a stream of its own.
        shape: of the draws, rows first.
    """
    return _generator(content, stream).standard_normal(shape)


def uniform(content: str, stream: str, shape: tuple[int, ...]) -> Array:
    """Draw from the uniform distribution on [0, 1); otherwise like `normal`."""
    return _generator(content, stream).random(shape)


def sine(turns: Array) -> Array:
    """Return sin(2 pi turns) to 15 decimals.

    By its power series, so of exactly rounded operations only: libraries' sines differ in the last bit
    from one processor to the next.

    Args:
        turns: angles in whole turns, any shape.

    Example:
        >>> sine(np.array([0.0, 0.25, -0.25, 1 / 12])).round(12).tolist()
        [0.0, 1.0, -1.0, 0.5]
    """
    turns = turns - np.round(turns)
    turns = np.where(np.abs(turns) > 0.25, np.copysign(0.5, turns) - turns, turns)
    x = 2.0 * math.pi * turns
    square = x * x
    series = np.ones_like(x)
    for k in range(TERMS, 0, -1):
        series = 1.0 - square / (2.0 * k * (2.0 * k + 1.0)) * series
    return x * series


def cosine(turns: Array) -> Array:
    """Return cos(2 pi turns) as `sine` does."""
    return sine(turns + 0.25)


def standardized(targets: Array) -> tuple[Tensor, float, float]:
    """Return (targets - mean) / std as float32 (n, 1), the mean and the population standard deviation.

    Sums by fsum are exact, so they do not depend on how a processor adds.

    Args:
        targets: (n,), not all equal.
    """
    mean = math.fsum(targets) / len(targets)
    std = math.sqrt(math.fsum((targets - mean) ** 2) / len(targets))
    return column((targets - mean) / std), mean, std


def column(values: Array) -> Tensor:
    """Return values (n,) as float32 (n, 1)."""
    return torch.from_numpy(values.astype(np.float32)[:, None])


def rows(values: Array) -> Tensor:
    """Return features (n, features) as float32."""
    return torch.from_numpy(values.astype(np.float32))


def _generator(content: str, stream: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_for("generate", content, stream)))
