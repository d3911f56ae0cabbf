"""What the tests of the models share: a Trainer that only trains, on whole batches of given samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor

from recipebench.datamodules.batches import Batches, Split
from recipebench.lightning_modules import ClosedFormModule


def batches(inputs: Tensor, targets: Tensor, batch_size: int = 50) -> Batches:
    return Batches(
        Split(inputs, targets, torch.arange(len(targets))), batch_size=batch_size, transform=Tensor.float
    )


@pytest.fixture
def fit() -> Callable[..., Any]:
    """Fit a closed-form model through a bare Trainer: `fit(model, inputs, targets)` returns the model."""

    def run(
        model: ClosedFormModule, inputs: Tensor, targets: Tensor, *, batch_size: int = 50, epochs: int = 1
    ) -> ClosedFormModule:
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
        )
        loader = batches(inputs, targets, batch_size)
        trainer.fit(model, train_dataloaders=loader, val_dataloaders=loader)
        return model.eval()

    return run
