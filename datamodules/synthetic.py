"""Synthetic regression: two features, a known teacher and noise, so that the right answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import numpy as np
import torch

from recipebench.datamodules.base import Options, Samples, TensorDataModule
from recipebench.datamodules.catalog import DATA, FACTS
from recipebench.datamodules.generate import Array, normal, standardized

WEIGHTS = (2.0, -3.4)
"""The linear teacher's weights."""

BIAS = 4.2
"""The linear teacher's bias."""


def linear(x: Array) -> Array:
    """Linear: y = 2 x1 - 3.4 x2 + 4.2.

    Args:
        x: features (n, 2).

    Returns:
        (n,), without noise.

    References:
        Zhang et al., Dive into Deep Learning, 3.3 Synthetic Regression Data.
    """
    return WEIGHTS[0] * x[:, 0] + WEIGHTS[1] * x[:, 1] + BIAS


def nonlinear(x: Array) -> Array:
    """Non-linear: y = 4 x1 / (1 + x1^2) + x1 x2, smooth, out of reach of linear models.

    Made of exactly rounded operations only, so that every machine computes the same bits.

    Args:
        x: features (n, 2).

    Returns:
        (n,), without noise.
    """
    return 4.0 * x[:, 0] / (1.0 + x[:, 0] ** 2) + x[:, 0] * x[:, 1]


TEACHERS: dict[str, Callable[[Array], Array]] = {"linear": linear, "nonlinear": nonlinear}
"""The functions that targets can follow."""


class SyntheticRegression(TensorDataModule):
    """n samples of x ~ N(0, I) in two dimensions, y = teacher(x) + e, e ~ N(0, noise^2).

    Generated from fixed seeds, whatever `seed` is: `seed` names split and orders only. Smaller n are
    prefixes of larger ones, and all noise levels and teachers share their draws. Targets are
    standardized over all n samples; 0.2 of the samples are held out as the test set.

    Args:
        teacher: `linear` or `nonlinear`.
        n: samples in all, 10 to 1,000,000.
        noise: standard deviation, in units of the target before standardization.
        **options: see `TensorDataModule`.

    Attributes:
        teacher: the true function, from (n, 2) features to (n,) targets before noise and standardization.
        target_mean: subtracted from the targets (0 before `setup`).
        target_std: by which they were then divided (1 before `setup`).

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Zhang et al., Dive into Deep Learning, 3.3 Synthetic Regression Data (the linear teacher).
    """

    name = "synthetic_regression"
    facts = FACTS["synthetic_regression"]

    def __init__(
        self, *, teacher: str = "linear", n: int = 1000, noise: float = 0.01, **options: Unpack[Options]
    ) -> None:
        chosen = DATA.choose({self.name: {"teacher": teacher, "n": n, "noise": noise}})
        super().__init__(chosen.parameters, **options)
        self.teacher = TEACHERS[teacher]
        self.n = n
        self.noise = float(noise)
        self.target_mean = 0.0
        self.target_std = 1.0

    def load(self) -> tuple[Samples, None]:
        """Generate the samples: inputs (n, 2) float32, targets (n, 1) float32."""
        content = self.facts.content
        features = normal(content, "features", (self.n, 2)).astype(np.float32)
        targets = self.teacher(features.astype(np.float64))
        targets = targets + self.noise * normal(content, "noise", (self.n,))
        standard, self.target_mean, self.target_std = standardized(targets)
        return Samples(torch.from_numpy(features), standard), None
