"""Which box a ball came from, by Bayes' rule on counted balls (Lee, Machine Learning, classification).

The notes' counts are lost; the rule is theirs. Departure: any number of boxes and colors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recipebench.errors import RequestError
from recipebench.lightning_modules.closed_form import LOG_ZERO, GenerativeModule, estimate


class TwoBoxBayes(GenerativeModule):
    """P(B_1 | x) = P(x | B_1) P(B_1) / (P(x | B_1) P(B_1) + P(x | B_2) P(B_2)), all shares of counts.

    P(B) is the share of draws from box B, P(x | B) the share of the color x among them. A color that was
    never drawn from a box has the log probability `LOG_ZERO` there; one that was never drawn at all
    leaves the prior.

    Args:
        in_features: colors; an input is one-hot.
        out_features: boxes.

    Attributes:
        log_color: (boxes, colors) float64, log P(x | B).

    Shape:
        (batch, in_features) float32, one-hot, to (batch, out_features) log posteriors.

    Raises:
        RequestError: while fitting, an input is not one-hot.

    Example:
        >>> TwoBoxBayes(in_features=2).log_color.shape
        torch.Size([2, 2])

    References:
        Lee, Machine Learning, classification: two boxes.
    """

    _counts: Tensor

    def __init__(self, *, in_features: int = 2, out_features: int = 2) -> None:
        super().__init__(out_features)
        self.log_color = estimate(out_features, in_features)
        self.forget()

    def log_joint(self, inputs: Tensor) -> Tensor:
        """Return log P(x | B) + log P(B): one-hot (batch, colors) to (batch, boxes), float64."""
        return self.log_prior + inputs @ self.log_color.T

    def absorb(self, inputs: Tensor, targets: Tensor) -> None:
        """Count the draws of each color from each box."""
        if not bool((inputs.sum(1) == 1).all() & ((inputs == 0) | (inputs == 1)).all()):
            raise RequestError(
                "two_box_bayes: expected one-hot inputs, a single 1 among zeros, got others: "
                "choose data of discrete draws, with inputs: unit."
            )
        boxes = F.one_hot(targets, len(self.log_prior)).double()
        self._counts = self._counts.to(inputs.device) + boxes.T @ inputs

    def solve(self) -> None:
        """Set priors and colors to the shares of the counts."""
        draws = self._counts.sum(1)
        self.set_prior(draws)
        shares = self._counts / draws.clamp_min(1).unsqueeze(1)
        self.log_color.copy_(shares.log().clamp_min(LOG_ZERO))

    def forget(self) -> None:
        """Start over with no draws."""
        self._counts = torch.zeros_like(self.log_color)
