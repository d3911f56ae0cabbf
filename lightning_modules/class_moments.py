"""Count, mean and scatter of the samples of each class, merged block by block."""

from __future__ import annotations

import torch
from torch import Tensor


class ClassMoments:
    """N_c, mean m_c and scatter S_c = sum_n (x_n - m_c)(x_n - m_c)ᵀ of every class c.

    Two blocks a and b merge as m = m_a + (m_b - m_a) N_b / N and S = S_a + S_b + (m_b - m_a)(m_b - m_a)ᵀ
    N_a N_b / N: no large sums of squares are subtracted, as in mean(x²) - mean(x)².

    Args:
        classes: number of classes.
        features: numbers in one sample.
        diagonal: whether only the diagonals of S_c are kept.

    Attributes:
        counts: (classes,) float64.
        means: (classes, features) float64; zeros for a class without samples.
        scatters: (classes, features, features) float64, or (classes, features) if `diagonal`.

    Example:
        >>> moments = ClassMoments(classes=1, features=1, diagonal=True)
        >>> for value in (1.0, 2.0, 6.0):
        ...     moments.add(torch.tensor([[value]], dtype=torch.float64), torch.tensor([0]))
        >>> float(moments.means), float(moments.scatters)
        (3.0, 14.0)

    References:
        Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample
        variances, 1979.
    """

    def __init__(self, classes: int, features: int, *, diagonal: bool) -> None:
        shape = (classes, features) if diagonal else (classes, features, features)
        self.diagonal = diagonal
        self.counts = torch.zeros(classes, dtype=torch.float64)
        self.means = torch.zeros(classes, features, dtype=torch.float64)
        self.scatters = torch.zeros(shape, dtype=torch.float64)

    def add(self, inputs: Tensor, targets: Tensor) -> None:
        """Take in a block: inputs (rows, features) float64, targets (rows,) int64."""
        self.counts, self.means, self.scatters = (
            x.to(inputs.device) for x in (self.counts, self.means, self.scatters)
        )
        for c in targets.unique().tolist():
            self._merge(c, inputs[targets == c])

    def _merge(self, c: int, rows: Tensor) -> None:
        mean = rows.mean(0)
        shift = mean - self.means[c]
        before = self.counts[c].clone()
        self.counts[c] += len(rows)
        share = len(rows) / self.counts[c]
        self.means[c] += shift * share
        self.scatters[c] += self._scatter(rows - mean) + self._scatter(shift.unsqueeze(0)) * before * share

    def _scatter(self, rows: Tensor) -> Tensor:
        return rows.square().sum(0) if self.diagonal else rows.T @ rows
