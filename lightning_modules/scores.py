"""Loss, accuracy, mean squared error and R² over exactly the samples seen, summed in float64."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

FIELDS = ("samples", "loss", "correct", "squared_error", "target", "target_squared")
"""What a tally sums up, in this order."""


def tally(task: str, outputs: Tensor, targets: Tensor, losses: Tensor) -> Tensor:
    """Sum up one batch: (6,) float64, see `FIELDS`; tallies of batches are added.

    Args:
        task: `classification` or `regression`.
        outputs: (batch, out_features) logits or predictions.
        targets: (batch,) int64 or (batch, 1) float32.
        losses: (batch,) the loss of each sample.
    """
    samples = torch.tensor(float(len(losses)), dtype=torch.float64)
    zero = torch.zeros((), dtype=torch.float64)
    loss = losses.double().sum()
    if task == "classification":
        correct = (outputs.argmax(1) == targets).sum().double()
        return torch.stack([samples, loss, correct, zero, zero, zero])
    wide = targets.double()
    error = (outputs - targets).double().square().sum()
    return torch.stack([samples, loss, zero, error, wide.sum(), wide.square().sum()])


def summarize(task: str, total: Tensor) -> dict[str, Tensor]:
    """Turn a tally into {loss, accuracy} or {loss, mse, r2}, float64 scalars.

    Example:
        >>> batch = tally("classification", torch.eye(2), torch.tensor([0, 0]), torch.tensor([0.25, 0.75]))
        >>> {name: float(value) for name, value in summarize("classification", batch).items()}
        {'loss': 0.5, 'accuracy': 0.5}
    """
    samples, loss, correct, error, target, squared = total.unbind()
    if task == "classification":
        return {"loss": loss / samples, "accuracy": correct / samples}
    return {
        "loss": loss / samples,
        "mse": error / samples,
        "r2": 1 - error / (squared - target.square() / samples),
    }


class Scores(Metric):
    """A running tally, added up over batches and processes: every sample counts once.

    Args:
        task: `classification` or `regression`.
    """

    full_state_update = False
    total: Tensor

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task = task
        self.set_dtype(torch.float64)
        self.add_state("total", torch.zeros(len(FIELDS), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor, losses: Tensor) -> None:
        """Add a batch; see `tally`."""
        self.total += tally(self.task, outputs, targets, losses)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores of all batches so far; see `summarize`."""
        return summarize(self.task, self.total)
