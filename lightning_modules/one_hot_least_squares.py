"""Classes by least squares on one-hot targets, the largest output decides (Dive into Deep Learning, 3.4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from recipebench.lightning_modules.least_squares import LeastSquaresModule


class OneHotLeastSquares(LeastSquaresModule):
    """o = W x + b by least squares on targets that are 1 for the class and 0 for the others; arg max decides.

    The loss of a sample is sum_k (o_k - [k = y])². Images have pixels that never vary, so that many W
    reach the minimum: this is the one of smallest norm, with the tolerance of `LeastSquares.solve`.

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: classes.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features).

    Example:
        >>> OneHotLeastSquares(in_features=64).weight.shape
        torch.Size([10, 64])

    References:
        Zhang, Lipton, Li and Smola, Dive into Deep Learning, 3.4 (one-hot encoding, linear model).
    """

    def __init__(self, *, in_features: int = 784, out_features: int = 10) -> None:
        super().__init__("classification", in_features, out_features)

    def encoding(self, targets: Tensor) -> Tensor:
        """Return the one-hot rows: (rows,) to (rows, classes) float64."""
        return F.one_hot(targets, len(self.bias)).double()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of squared differences to the one-hot target of every sample: (batch,)."""
        return (outputs - F.one_hot(targets, outputs.shape[1])).square().sum(1)
