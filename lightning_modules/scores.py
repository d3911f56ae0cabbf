"""Loss, accuracy, mean squared error and R² over exactly the samples seen, summed in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from recipebench.lightning_modules import exactness

FIELDS = ("samples", "loss", "correct", "squared_error", "target", "target_squared")
"""What a tally sums up, in this order."""

ROUNDING = 1e-12
"""Share of the sum of squared targets below which their spread may be nothing but rounding."""


def tally(task: str, outputs: Tensor, targets: Tensor, losses: Tensor, members: int = 1) -> Tensor:
    """Sum up one batch for each of several models: (members, 6) float64, see `FIELDS`.

    The batches of the members follow each other, so that all but the sums is done once. Each sum is
    over one member's numbers alone: its bits do not depend on the others. Tallies are added.

    Args:
        task: `classification` or `regression`.
        outputs: (members * batch, out_features) logits or predictions.
        targets: (members * batch,) int64 or (members * batch, 1) float32.
        losses: (members * batch,) the loss of each sample.
        members: number of models.

    Returns:
        (members, 6) float64, on the device of the losses.
    """
    total = torch.zeros(members, len(FIELDS), dtype=torch.float64, device=losses.device)
    total[:, 0] = len(losses) // members
    total[:, 1] = _sums(losses.double(), members)
    if task == "classification":
        total[:, 2] = (outputs.argmax(1) == targets).view(members, -1).sum(1)
    else:
        wide = targets.double()
        total[:, 3] = _sums((outputs - targets).double().square(), members)
        total[:, 4] = _sums(wide, members)
        total[:, 5] = _sums(wide.square(), members)
    return total


def _sums(values: Tensor, members: int) -> Tensor:
    each = values.view(members, -1)
    if exactness.promises_bits(values.device):
        return torch.stack([part.sum() for part in each.unbind()])
    return each.sum(1)


def summarize(task: str, total: Sequence[float]) -> dict[str, float]:
    """Turn one member's tally into {loss, accuracy} or {loss, mse, r2}.

    loss = sum l / n; accuracy = correct / n; mse = sum (o - y)² / n;
    r2 = 1 - sum (o - y)² / sum (y - mean y)², NaN where the targets do not vary.

    Args:
        task: `classification` or `regression`.
        total: the six sums of `FIELDS`, of at least one sample.

    Example:
        >>> batch = tally("classification", torch.eye(2), torch.tensor([0, 0]), torch.tensor([0.25, 0.75]))
        >>> summarize("classification", batch[0].tolist())
        {'loss': 0.5, 'accuracy': 0.5}
    """
    samples, loss, correct, error, target, squared = total
    if task == "classification":
        return {"loss": loss / samples, "accuracy": correct / samples}
    spread = squared - target * target / samples
    varies = spread > ROUNDING * squared
    return {
        "loss": loss / samples,
        "mse": error / samples,
        "r2": 1 - error / spread if varies else math.nan,
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
        self.total = self.total + tally(self.task, outputs, targets, losses)[0]

    def compute(self) -> dict[str, Tensor]:
        """Return the scores of all batches so far, float64 scalars; see `summarize`."""
        scores = summarize(self.task, self.total.tolist())
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in scores.items()}
