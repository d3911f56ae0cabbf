"""k nearest neighbors: the training samples are the model, and the nearest of them vote.

Source: Cover and Hart 1967. The notes name it beside deep networks: it fits its training data at once,
and pays when it is asked: a query costs as much as there are training samples (all of MNIST's 10,000
test images take a core about 20 seconds).
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from recipebench.errors import RequestError
from recipebench.lightning_modules.closed_form import ClosedFormModule

QUERIES = 250
"""Queries whose distances to all samples are in memory at once."""

NUMBERS = 2**23
"""Differences between queries and candidates that are in memory at once, about."""


def nearest(queries: Tensor, samples: Tensor, squares: Tensor, k: int) -> Tensor:
    """Return the rows of the k samples nearest to each query by Euclidean distance, nearest first.

    Of equally distant samples the one that comes first counts as nearer. |y|² - 2 x . y, one matrix
    product, chooses the candidates: all that are at most twice its rounding away from the k-th smallest,
    by a bound that holds for any order of summation. Among them the sums of (x - y)² decide, in which
    nothing cancels.

    Args:
        queries: (batch, features) float64.
        samples: (samples, features) float64, at least k of them.
        squares: (samples,) float64, |y|² of every sample.
        k: neighbors to find.

    Returns:
        (batch, k) int64 rows of `samples`.

    Example:
        >>> line = torch.tensor([[0.0], [5.0], [1.0], [-1.0]], dtype=torch.float64)
        >>> nearest(line[:1], line, line.square().sum(1), k=3)
        tensor([[0, 2, 3]])

    References:
        Higham, Accuracy and Stability of Numerical Algorithms, 2002, 3.1 (the bound).
    """
    parts = [_nearest(part, samples, squares, k) for part in queries.split(QUERIES)]
    return torch.cat(parts)


def _nearest(x: Tensor, samples: Tensor, squares: Tensor, k: int) -> Tensor:
    relative = torch.addmm(squares, x, samples.T, alpha=-2)
    rounding = 2 * (x.shape[1] + 4) * torch.finfo(x.dtype).eps
    bound = rounding * (x.norm(dim=1) + squares.max().sqrt()).square()
    reach = relative.topk(k, largest=False).values[:, -1] + 2 * bound
    rows, candidates = (relative <= reach.unsqueeze(1)).nonzero(as_tuple=True)
    size = max(1, NUMBERS // max(1, x.shape[1]))
    pairs = zip(rows.split(size), candidates.split(size), strict=True)
    distances = torch.cat([(x[r] - samples[c]).square().sum(1) for r, c in pairs])
    by_distance = distances.argsort(stable=True)
    order = by_distance[rows[by_distance].argsort(stable=True)]
    starts = rows.bincount(minlength=len(x)).cumsum(0).roll(1)
    starts[0] = 0
    nearest_first: Tensor = candidates[order[starts.unsqueeze(1) + torch.arange(k, device=x.device)]]
    return nearest_first


class KNearestNeighbors(ClosedFormModule):
    """The shares of the classes among the k nearest training samples, or the mean of their targets.

    The outputs of classification are the vote shares: the most votes win, the first class on a tie. The
    loss is sum_c (share_c - [c = y])² (the Brier score), for -log share is infinite without a vote.
    Before fitting, the shares are equal and the mean is 0.

    Args:
        task: `classification` or `regression`.
        out_features: classes, or 1.
        k: neighbors that vote.

    Attributes:
        samples: (training samples, in_features) float64, in the order of the first epoch.
        squares: (training samples,) float64, their squared norms.
        targets: their classes, int64, or values (training samples, 1) float64.

    Shape:
        (batch, ...) float32 to (batch, out_features).

    Raises:
        RequestError: while fitting, there are fewer than k training samples.

    Example:
        >>> KNearestNeighbors(out_features=4)(torch.zeros(1, 2))
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])

    References:
        Cover and Hart, Nearest neighbor pattern classification, 1967; scikit-learn, `KNeighborsClassifier`.
    """

    sized_by_data: ClassVar[tuple[str, ...]] = ("samples", "squares", "targets")
    samples: Tensor
    squares: Tensor
    targets: Tensor

    def __init__(self, *, task: str = "classification", out_features: int = 10, k: int = 5) -> None:
        super().__init__(task)
        self.out_features = out_features
        self.k = k
        for name in self.sized_by_data:
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))
        self.forget()

    def forward(self, x: Tensor) -> Tensor:
        """Return the vote shares, or the mean: (batch, ...) float32 to (batch, out_features) float32."""
        if not self.fitted:
            value = 1 / self.out_features if self.task == "classification" else 0.0
            return x.new_full((len(x), self.out_features), value)
        neighbors = nearest(x.flatten(1).double(), self.samples, self.squares, self.k)
        return self._values(self.targets[neighbors]).mean(1).float()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the Brier score, or the squared error, of every sample: (batch,)."""
        if self.task == "regression":
            return super().losses(outputs, targets)
        return (outputs - F.one_hot(targets, self.out_features)).square().sum(1)

    def absorb(self, inputs: Tensor, targets: Tensor) -> None:
        """Keep the block."""
        self._blocks.append((inputs, targets))

    def solve(self) -> None:
        """Make the kept blocks the model."""
        samples = torch.cat([x for x, _ in self._blocks])
        if len(samples) < self.k:
            raise RequestError(
                f"k_nearest_neighbors: k: expected at most {len(samples)}, the number of training samples, "
                f"got {self.k}."
            )
        self.samples, self.squares = samples, samples.square().sum(1)
        self.targets = torch.cat([y for _, y in self._blocks])

    def forget(self) -> None:
        """Keep no blocks."""
        self._blocks: list[tuple[Tensor, Tensor]] = []

    def _values(self, targets: Tensor) -> Tensor:
        """What the neighbors give: one-hot classes or values, (batch, k, out_features) float64."""
        if self.task == "regression":
            return targets
        return F.one_hot(targets, self.out_features).double()
