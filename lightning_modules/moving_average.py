"""Tomorrow as the exponentially weighted average of the last days.

Source: Ng, Improving Deep Neural Networks, 2.3 to 2.5. Departure: the notes smooth a series; here the
average of a window of days predicts the day that follows.
"""

from __future__ import annotations

from torch import Tensor

from recipebench.lightning_modules.averages import ewma
from recipebench.lightning_modules.closed_form import ClosedFormModule


class MovingAverage(ClosedFormModule):
    """y = v_T, v_0 = 0, v_t = beta v_{t-1} + (1 - beta) x_t over the window x_1 ... x_T, oldest first.

    Nothing is learned from the training data: beta is set. Inputs have to be in the units of the targets.

    Args:
        beta: share of the old average that is kept; it averages over about 1 / (1 - beta) days.
        bias_correction: whether v_T is divided by 1 - beta^T, for the window starts at v_0 = 0.

    Shape:
        (batch, window) float32, the oldest value first, to (batch, 1).

    Example:
        >>> import torch
        >>> MovingAverage(beta=0.5)(torch.tensor([[4.0, 4.0, 10.0]]))
        tensor([[7.4286]])

    References:
        Ng, Improving Deep Neural Networks, 2.3 to 2.5.
    """

    def __init__(self, *, beta: float = 0.9, bias_correction: bool = True) -> None:
        super().__init__("regression")
        self.beta = beta
        self.bias_correction = bias_correction

    def forward(self, x: Tensor) -> Tensor:
        """Return the last average of every window: (batch, window) float32 to (batch, 1) float32."""
        averages = ewma(x.flatten(1).double(), self.beta, bias_correction=self.bias_correction)
        return averages[:, -1:].float()

    def absorb(self, inputs: Tensor, targets: Tensor) -> None:
        """Leave the samples alone: beta is set."""

    def solve(self) -> None:
        """Leave the model as it is."""

    def forget(self) -> None:
        """Forget nothing: there are no sums."""
