"""Softmax regression from scratch: softmax, cross-entropy, gradient and step written out (D2L, 4.4)."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.scratch import ScratchModule, drawn
from recipebench.lightning_modules.supervised import Spec


def softmax(outputs: Tensor, *, stable: bool = True) -> Tensor:
    """exp(o_k) / sum_j exp(o_j); stable: the same with o - max o in place of o.

    Args:
        outputs: o (batch, classes).
        stable: without, exp overflows above 88.7 in float32 (709.7 in float64), and the result is NaN.

    Returns:
        (batch, classes), rows that add up to 1.

    Example:
        >>> softmax(torch.tensor([[100.0, 100.0]]))
        tensor([[0.5000, 0.5000]])
        >>> softmax(torch.tensor([[100.0, 100.0]]), stable=False)
        tensor([[nan, nan]])

    References:
        Zhang, Lipton, Li and Smola, Dive into Deep Learning, 4.5 (softmax revisited); Saito, Deep Learning
        from Scratch, softmax.
    """
    shifted = outputs - outputs.max(1, keepdim=True).values if stable else outputs
    exponentials = shifted.exp()
    return exponentials / exponentials.sum(1, keepdim=True)


def cross_entropy(outputs: Tensor, targets: Tensor, *, stable: bool = True) -> Tensor:
    """-log softmax(o)_y, in nats; stable: log sum_j exp(o_j - m) + m - o_y, m = max o, so no log of 0.

    Args:
        outputs: o (batch, classes).
        targets: y (batch,) int64.
        stable: without, the logarithm is taken of `softmax(o, stable=False)`: infinite where that is 0.

    Returns:
        (batch,).

    References:
        As for `softmax`.
    """
    rows = torch.arange(len(outputs))
    if not stable:
        return -softmax(outputs, stable=False)[rows, targets].log()
    largest = outputs.max(1).values
    sums = (outputs - largest.unsqueeze(1)).exp().sum(1)
    return sums.log() + largest - outputs[rows, targets]


class SoftmaxRegressionScratch(ScratchModule):
    """o = X Wᵀ + b, p = softmax(o); gradient (1 / n) (p - t)ᵀ X by W, t the one-hot targets of n samples.

    What `SoftmaxRegression` with `sgd` computes, from the same initial draw and up to rounding. With
    `stable` off the textbook formulas are taken literally: once an output exceeds 88.7 the loss is no
    number any more, and the run counts as diverged.

    Args:
        stable: whether the largest output is subtracted before exp.
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: classes.
        initializer: how W and b start.
        optimizer: `sgd` with its rate.
        init_seed: names the streams of the initial draws; None draws one from torch's global generator.

    Attributes:
        weight: W (out_features, in_features).
        bias: b (out_features,).

    Shape:
        (batch, ...), in_features numbers each, to (batch, out_features) logits o.

    Raises:
        RequestError: a level is not known, or the optimizer is not `sgd`.

    Example:
        >>> SoftmaxRegressionScratch(in_features=64).weight.shape
        torch.Size([10, 64])

    References:
        Zhang, Lipton, Li and Smola, Dive into Deep Learning, 4.4, 4.5.
    """

    def __init__(
        self,
        *,
        stable: bool = True,
        in_features: int = 784,
        out_features: int = 10,
        initializer: Spec = "he",
        optimizer: Spec = "sgd",
        init_seed: int | None = None,
    ) -> None:
        super().__init__("classification", optimizer=optimizer)
        MODELS.choose({"softmax_regression_scratch": {"stable": stable}})
        self.stable = stable
        concise = nn.Sequential(OrderedDict(output=nn.Linear(in_features, out_features)))
        start = drawn(concise, initializer=initializer, init_seed=init_seed)
        self.weight, self.bias = start["output.weight"], start["output.bias"]

    def forward(self, x: Tensor) -> Tensor:
        """Return o = X Wᵀ + b: (batch, out_features)."""
        return x.flatten(1) @ self.weight.T + self.bias

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of every sample, (batch,), stable or not."""
        return cross_entropy(outputs, targets, stable=self.stable)

    def backpropagate(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the gradients of the mean loss by W and b."""
        error = softmax(outputs, stable=self.stable)
        error[torch.arange(len(inputs)), targets] -= 1
        error /= len(inputs)
        return {"weight": error.T @ inputs.flatten(1), "bias": error.sum(0)}
