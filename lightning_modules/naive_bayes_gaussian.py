"""Naive Bayes with Gaussian features (Lee, Machine Learning: features taken as independent in each class).

Departure: `var_smoothing`, as scikit-learn's `GaussianNB` has it, for pixels that never vary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recipebench.errors import RequestError
from recipebench.lightning_modules.class_moments import ClassMoments
from recipebench.lightning_modules.closed_form import GenerativeModule, estimate


class NaiveBayesGaussian(GenerativeModule):
    """P(x | c) = prod_j N(x_j; m_cj, v_cj), m_cj and v_cj the mean and variance of feature j in class c.

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: classes.
        var_smoothing: share of the largest variance of a feature over all samples that is added to
            every variance; 0 is plain maximum likelihood, and is refused where a variance is 0.

    Attributes:
        mean: (classes, in_features) float64.
        variance: (classes, in_features) float64, divided by N_c, smoothing included.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features) log posteriors.

    Raises:
        RequestError: while fitting, a feature does not vary within a class and nothing is added.

    Example:
        >>> NaiveBayesGaussian(in_features=64).variance.shape
        torch.Size([10, 64])

    References:
        Lee, Machine Learning, classification; scikit-learn, `GaussianNB`.
    """

    def __init__(
        self, *, in_features: int = 784, out_features: int = 10, var_smoothing: float = 1e-9
    ) -> None:
        super().__init__(out_features)
        self.var_smoothing = var_smoothing
        self.mean = estimate(out_features, in_features)
        self.variance = estimate(out_features, in_features)
        self.forget()

    def log_joint(self, inputs: Tensor) -> Tensor:
        """Return sum_j log N(x_j; m_cj, v_cj) + log P(c): (batch, in_features) to (batch, classes)."""
        normalizers = (2 * math.pi * self.variance).log().sum(1) / 2
        pairs = zip(self.mean, self.variance, strict=True)
        distances = [((inputs - mean).square() / variance).sum(1) for mean, variance in pairs]
        return self.log_prior - normalizers - torch.stack(distances, 1) / 2

    def absorb(self, inputs: Tensor, targets: Tensor) -> None:
        """Merge the block into the moments of its classes."""
        self._moments.add(inputs, targets)

    def solve(self) -> None:
        """Set priors, means and variances to those of the samples; a class without any gets variance 1."""
        counts, means = self._moments.counts, self._moments.means
        shares = counts.unsqueeze(1)
        center = (shares * means).sum(0) / counts.sum()
        overall = (self._moments.scatters + shares * (means - center).square()).sum(0) / counts.sum()
        variance = self._moments.scatters / shares.clamp_min(1) + self.var_smoothing * overall.max()
        variance[counts == 0] = 1
        self._check(variance)
        self.set_prior(counts)
        self.mean.copy_(means)
        self.variance.copy_(variance)

    def forget(self) -> None:
        """Start over with no samples."""
        self._moments = ClassMoments(*self.mean.shape, diagonal=True)

    def _check(self, variance: Tensor) -> None:
        constant = (variance <= 0).nonzero().tolist()
        if constant:
            c, feature = constant[0]
            raise RequestError(
                f"naive_bayes_gaussian: feature {feature} does not vary in class {c}, and var_smoothing "
                f"{self.var_smoothing:g} adds nothing: give a larger one, such as 1e-9."
            )
