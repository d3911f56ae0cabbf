"""Logistic regression by Newton's method: full-batch steps with the inverse of the Hessian (second order).

In statistics: iteratively reweighted least squares. The notes call second-order methods impractical, for
the Hessian has the square of the number of parameters; a problem of that size is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recipebench.errors import RequestError
from recipebench.lightning_modules.closed_form import estimate
from recipebench.lightning_modules.logistic_regression import check_two_classes
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.scored import ScoredModule
from recipebench.lightning_modules.two_columns import two_columns


class LogisticRegressionNewton(ScoredModule):
    """w <- w - H⁻¹ g, once an epoch, from w = 0: g and H over all training samples, whatever the batch size.

    With f = sigmoid(w . x + b): g = (1 / n) sum (f - y) x + strength w; H = (1 / n) sum f (1 - f) x xᵀ +
    strength I, x extended by a 1 for the bias, which goes free of the penalty (strength / 2) ||w||². Where
    several steps solve H s = g, the shortest is taken. Batches are summed up in float64 while the weights
    stand still; the step follows the last.

    Args:
        strength: factor of half the sum of squared weights beside the mean loss. At 0 and with separable
            classes the weights grow without end.
        max_parameters: weights and bias that are allowed: the Hessian has the square of it.
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: 2; another number of classes is refused.

    Attributes:
        weight: w (1, in_features) float64.
        bias: b (1,) float64.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, 2) float32 columns (-s / 2, s / 2),
        s = w . x + b; see `LogisticRegression`.

    Raises:
        RequestError: there are too many parameters, or not two classes.

    Example:
        >>> LogisticRegressionNewton(in_features=3).weight
        Parameter containing:
        tensor([[0., 0., 0.]], dtype=torch.float64)

    References:
        Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 4.4.1; Lee, Machine
        Learning, logistic regression.
    """

    def __init__(
        self,
        *,
        strength: float = 1e-4,
        max_parameters: int = 2000,
        in_features: int = 2,
        out_features: int = 2,
    ) -> None:
        super().__init__("classification")
        chosen = {"strength": strength, "max_parameters": max_parameters}
        MODELS.choose({"logistic_regression_newton": chosen})
        check_two_classes("logistic_regression_newton", out_features)
        if in_features + 1 > max_parameters:
            raise RequestError(
                f"logistic_regression_newton: expected at most {max_parameters:,} parameters, got "
                f"{in_features + 1:,}, whose Hessian has {(in_features + 1) ** 2:,} entries; "
                "raise max_parameters, or take logistic_regression."
            )
        self.automatic_optimization = False
        self.strength = float(strength)
        self.weight, self.bias = estimate(1, in_features), estimate(1)
        self._forget()

    def forward(self, x: Tensor) -> Tensor:
        """Return the columns (-s / 2, s / 2): (batch, 2) float32."""
        return two_columns(self._score_of(x)).float()

    def penalty(self) -> Tensor:
        """Return (strength / 2) ||w||²; the bias goes free."""
        return (self.strength / 2 * self.weight.square().sum()).float()

    @torch.no_grad()
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Add a batch to gradient and Hessian; return its losses under the weights of this epoch."""
        inputs, targets = batch
        probability = self._score_of(inputs).sigmoid()
        x = torch.cat([inputs.flatten(1).double(), torch.ones_like(probability)], dim=1)
        self._samples += len(x)
        self._gradient += x.T @ (probability - targets.unsqueeze(1))
        self._hessian += x.T @ (probability * (1 - probability) * x)
        losses, penalty = self.losses(self(inputs), targets), self.penalty()
        return {"loss": losses.mean() + penalty, "losses": losses, "penalty": penalty}

    def on_train_epoch_start(self) -> None:
        """Forget what an interrupted epoch left."""
        self._forget()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Step behind the last batch of an epoch."""
        if self.trainer.is_last_batch:
            self.step()

    @torch.no_grad()
    def step(self) -> None:
        """Take Newton's step from what was summed up, and forget it."""
        penalized = torch.ones(len(self._gradient), 1, dtype=torch.float64)
        penalized[-1] = 0
        values = torch.cat([self.weight, self.bias.unsqueeze(0)], dim=1).T
        gradient = self._gradient / self._samples + self.strength * penalized * values
        hessian = self._hessian / self._samples + torch.diag(self.strength * penalized[:, 0])
        if gradient.isfinite().all() and hessian.isfinite().all():
            values = values - torch.linalg.lstsq(hessian, gradient, driver="gelsd").solution
        else:
            values = torch.full_like(values, torch.nan)
        self.weight.copy_(values[:-1].T)
        self.bias.copy_(values[-1])
        self._forget()

    def learning_rate(self) -> float:
        """Return 1: Newton's step is taken whole."""
        return 1.0

    def configure_optimizers(self) -> list[Any]:
        """Return no torch optimizers: the step is written out above."""
        return []

    def _score_of(self, x: Tensor) -> Tensor:
        """Return s, (batch, 1) float64."""
        return x.flatten(1).double() @ self.weight.T + self.bias

    def _forget(self) -> None:
        size = self.weight.shape[1] + 1
        self._samples = 0
        self._gradient = torch.zeros(size, 1, dtype=torch.float64)
        self._hessian = torch.zeros(size, size, dtype=torch.float64)
