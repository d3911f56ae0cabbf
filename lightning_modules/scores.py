"""Loss, accuracy, mean squared error and R² over exactly the samples seen, summed in float64."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Scores(Metric):
    """Mean loss and accuracy (classification) or mean squared error and R² (regression).

    Sums are kept in float64 and counts as integers, so that an accuracy is exactly right / all, and
    over several processes they are added: every sample counts once.

    Args:
        task: `classification` or `regression`.

    Example:
        >>> scores = Scores("classification")
        >>> scores.update(torch.eye(2), torch.tensor([0, 0]), torch.tensor([0.25, 0.75]))
        >>> {name: float(value) for name, value in scores.compute().items()}
        {'loss': 0.5, 'accuracy': 0.5}
    """

    full_state_update = False

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task = task
        self.set_dtype(torch.float64)
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        for name in ("loss", "squared_error", "target", "target_squared"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor, losses: Tensor) -> None:
        """Add a batch: outputs (batch, out_features), targets, losses (batch,)."""
        self.samples += len(losses)
        self.loss += losses.double().sum()
        if self.task == "classification":
            self.correct += (outputs.argmax(1) == targets).sum()
        else:
            self.squared_error += (outputs - targets).double().square().sum()
            self.target += targets.double().sum()
            self.target_squared += targets.double().square().sum()

    def compute(self) -> dict[str, Tensor]:
        """Return {loss, accuracy} or {loss, mse, r2}, float64 scalars."""
        loss = self.loss / self.samples
        if self.task == "classification":
            return {"loss": loss, "accuracy": self.correct.double() / self.samples}
        spread = self.target_squared - self.target.square() / self.samples
        return {"loss": loss, "mse": self.squared_error / self.samples, "r2": 1 - self.squared_error / spread}
