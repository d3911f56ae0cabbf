"""Least squares with a bias: one triangular factor that takes in block after block, and the models on it.

The normal equations w* = (XᵀX)⁻¹Xᵀy square the condition number: what the closed form of the notes says
is solved here from the factor R of X = QR instead, for which each block costs one QR decomposition and
XᵀX = RᵀR is never formed. A first column of ones in X centers all others, so that the bias is exact too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recipebench.lightning_modules.closed_form import ClosedFormModule, estimate


class LeastSquares:
    """min_w,b sum_n |y_n - W x_n - b|² + ridge |W|², from blocks of samples.

    Args:
        features: numbers in x.
        outputs: numbers in y; each is a problem of its own on the same factor.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
        >>> problem = LeastSquares(features=1, outputs=1)
        >>> problem.add(x, 3 * x - 1)
        >>> weight, bias = problem.solve()
        >>> [round(float(value), 9) for value in (weight, bias)]
        [3.0, -1.0]

    References:
        Golub and Van Loan, Matrix Computations, 5.3 and 6.5 (updating a QR factorization); Demmel et
        al., Communication-optimal parallel and sequential QR, 2012 (TSQR).
    """

    def __init__(self, features: int, outputs: int) -> None:
        self.features = features
        self.samples = 0
        self._factor = torch.zeros(0, 1 + features + outputs, dtype=torch.float64)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Take in a block: x (rows, features) and y (rows, outputs), float64."""
        block = torch.cat([x.new_ones(len(x), 1), x, y], 1)
        self._factor = torch.linalg.qr(torch.cat([self._factor.to(x.device), block]), mode="r").R
        self.samples += len(x)

    def solve(self, *, ridge: float = 0.0, scaled: bool = False) -> tuple[Tensor, Tensor]:
        """Return the W and b of the minimum; where many W reach it, the one of smallest norm.

        Singular values of the centered X up to eps * max(samples, features) times the largest count as
        0, as in `numpy.linalg.lstsq`: constant columns get the weight 0.

        Args:
            ridge: factor of |W|² beside the sum (not the mean) of squares; the bias goes free.
            scaled: whether columns are divided by their norm for the solution and the weights scaled
                back, as `numpy.polyfit` does: what counts as 0, and the smallest norm, are then those
                of the scaled problem.

        Returns:
            Weight (outputs, features) and bias (outputs,), float64.
        """
        end = 1 + self.features
        factor = F.pad(self._factor, (0, 0, 0, max(0, end - len(self._factor))))
        first, x, y = factor[0], factor[1:end, 1:end], factor[1:end, end:]
        norms = x.norm(dim=0) if scaled else x.new_ones(self.features)
        scale = norms.where(norms > 0, 1.0)
        u, s, vh = torch.linalg.svd(x / scale, full_matrices=False)
        limit = torch.finfo(s.dtype).eps * max(self.samples, self.features)
        kept = s > limit * s.max(0).values if self.features else s > 0
        inverse = torch.where(kept, s / (s.square() + ridge).where(kept, 1.0), 0.0)
        weight = (vh.T @ (inverse.unsqueeze(1) * (u.T @ y))) / scale.unsqueeze(1)
        return weight.T, (first[end:] - first[1:end] @ weight) / first[0]


class LeastSquaresModule(ClosedFormModule):
    """o = W f(x) + b with the W and b that least squares give for the targets t(y).

    Subclasses may change the `features` f and the `encoding` t of targets.

    Args:
        task: see `ScoredModule`.
        features: numbers in f(x).
        outputs: numbers in t(y).
        ridge, scaled: see `LeastSquares.solve`.

    Attributes:
        weight: (outputs, features) float64.
        bias: (outputs,) float64.
    """

    def __init__(
        self, task: str, features: int, outputs: int, *, ridge: float = 0.0, scaled: bool = False
    ) -> None:
        super().__init__(task)
        self.ridge = ridge
        self.scaled = scaled
        self.weight = estimate(outputs, features)
        self.bias = estimate(outputs)
        self.forget()

    def forward(self, x: Tensor) -> Tensor:
        """Return W f(x) + b: (batch, ...) float32 to (batch, outputs) float32; zeros before fitting."""
        return F.linear(self.features(x.flatten(1).double()), self.weight, self.bias).float()

    def features(self, inputs: Tensor) -> Tensor:
        """Return f(x): (rows, in_features) float64 to (rows, features) float64."""
        return inputs

    def encoding(self, targets: Tensor) -> Tensor:
        """Return t(y), what the outputs are to be: (rows, outputs) float64."""
        return targets

    def absorb(self, inputs: Tensor, targets: Tensor) -> None:
        """Take the block into the triangular factor."""
        self._problem.add(self.features(inputs), self.encoding(targets))

    def solve(self) -> None:
        """Set weight and bias."""
        weight, bias = self._problem.solve(ridge=self.ridge, scaled=self.scaled)
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def forget(self) -> None:
        """Start over with no samples."""
        outputs, features = self.weight.shape
        self._problem = LeastSquares(features, outputs)
