"""Models with one right answer, solved for instead of stepped towards, that fit through an ordinary Trainer.

`Trainer.fit` hands over the batches of the first epoch, which are summed up; behind its last batch the
solution is set, and later epochs change nothing. There is no loss to step down and so no optimizer:
`automatic_optimization` is off (Lightning's manual optimization). Sums, solutions and predictions are
float64, outputs float32 as everywhere.
"""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recipebench.lightning_modules.scored import ScoredModule

BLOCK = 4096
"""Samples that are summed up at once: what a sum costs is a matter of blocks, not of the batch size."""

LOG_ZERO = math.log(sys.float_info.min)
"""What stands for the logarithm of 0, about -708.4: a loss stays a number where a share is 0."""


def estimate(*shape: int) -> nn.Parameter:
    """Return a float64 parameter of zeros, for what is solved for, counted or set: no gradient reaches it."""
    return nn.Parameter(torch.zeros(shape, dtype=torch.float64), requires_grad=False)


class ClosedFormModule(ScoredModule):
    """A model that is solved for at the end of the first epoch from what `absorb` has summed up.

    Subclasses give `absorb`, `solve` and `forward`, which works before fitting too. What an interrupted
    epoch has summed up is forgotten when the next one starts, and is in no checkpoint; what was solved
    for is in the `state_dict`. A fitted module is not fitted again: make a new one.

    Args:
        task: see `ScoredModule`.

    Attributes:
        fitted: bool scalar, whether the solution is there.
        sized_by_data: names of buffers whose sizes the data decide, so that a checkpoint sets them.

    References:
        Lightning, manual optimization.
    """

    sized_by_data: ClassVar[tuple[str, ...]] = ()
    fitted: Tensor

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.automatic_optimization = False
        self.register_buffer("fitted", torch.tensor(False))
        self._waiting: list[tuple[Tensor, Tensor]] = []

    @abstractmethod
    def absorb(self, inputs: Tensor, targets: Tensor) -> None:
        """Add a block of samples to the sums.

        Args:
            inputs: (rows, in_features) float64, `BLOCK` rows or a few more; fewer at the end.
            targets: (rows,) int64, or (rows, 1) float64.
        """

    @abstractmethod
    def solve(self) -> None:
        """Set the parameters from the sums, which are not needed any more."""

    @abstractmethod
    def forget(self) -> None:
        """Set all sums to those of no samples."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Take in a batch, and return its losses under the model as it stands: before the solution, or by it.

        Returns:
            `loss` is the mean of the `losses` (batch,); the `penalty` is 0, for nothing is stepped.
        """
        inputs, targets = batch
        if not self.fitted:
            self._take(inputs, targets)
        losses = self.losses(self(inputs), targets).detach()
        return {"loss": losses.mean(), "losses": losses, "penalty": torch.zeros_like(losses[0])}

    def on_train_epoch_start(self) -> None:
        """Forget what an interrupted epoch left."""
        self._waiting = []
        self.forget()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Solve behind the last batch of the first epoch."""
        if self.trainer.is_last_batch and not self.fitted:
            self._absorb_waiting()
            self.solve()
            self.fitted.fill_(True)
            self.forget()

    def configure_optimizers(self) -> list[Any]:
        """Return no optimizers: nothing is stepped."""
        return []

    def finite(self) -> Tensor:
        """Return whether all that was fitted is finite, (1,) bool."""
        numbers = [value for value in self.state_dict().values() if value.is_floating_point()]
        return torch.stack([self.fitted >= 0, *(torch.isfinite(x).all() for x in numbers)]).all().unsqueeze(0)

    def _take(self, inputs: Tensor, targets: Tensor) -> None:
        self._waiting.append((inputs, targets))
        if sum(len(waiting) for _, waiting in self._waiting) >= BLOCK:
            self._absorb_waiting()

    def _absorb_waiting(self) -> None:
        if self._waiting:
            inputs = torch.cat([x for x, _ in self._waiting]).flatten(1).double()
            targets = torch.cat([y for _, y in self._waiting])
            self._waiting = []
            self.absorb(inputs, targets.double() if targets.is_floating_point() else targets)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.sized_by_data:
            if (value := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.empty_like(value, device=self.fitted.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class GenerativeModule(ClosedFormModule):
    """Bayes' rule on class densities that are estimated: P(c | x) = P(x | c) P(c) / sum_k P(x | k) P(k).

    The prior P(c) is the share of the training samples that are of class c. Before fitting all classes
    are equally probable. The loss is the cross-entropy, which is here -log P(y | x).

    A class without training samples gets the log posterior `LOG_ZERO`: it is never chosen, and a sample
    of it costs 708.4 nats, not infinitely many.

    Args:
        out_features: classes.

    Attributes:
        log_prior: (classes,) float64, log P(c).

    References:
        Lee, Machine Learning, classification: probabilistic generative model.
    """

    def __init__(self, out_features: int) -> None:
        super().__init__("classification")
        self.log_prior = estimate(out_features)

    @abstractmethod
    def log_joint(self, inputs: Tensor) -> Tensor:
        """Return log P(x, c): (batch, in_features) to (batch, classes), both float64."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the log posteriors log P(c | x): (batch, ...) float32 to (batch, classes) float32.

        They differ from the log joints log P(x | c) + log P(c) by one number a sample, so softmax and
        arg max are the same; rounded to float32 they keep the differences between the likely classes,
        which large joints would lose.
        """
        return self.log_posterior(x.flatten(1).double()).float()

    def log_posterior(self, inputs: Tensor) -> Tensor:
        """Return log P(c | x): (batch, in_features) to (batch, classes), both float64."""
        if not self.fitted:
            return torch.zeros_like(self.log_prior).log_softmax(0).repeat(len(inputs), 1)
        absent = self.log_prior <= LOG_ZERO
        joint = self.log_joint(inputs).masked_fill(absent, -math.inf)
        return joint.log_softmax(1).masked_fill(absent, LOG_ZERO)

    def set_prior(self, counts: Tensor) -> None:
        """Set log P(c) = log(N_c / N) from the samples of each class, (classes,)."""
        self.log_prior.copy_((counts / counts.sum()).log().clamp_min(LOG_ZERO))
