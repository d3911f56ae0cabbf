"""Curves: one feature and a noisy sine, step or cubic, to be fitted by models of growing complexity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import numpy as np
import torch

from recipebench.datamodules import generate
from recipebench.datamodules.base import Options, Samples, TensorDataModule
from recipebench.datamodules.catalog import DATA, FACTS
from recipebench.datamodules.generate import Array, normal, standardized, uniform


def sine(x: Array) -> Array:
    """Sine: y = sin(pi x), one period on [-1, 1].

    Args:
        x: any shape.

    References:
        Bishop, Pattern Recognition and Machine Learning, 1.1 (polynomials fitted to a noisy sine).
    """
    return generate.sine(x / 2.0)


def step(x: Array) -> Array:
    """Step: y = 1 if x > 0 else -1.

    Args:
        x: any shape.
    """
    return np.where(x > 0.0, 1.0, -1.0)


def cubic(x: Array) -> Array:
    """Cubic: y = 4 x^3 - 3 x, the third Chebyshev polynomial, between -1 and 1 on [-1, 1].

    Args:
        x: any shape.
    """
    return (4.0 * x * x - 3.0) * x


FUNCTIONS: dict[str, Callable[[Array], Array]] = {"sine": sine, "step": step, "cubic": cubic}
"""The functions that targets can follow."""


class Curve(TensorDataModule):
    """n samples of x ~ U(-1, 1), y = f(x) + e, e ~ N(0, noise^2).

    Generated from fixed seeds, whatever `seed` is: `seed` names split and orders only. Smaller n are
    prefixes of larger ones, and all functions and noise levels share their draws. Targets are
    standardized over all n samples; 0.2 of the samples are held out as the test set.

    Args:
        function: `sine`, `step` or `cubic`.
        n: samples in all, 10 to 1,000,000.
        noise: standard deviation, in units of the target before standardization.
        **options: see `TensorDataModule`.

    Attributes:
        function: the true function, before noise and standardization.
        target_mean: subtracted from the targets (0 before `setup`).
        target_std: by which they were then divided (1 before `setup`).

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Bishop, Pattern Recognition and Machine Learning, 1.1.
    """

    name = "curve"
    facts = FACTS["curve"]

    def __init__(
        self, *, function: str = "sine", n: int = 200, noise: float = 0.1, **options: Unpack[Options]
    ) -> None:
        chosen = DATA.choose({self.name: {"function": function, "n": n, "noise": noise}})
        super().__init__(chosen.parameters, **options)
        self.function = FUNCTIONS[function]
        self.n = n
        self.noise = noise
        self.target_mean = 0.0
        self.target_std = 1.0

    def load(self) -> tuple[Samples, None]:
        """Generate the samples: inputs (n, 1) float32, targets (n, 1) float32."""
        content = self.facts.content
        x = (2.0 * uniform(content, "features", (self.n,)) - 1.0).astype(np.float32)
        y = self.function(x.astype(np.float64)) + self.noise * normal(content, "noise", (self.n,))
        targets, self.target_mean, self.target_std = standardized(y)
        return Samples(torch.from_numpy(x[:, None]), targets), None
