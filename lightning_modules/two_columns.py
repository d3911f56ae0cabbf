"""One score as the two columns of a classifier: the layer at the end of two-class models."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def two_columns(score: Tensor) -> Tensor:
    """(-s / 2, s / 2): the cross-entropy of these columns is the binary cross-entropy of s.

    softmax((-s / 2, s / 2)) = (1 - sigmoid(s), sigmoid(s)); the halving rounds nothing.

    Args:
        score: s (batch, 1), above 0 for class 1; a score of 0 is a tie, and class 0 is the answer.

    Returns:
        (batch, 2).

    Example:
        >>> two_columns(torch.tensor([[3.0]]))
        tensor([[-1.5000,  1.5000]])
    """
    return torch.cat([-0.5 * score, 0.5 * score], dim=1)


class TwoColumns(nn.Module):
    """`two_columns` as a module.

    Shape:
        (batch, 1) to (batch, 2).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the columns (-s / 2, s / 2)."""
        return two_columns(x)
