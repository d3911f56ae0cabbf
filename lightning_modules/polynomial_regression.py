"""Polynomials of one feature, fitted by least squares: models of growing complexity, each holding the last.

The notes state the principle (a more complex model fits its training data better) without a formula; the
polynomials of nested degrees are the usual example (Bishop, Pattern Recognition and Machine Learning, 1.1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from recipebench.errors import RequestError
from recipebench.lightning_modules.least_squares import LeastSquaresModule


def powers(x: Tensor, degree: int) -> Tensor:
    """Return x, x², ... x^degree side by side: (rows, 1) to (rows, degree).

    Example:
        >>> powers(torch.tensor([[2.0], [-1.0]]), degree=3)
        tensor([[ 2.,  4.,  8.],
                [-1.,  1., -1.]])
    """
    return x ** torch.arange(1, degree + 1, device=x.device)


class PolynomialRegression(LeastSquaresModule):
    """y = w_1 x + w_2 x² + ... + w_k x^k + b by least squares, for data of one feature x.

    The columns are scaled for the solution, as `numpy.polyfit` does, and the weights are scaled back.

    Args:
        in_features: 1.
        degree: k, the highest power; 0 leaves the constant b.

    Shape:
        (batch, 1) float32 to (batch, 1).

    Raises:
        RequestError: the data have more than one feature.

    Example:
        >>> PolynomialRegression(degree=4).weight.shape
        torch.Size([1, 4])

    References:
        Lee, Machine Learning, regression: more complex models.
    """

    def __init__(self, *, in_features: int = 1, degree: int = 3) -> None:
        if in_features != 1:
            raise RequestError(f"polynomial_regression: expected data of one feature, got {in_features}.")
        super().__init__("regression", degree, 1, scaled=True)
        self.degree = degree

    def features(self, inputs: Tensor) -> Tensor:
        """Return the powers of x: (rows, 1) to (rows, degree)."""
        return powers(inputs, self.degree)
