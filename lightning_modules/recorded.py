"""What the matrix asks of every model: its task, whether its weights are finite, and its learning rate."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from recipebench.levels import Choice
from recipebench.lightning_modules.optimizers import OPTIMIZERS
from recipebench.lightning_modules.schedules import make_scheduler


class RecordedModule(LightningModule):
    """A model whose training can be followed.

    Its training step returns `loss`, which is minimized, and for the record `losses`, (batch,), and
    `penalty`. Models of samples are `ScoredModule`s; others score themselves: they have a method
    `score(data, split)` that returns the metrics of their task by name.

    Attributes:
        task: what is learned, as `Facts.task` has it.
    """

    task: str

    def finite(self) -> Tensor:
        """Return whether all parameters are finite, (1,) bool; a pack returns one value a member."""
        checks = [torch.isfinite(p).all() for p in self.parameters()]
        return torch.stack([*checks, torch.tensor(True, device=self.device)]).all().unsqueeze(0)

    def count_parameters(self) -> int:
        """Count the numbers that are learned."""
        return sum(p.numel() for p in self.parameters())

    def learning_rate(self) -> float | None:
        """Return the rate of the steps of this epoch; None where nothing is stepped."""
        return None

    def learning_rates(self) -> list[float | None]:
        """Return the learning rate as a list of one; a pack returns one for each member."""
        return [self.learning_rate()]


class SteppedModule(RecordedModule):
    """A model that a stock torch optimizer steps, at a rate that a schedule may change.

    Attributes:
        optimizer: a level of the catalog.
        schedule: a level of the catalog.
    """

    optimizer: Choice
    schedule: Choice

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return what the optimizer changes: all parameters that are not frozen."""
        return [p for p in self.parameters() if p.requires_grad]

    def optimizer_options(self) -> dict[str, Any]:
        """Return the optimizer's hyper-parameters."""
        return dict(self.optimizer.parameters)

    def learning_rate(self) -> float | None:
        """Return the rate of the steps of this epoch, as the schedule has it; before a fit the first one."""
        optimizers = self.trainer.optimizers if self._trainer else []
        rate: Any = optimizers[0].param_groups[0]["lr"] if optimizers else self.optimizer.parameters.get("lr")
        return None if rate is None else float(rate)

    def configure_optimizers(self) -> Any:
        """Return the stock torch optimizer with the recipe's hyper-parameters, and its schedule, if any.

        A schedule that follows the validation loss steps on `validation_loss`, as validation logs it.
        """
        make = OPTIMIZERS[self.optimizer.name]
        optimizer = make(self.trained_parameters(), **self.optimizer_options())
        if self.schedule.name == "constant":
            return optimizer
        scheduler = make_scheduler(self.schedule, optimizer, self.trainer.max_epochs or 1)
        settings = {"scheduler": scheduler, "interval": "epoch", "monitor": "validation_loss"}
        return {"optimizer": optimizer, "lr_scheduler": settings}
