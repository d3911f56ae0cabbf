"""The perceptron: one threshold neuron, Rosenblatt's learning rule, and the gates that neurons make.

Source: Saito, Deep Learning from Scratch, perceptron: y = 1 if w1 x1 + w2 x2 > theta, else 0; the bias is
b = -theta. The learning rule is Rosenblatt's.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from recipebench.errors import RequestError, unknown
from recipebench.lightning_modules.activations import threshold_step
from recipebench.lightning_modules.logistic_regression import check_two_classes
from recipebench.lightning_modules.losses import perceptron as perceptron_loss
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.scored import ScoredModule
from recipebench.lightning_modules.two_columns import two_columns

GATES: dict[str, tuple[tuple[float, float], float]] = {
    "and": ((0.5, 0.5), 0.7),
    "nand": ((-0.5, -0.5), -0.7),
    "or": ((0.5, 0.5), 0.2),
}
"""Weights and threshold theta of the gates that one neuron can be (Saito, Deep Learning from Scratch)."""


class Perceptron(ScoredModule):
    """y = step(w . x + b), learned sample by sample: w <- w + lr (t - y) x, b <- b + lr (t - y).

    Starts at w = 0, b = 0. Only wrong answers move it; where a line separates the classes with margin
    gamma and all (x, 1) are no longer than R, at most (R / gamma)² of them do. Where none separates them it
    never comes to rest. Its loss is max(0, -s) for class 1 and max(0, s) for class 0, s = w . x + b.

    Args:
        lr: step size, per wrong answer; from a start at 0 it scales w and b, and changes no answer.
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: 2; another number of classes is refused.

    Attributes:
        weight: w (1, in_features).
        bias: b (1,), -theta.
        mistakes: wrong answers in training so far.

    Shape:
        (batch, ...), in_features numbers each, to (batch, 2) columns (-s / 2, s / 2); a score of 0 is a
        tie, and class 0 is the answer, as y = 0.

    Raises:
        RequestError: the rate is not positive, or there are not two classes.

    Example:
        >>> Perceptron.gate("and").predict(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
        tensor([0, 1])

    References:
        Rosenblatt, The Perceptron, Psychological Review 1958; Novikoff 1962 (the bound); Saito, Deep
        Learning from Scratch, perceptron.
    """

    mistakes: Tensor

    def __init__(self, *, lr: float = 1.0, in_features: int = 2, out_features: int = 2) -> None:
        super().__init__("classification")
        MODELS.choose({"perceptron": {"lr": lr}})
        check_two_classes("perceptron", out_features)
        self.automatic_optimization = False
        self.lr = float(lr)
        self.weight = nn.Parameter(torch.zeros(1, in_features), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.register_buffer("mistakes", torch.tensor(0))

    @classmethod
    def gate(cls, name: str) -> Self:
        """Return the neuron with two inputs that is a logic gate, its weights set by hand.

        Args:
            name: `and`, `nand` or `or`; no single neuron is `xor`, see `XorGate`.

        Raises:
            RequestError: the gate is not known.
        """
        if name not in GATES:
            raise RequestError(unknown("gate", name, GATES))
        weights, threshold = GATES[name]
        neuron = cls()
        neuron.weight.copy_(torch.tensor([weights]))
        neuron.bias.fill_(-threshold)
        return neuron

    def forward(self, x: Tensor) -> Tensor:
        """Return the columns (-s / 2, s / 2): (batch, 2)."""
        return two_columns(x.flatten(1) @ self.weight.T + self.bias)

    def predict(self, x: Tensor) -> Tensor:
        """Return y = step(s): (batch, ...) to (batch,) int64, 0 or 1."""
        return threshold_step(self(x)[:, 1]).long()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return how far every sample is on the wrong side, (batch,); 0 on the right one."""
        return perceptron_loss(outputs, targets)

    @torch.no_grad()
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Learn from one sample after another; return the losses of the batch before it."""
        inputs, targets = batch
        losses = self.losses(self(inputs), targets)
        for x, target in zip(inputs.flatten(1), targets, strict=True):
            error = int(target) - int(x @ self.weight[0] + self.bias[0] > 0)
            if error:
                self.weight.add_(self.lr * error * x)
                self.bias.add_(self.lr * error)
                self.mistakes.add_(1)
        return {"loss": losses.mean(), "losses": losses, "penalty": torch.zeros_like(losses[0])}

    def learning_rate(self) -> float:
        """Return the step size."""
        return self.lr

    def configure_optimizers(self) -> list[Any]:
        """Return no torch optimizers: the learning rule is written out above."""
        return []


class XorGate(nn.Module):
    """xor(x1, x2) = and(nand(x1, x2), or(x1, x2)): what one neuron cannot be, two layers are.

    Shape:
        (batch, 2) of zeros and ones to (batch,) int64.

    Example:
        >>> XorGate()(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
        tensor([0, 1, 1, 0])

    References:
        Minsky and Papert, Perceptrons, 1969; Saito, Deep Learning from Scratch, multilayer perceptron.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nand_gate, self.or_gate = Perceptron.gate("nand"), Perceptron.gate("or")
        self.and_gate = Perceptron.gate("and")

    def forward(self, x: Tensor) -> Tensor:
        """Return 1 where exactly one of the two inputs is 1."""
        hidden = torch.stack([self.nand_gate.predict(x), self.or_gate.predict(x)], dim=1)
        return self.and_gate.predict(hidden.to(x.dtype))


def xor(x1: Tensor, x2: Tensor) -> Tensor:
    """Return `XorGate` of two inputs: both (batch,) of zeros and ones, to (batch,) int64.

    Example:
        >>> xor(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0]))
        tensor([1, 0])
    """
    outputs: Tensor = XorGate()(torch.stack([x1, x2], dim=1))
    return outputs
