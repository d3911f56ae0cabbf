"""Two classes in the plane: Gaussian clouds with known densities, half moons and circles."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from recipebench.datamodules.base import Options, Samples, TensorDataModule
from recipebench.datamodules.catalog import DATA, FACTS
from recipebench.datamodules.generate import Array, cosine, normal, rows, sine, uniform

FACTORS = {
    "shared": (((1.0, 0.0), (0.6, 0.8)), ((1.0, 0.0), (0.6, 0.8))),
    "separate": (((1.0, 0.0), (0.6, 0.8)), ((0.5, 0.0), (-0.3, 0.4))),
}
"""Cholesky factors L of the covariance matrices L L^T of class 0 and class 1."""


class TwoGaussians(TensorDataModule):
    """Two Gaussian classes: x = m_c + L_c z, z ~ N(0, I), m_0 = (-s/2, 0), m_1 = (s/2, 0).

    With `shared` covariance both are [[1, 0.6], [0.6, 1]], so the best boundary is a line; with
    `separate` ones class 1 has [[0.25, -0.15], [-0.15, 0.25]], so it is a curve. Of every k first
    samples, floor(k * prior) are of class 1.

    `outliers` moves a share of class 1 by `outlier_distance` along the first axis, away from class 0:
    far on the right side of the boundary, where they cost cross-entropy nothing and least squares a lot.

    Generated from fixed seeds, whatever `seed` is: `seed` names split and orders only. Smaller n are
    prefixes of larger ones, all parameters share their draws, and a smaller share of outliers is
    part of a larger one.

    Args:
        n: samples in all, 10 to 1,000,000.
        separation: distance s between the means.
        covariance: `shared` or `separate`.
        prior: share of class 1.
        outliers: share of class 1 that is moved away, each sample with this probability.
        outlier_distance: how far.
        **options: see `TensorDataModule`.

    Attributes:
        means: (2, 2) float64: a row for each class, without outliers.
        covariances: (2, 2, 2) float64: a matrix for each class, without outliers.

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 4.3; Bishop, Pattern
        Recognition and Machine Learning, 4.1.3 (outliers and least squares).
    """

    name = "two_gaussians"
    facts = FACTS["two_gaussians"]

    def __init__(
        self,
        *,
        n: int = 1000,
        separation: float = 2.0,
        covariance: str = "shared",
        prior: float = 0.5,
        outliers: float = 0.0,
        outlier_distance: float = 20.0,
        **options: Unpack[Options],
    ) -> None:
        given = {"n": n, "separation": separation, "covariance": covariance, "prior": prior}
        given |= {"outliers": outliers, "outlier_distance": outlier_distance}
        super().__init__(DATA.choose({self.name: given}).parameters, **options)
        self.n = n
        self.prior = prior
        self.outliers = outliers
        self.outlier_distance = outlier_distance
        self.means: Array = np.array([[-separation / 2, 0.0], [separation / 2, 0.0]])
        self._factors = np.array(FACTORS[covariance])
        self.covariances: Array = self._factors @ self._factors.transpose(0, 2, 1)

    def load(self) -> tuple[Samples, None]:
        """Generate the samples: inputs (n, 2) float32, classes (n,) int64."""
        counts = np.floor(np.arange(self.n + 1) * self.prior)
        classes = np.diff(counts).astype(np.int64)
        z = normal(self.facts.content, "features", (self.n, 2))
        factors = self._factors[classes]
        # Written out, because a library's matrix product may round differently on another machine.
        points = self.means[classes] + factors[:, :, 0] * z[:, :1] + factors[:, :, 1] * z[:, 1:]
        far = (classes == 1) & (uniform(self.facts.content, "outliers", (self.n,)) < self.outliers)
        points[far, 0] += self.outlier_distance
        return Samples(rows(points), torch.from_numpy(classes)), None


class Moons(TensorDataModule):
    """Two interleaving half circles of radius 1: (cos t, sin t) and (1 - cos t, 1/2 - sin t), 0 <= t < pi.

    Classes alternate, angles are uniform, and noise is added to both coordinates. Generated from fixed
    seeds, whatever `seed` is: `seed` names split and orders only. Smaller n are prefixes of larger
    ones, and all noise levels share their draws.

    Args:
        n: samples in all, 10 to 1,000,000.
        noise: standard deviation of the noise in each coordinate.
        **options: see `TensorDataModule`.

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Pedregosa et al., scikit-learn, make_moons.
    """

    name = "moons"
    facts = FACTS["moons"]

    def __init__(self, *, n: int = 1000, noise: float = 0.1, **options: Unpack[Options]) -> None:
        super().__init__(DATA.choose({self.name: {"n": n, "noise": noise}}).parameters, **options)
        self.n = n
        self.noise = noise

    def load(self) -> tuple[Samples, None]:
        """Generate the samples: inputs (n, 2) float32, classes (n,) int64."""
        classes = _alternating(self.n)
        turns = uniform(self.facts.content, "angles", (self.n,)) / 2.0
        first, second = cosine(turns), sine(turns)
        outer, inner = _pairs(first, second), _pairs(1.0 - first, 0.5 - second)
        points = np.where(classes.numpy()[:, None] == 0, outer, inner)
        points = points + self.noise * normal(self.facts.content, "noise", (self.n, 2))
        return Samples(rows(points), classes), None


class Circles(TensorDataModule):
    """Two circles around 0: r (cos t, sin t), r = 1 for class 0 and r = factor for class 1.

    Classes alternate, angles are uniform, and noise is added to both coordinates. Generated from fixed
    seeds, whatever `seed` is: `seed` names split and orders only. Smaller n are prefixes of larger
    ones, and all factors and noise levels share their draws.

    Args:
        n: samples in all, 10 to 1,000,000.
        factor: radius of the inner circle.
        noise: standard deviation of the noise in each coordinate.
        **options: see `TensorDataModule`.

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Pedregosa et al., scikit-learn, make_circles.
    """

    name = "circles"
    facts = FACTS["circles"]

    def __init__(
        self, *, n: int = 1000, factor: float = 0.5, noise: float = 0.1, **options: Unpack[Options]
    ) -> None:
        chosen = DATA.choose({self.name: {"n": n, "factor": factor, "noise": noise}})
        super().__init__(chosen.parameters, **options)
        self.n = n
        self.factor = factor
        self.noise = noise

    def load(self) -> tuple[Samples, None]:
        """Generate the samples: inputs (n, 2) float32, classes (n,) int64."""
        classes = _alternating(self.n)
        turns = uniform(self.facts.content, "angles", (self.n,))
        radius = np.where(classes.numpy() == 0, 1.0, self.factor)
        points = radius[:, None] * _pairs(cosine(turns), sine(turns))
        points = points + self.noise * normal(self.facts.content, "noise", (self.n, 2))
        return Samples(rows(points), classes), None


def _pairs(first: Array, second: Array) -> Array:
    return np.stack([first, second], axis=1)


def _alternating(n: int) -> Tensor:
    return torch.arange(n) % 2
