"""Linear regression by its closed form: the least squares themselves, no step (Dive into Deep Learning, 3.1).

Departure: w* = (XᵀX)⁻¹Xᵀy is solved from a QR factor of X, not from XᵀX; see `least_squares`.
"""

from __future__ import annotations

from recipebench.lightning_modules.least_squares import LeastSquaresModule


class LinearRegressionClosedForm(LeastSquaresModule):
    """y = w . x + b, (w, b) = argmin sum_n (y_n - w . x_n - b)² + ridge |w|².

    What `LinearRegression` steps towards, at once. Where several w reach the minimum, the shortest.

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        ridge: factor of |w|² beside the sum of squares; the bias goes free, as in scikit-learn's `Ridge`.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, 1).

    Example:
        >>> LinearRegressionClosedForm(in_features=3).weight.shape
        torch.Size([1, 3])

    References:
        Zhang, Lipton, Li and Smola, Dive into Deep Learning, 3.1 (analytic solution).
    """

    def __init__(self, *, in_features: int = 2, ridge: float = 0.0) -> None:
        super().__init__("regression", in_features, 1, ridge=ridge)
