"""Naive Bayes with binary features: each is on or off with a probability of its class.

Source: Lee, Machine Learning, classification. Departures: `threshold` makes features binary and `alpha`
smooths the counts, as in scikit-learn's `BernoulliNB`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recipebench.lightning_modules.closed_form import GenerativeModule, estimate


class NaiveBayesBernoulli(GenerativeModule):
    """P(x | c) = prod_j p_cj^z_j (1 - p_cj)^(1 - z_j), z_j = 1 if x_j > threshold else 0.

    p_cj = (N_cj + alpha) / (N_c + 2 alpha), N_cj the samples of class c in which feature j is on.

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: classes.
        alpha: samples that are added to each count, on and off; above 0.
        threshold: above it a feature is on. It acts on the inputs as the model gets them: `unit` images
            lie in [0, 1], `standardized` ones do not.

    Attributes:
        log_on: (classes, in_features) float64, log p_cj.
        log_off: (classes, in_features) float64, log(1 - p_cj).

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features) log posteriors.

    Example:
        >>> NaiveBayesBernoulli(in_features=64).log_on.shape
        torch.Size([10, 64])

    References:
        Lee, Machine Learning, classification; scikit-learn, `BernoulliNB`.
    """

    _counts: Tensor
    _on: Tensor

    def __init__(
        self,
        *,
        in_features: int = 784,
        out_features: int = 10,
        alpha: float = 1.0,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(out_features)
        self.alpha = alpha
        self.threshold = threshold
        self.log_on = estimate(out_features, in_features)
        self.log_off = estimate(out_features, in_features)
        self.forget()

    def log_joint(self, inputs: Tensor) -> Tensor:
        """Return sum_j log P(z_j | c) + log P(c): (batch, in_features) to (batch, classes), float64."""
        on = (inputs > self.threshold).double()
        return self.log_prior + on @ (self.log_on - self.log_off).T + self.log_off.sum(1)

    def absorb(self, inputs: Tensor, targets: Tensor) -> None:
        """Count the samples of each class, and those with each feature on."""
        member = F.one_hot(targets, len(self.log_prior)).double()
        self._counts = self._counts.to(inputs.device) + member.sum(0)
        self._on = self._on.to(inputs.device) + member.T @ (inputs > self.threshold).double()

    def solve(self) -> None:
        """Set priors and probabilities to the smoothed shares."""
        counts = self._counts.unsqueeze(1)
        total = (counts + 2 * self.alpha).log()
        self.set_prior(self._counts)
        self.log_on.copy_((self._on + self.alpha).log() - total)
        self.log_off.copy_((counts - self._on + self.alpha).log() - total)

    def forget(self) -> None:
        """Start over with no samples."""
        self._counts = torch.zeros_like(self.log_prior)
        self._on = torch.zeros_like(self.log_on)
