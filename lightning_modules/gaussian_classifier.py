"""Gaussian class densities by maximum likelihood, decided by Bayes' rule.

Source: Lee, Machine Learning, classification. Departures: any number of classes; `ridge` is added to the
diagonal of the covariances, for images have pixels that never vary, and with them no inverse.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recipebench.errors import RequestError, unknown
from recipebench.lightning_modules.class_moments import ClassMoments
from recipebench.lightning_modules.closed_form import GenerativeModule, estimate

COVARIANCES = ("separate", "shared")
"""One covariance for each class, with quadratic boundaries, or one for all, with linear ones."""


class GaussianClassifier(GenerativeModule):
    """P(x | c) = N(x; m_c, C_c), m_c the mean and C_c the covariance of class c, divided by N_c.

    Shared: C = sum_c N_c C_c / N for all classes. Then the posterior of two classes is that of a logistic
    regression, sigmoid(w . x + b); see `linear`.

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: classes.
        covariance: `separate` or `shared`.
        ridge: added to the diagonal of every covariance, in squared units of the inputs; 0 is plain
            maximum likelihood, and is refused where a covariance is singular.

    Attributes:
        mean: (classes, in_features) float64.
        covariance: (classes or 1, in_features, in_features) float64, without the ridge.
        factor: lower triangular L of covariance + ridge I = L Lᵀ.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features) log posteriors.

    Raises:
        RequestError: `covariance` is not known; while fitting, a covariance is singular.

    Example:
        >>> GaussianClassifier(in_features=2, out_features=3, covariance="separate").covariance.shape
        torch.Size([3, 2, 2])

    References:
        Lee, Machine Learning, classification: probabilistic generative model.
    """

    factor: Tensor

    def __init__(
        self,
        *,
        in_features: int = 784,
        out_features: int = 10,
        covariance: str = "shared",
        ridge: float = 0.01,
    ) -> None:
        if covariance not in COVARIANCES:
            raise RequestError(f"gaussian_classifier: {unknown('covariance', covariance, COVARIANCES)}")
        super().__init__(out_features)
        self.shared = covariance == "shared"
        self.ridge = ridge
        self.mean = estimate(out_features, in_features)
        self.covariance = estimate(1 if self.shared else out_features, in_features, in_features)
        self.register_buffer("factor", torch.zeros_like(self.covariance))
        self.forget()

    def log_joint(self, inputs: Tensor) -> Tensor:
        """Return log N(x; m_c, C_c) + log P(c): (batch, in_features) to (batch, classes), float64."""
        distances = self._shared_distances(inputs) if self.shared else self._separate_distances(inputs)
        log_roots = self.factor.diagonal(dim1=1, dim2=2).log().sum(1)
        normalizer = inputs.shape[1] / 2 * math.log(2 * math.pi) + log_roots
        return self.log_prior - normalizer - distances / 2

    def linear(self) -> tuple[Tensor, Tensor]:
        """Return w and b of P(class 1 | x) = sigmoid(w . x + b), for two classes with a shared covariance.

        w = C⁻¹ (m_1 - m_0); b = -m_1ᵀC⁻¹m_1 / 2 + m_0ᵀC⁻¹m_0 / 2 + log(N_1 / N_0), C with the ridge. Class
        1 of the notes is our class 1, class 2 our class 0.

        Returns:
            w (in_features,) and b (), float64.

        Raises:
            RequestError: there are more classes, or each has a covariance of its own.
        """
        if not self.shared or len(self.mean) != 2:
            raise RequestError(
                "gaussian_classifier: expected two classes with a shared covariance for a linear form, got "
                f"{len(self.mean)} classes, covariance {COVARIANCES[self.shared]}."
            )
        solved = torch.cholesky_solve(self.mean.T, self.factor[0]).T
        halves = (self.mean * solved).sum(1) / 2
        return solved[1] - solved[0], halves[0] - halves[1] + self.log_prior[1] - self.log_prior[0]

    def absorb(self, inputs: Tensor, targets: Tensor) -> None:
        """Merge the block into the moments of its classes."""
        self._moments.add(inputs, targets)

    def solve(self) -> None:
        """Set priors, means and covariances to those of the samples."""
        counts, scatters = self._moments.counts, self._moments.scatters
        self.set_prior(counts)
        self.mean.copy_(self._moments.means)
        if self.shared:
            self.covariance.copy_(scatters.sum(0, keepdim=True) / counts.sum())
        else:
            self.covariance.copy_(scatters / counts.clamp_min(1).view(-1, 1, 1))
        self.factor.copy_(torch.stack([self._factorize(c) for c in range(len(self.covariance))]))

    def forget(self) -> None:
        """Start over with no samples."""
        self._moments = ClassMoments(*self.mean.shape, diagonal=False)

    def _factorize(self, c: int) -> Tensor:
        """Return the Cholesky factor of one covariance; a class without samples, never chosen, gets I."""
        identity = torch.eye(self.mean.shape[1], dtype=torch.float64, device=self.mean.device)
        if not self.shared and self._moments.counts[c] == 0:
            return identity
        matrix = self.covariance[c] + self.ridge * identity
        values = torch.linalg.eigvalsh(matrix)
        rank = int((values > torch.finfo(values.dtype).eps * len(values) * values[-1].abs()).sum())
        if rank < len(values):
            which = "shared covariance" if self.shared else f"covariance of class {c}"
            raise RequestError(
                f"gaussian_classifier: the {which} is singular: rank {rank} of {len(values)} features "
                f"at ridge {self.ridge:g}. Give a larger ridge, or data whose features vary independently."
            )
        factor: Tensor = torch.linalg.cholesky(matrix)
        return factor

    def _shared_distances(self, inputs: Tensor) -> Tensor:
        """Squared distances (x - m_c)ᵀC⁻¹(x - m_c), by solving for the samples once: (batch, classes)."""
        samples, means = (_whiten(x, self.factor[0]) for x in (inputs, self.mean))
        return torch.stack([(samples - mean).square().sum(1) for mean in means], 1)

    def _separate_distances(self, inputs: Tensor) -> Tensor:
        pairs = zip(self.mean, self.factor, strict=True)
        return torch.stack([_whiten(inputs - mean, factor).square().sum(1) for mean, factor in pairs], 1)


def _whiten(rows: Tensor, factor: Tensor) -> Tensor:
    """L⁻¹x of every row x, so that |L⁻¹x|² = xᵀC⁻¹x for C = L Lᵀ."""
    solved: Tensor = torch.linalg.solve_triangular(factor, rows.T, upper=False)
    return solved.T
