"""House prices: three features on very different scales, a linear price and noise."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from recipebench.datamodules.base import Options, Samples, TensorDataModule
from recipebench.datamodules.catalog import DATA, FACTS
from recipebench.datamodules.generate import Array, normal, rows, standardized, uniform

WEIGHTS = (100.0, 150.0, 0.8)
"""Price of a bedroom, of a bathroom and of a square foot, in thousands of dollars."""

BIAS = 50.0
"""Price of the ground, in thousands of dollars."""


def price(houses: Array) -> Array:
    """Price = 100 bedrooms + 150 bathrooms + 0.8 living area + 50, in thousands of dollars.

    Args:
        houses: (n, 3): bedrooms, bathrooms, living area in square feet.

    Returns:
        (n,), without noise.

    Example:
        >>> price(np.array([[7.0, 5.0, 4865.0]]))
        array([5392.])
    """
    return WEIGHTS[0] * houses[:, 0] + WEIGHTS[1] * houses[:, 1] + WEIGHTS[2] * houses[:, 2] + BIAS


class HousePrices(TensorDataModule):
    """n houses: 1 to 7 bedrooms, 1 to 5 bathrooms, 900 to 4,899 square feet; a linear price and noise.

    Bedrooms are uniform; bathrooms are uniform from 1 to the number of bedrooms, 5 at most; the living
    area is 400 + 500 bedrooms + a uniform whole number below 1,000. So features are correlated and
    their scales differ by three orders of magnitude, and gradient descent crawls until they are
    standardized (`inputs="standardized"`).

    Generated from fixed seeds, whatever `seed` is: `seed` names split and orders only. Smaller n are
    prefixes of larger ones, and all noise levels share their draws. Targets are standardized over all
    n samples; 0.2 of the samples are held out as the test set.

    Args:
        n: samples in all, 10 to 1,000,000.
        noise: standard deviation, in thousands of dollars.
        **options: see `TensorDataModule`.

    Attributes:
        target_mean: subtracted from the prices (0 before `setup`).
        target_std: by which they were then divided (1 before `setup`).

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Zhang et al., Dive into Deep Learning, 3.1 Linear Regression (the house-price model); Ng,
        Improving Deep Neural Networks, 1.9 (why inputs are normalized).
    """

    name = "house_prices"
    facts = FACTS["house_prices"]

    def __init__(self, *, n: int = 1000, noise: float = 100.0, **options: Unpack[Options]) -> None:
        super().__init__(DATA.choose({self.name: {"n": n, "noise": noise}}).parameters, **options)
        self.n = n
        self.noise = noise
        self.target_mean = 0.0
        self.target_std = 1.0

    def load(self) -> tuple[Samples, None]:
        """Generate the samples: inputs (n, 3) float32, targets (n, 1) float32."""
        draws = uniform(self.facts.content, "features", (self.n, 3))
        bedrooms = 1.0 + np.floor(7.0 * draws[:, 0])
        bathrooms = 1.0 + np.floor(np.minimum(bedrooms, 5.0) * draws[:, 1])
        area = 400.0 + 500.0 * bedrooms + np.floor(1000.0 * draws[:, 2])
        houses = np.stack([bedrooms, bathrooms, area], axis=1)
        prices = price(houses) + self.noise * normal(self.facts.content, "noise", (self.n,))
        targets, self.target_mean, self.target_std = standardized(prices)
        return Samples(rows(houses), targets), None
