"""Two classes by least squares on targets +1 and -1 (Lee, Machine Learning: classification as regression).

The notes warn of it: a sample that is far on the right side of the boundary counts as an error.
"""

from __future__ import annotations

from torch import Tensor

from recipebench.errors import RequestError
from recipebench.lightning_modules.least_squares import LeastSquaresModule


class LeastSquaresClassifier(LeastSquaresModule):
    """s = w . x + b by least squares on t = +1 for class 1 and t = -1 for class 0, decided by sign.

    The outputs are (-s/2, s/2): their arg max is the nearer of the two targets (class 0 at s = 0), and
    their difference is s. The loss is (s - t)².

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: 2.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, 2).

    Raises:
        RequestError: there are more than two classes.

    Example:
        >>> import torch
        >>> model = LeastSquaresClassifier(in_features=1)
        >>> _ = model.weight.fill_(3.0)
        >>> model(torch.tensor([[1.0]]))
        tensor([[-1.5000,  1.5000]])
        >>> model.losses(model(torch.tensor([[1.0]])), torch.tensor([1]))
        tensor([4.])

    References:
        Lee, Machine Learning, classification.
    """

    def __init__(self, *, in_features: int = 2, out_features: int = 2) -> None:
        if out_features != 2:
            raise RequestError(f"least_squares_classifier: expected data of two classes, got {out_features}.")
        super().__init__("classification", in_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (-s/2, s/2): (batch, ...) float32 to (batch, 2) float32."""
        half = super().forward(x) / 2
        return half * half.new_tensor([-1, 1])

    def encoding(self, targets: Tensor) -> Tensor:
        """Return t = 2 y - 1 for the classes y = 0, 1: (rows,) to (rows, 1) float64."""
        return (2.0 * targets.double() - 1).unsqueeze(1)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (s - t)² of every sample, s the difference of its two outputs: (batch,)."""
        scores = outputs[:, 1] - outputs[:, 0]
        return (scores - (2 * targets - 1)).square()
