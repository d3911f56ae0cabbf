"""Linear regression from scratch: forward pass, gradient and step written out (Dive into Deep Learning, 3.4).

Departure: the loss is (ŷ - y)², as in the concise form, not half of it, so the gradient has a factor 2.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from recipebench.lightning_modules.scratch import ScratchModule, drawn
from recipebench.lightning_modules.supervised import Spec


class LinearRegressionScratch(ScratchModule):
    """ŷ = X wᵀ + b; gradient (2 / n) (ŷ - y)ᵀ X by w and (2 / n) sum (ŷ - y) by b, n samples in the batch.

    What `LinearRegression` with `sgd` computes, from the same initial draw and up to rounding. A short last
    batch is divided by its own n.

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        initializer: how w and b start.
        optimizer: `sgd` with its rate.
        init_seed: names the streams of the initial draws; None draws one from torch's global generator.

    Attributes:
        weight: w (1, in_features).
        bias: b (1,).

    Shape:
        (batch, ...), in_features numbers each, to (batch, 1).

    Raises:
        RequestError: a level is not known, or the optimizer is not `sgd`.

    Example:
        >>> LinearRegressionScratch(in_features=3).weight.shape
        torch.Size([1, 3])

    References:
        Zhang, Lipton, Li and Smola, Dive into Deep Learning, 3.4.
    """

    def __init__(
        self,
        *,
        in_features: int = 2,
        initializer: Spec = "he",
        optimizer: Spec = "sgd",
        init_seed: int | None = None,
    ) -> None:
        super().__init__("regression", optimizer=optimizer)
        concise = nn.Sequential(OrderedDict(output=nn.Linear(in_features, 1)))
        start = drawn(concise, initializer=initializer, init_seed=init_seed)
        self.weight, self.bias = start["output.weight"], start["output.bias"]

    def forward(self, x: Tensor) -> Tensor:
        """Return ŷ = X wᵀ + b: (batch, 1)."""
        return x.flatten(1) @ self.weight.T + self.bias

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (ŷ - y)² of every sample: (batch,)."""
        return (outputs - targets).square().sum(1)

    def backpropagate(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the gradients of the mean loss by w and b."""
        error = 2 / len(inputs) * (outputs - targets)
        return {"weight": error.T @ inputs.flatten(1), "bias": error.sum(0)}
