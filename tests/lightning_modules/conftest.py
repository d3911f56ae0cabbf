"""What the tests of the models share: a quiet Trainer, and a fit on whole batches of given samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from recipebench.datamodules.batches import Batches, Split
from recipebench.lightning_modules import ClosedFormModule


def batches(inputs: Tensor, targets: Tensor, batch_size: int = 50) -> Batches:
    return Batches(
        Split(inputs, targets, torch.arange(len(targets))), batch_size=batch_size, transform=Tensor.float
    )


@pytest.fixture
def bare_trainer() -> Callable[..., Trainer]:
    """Make a Trainer that trains and validates, and nothing else: `bare_trainer(epochs, **options)`."""

    def make(epochs: int = 1, **options: Any) -> Trainer:
        quiet = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        return Trainer(**{"max_epochs": epochs, "accelerator": "cpu", "devices": 1, **quiet, **options})

    return make


@pytest.fixture
def fit(bare_trainer: Callable[..., Trainer]) -> Callable[..., Any]:
    """Fit a closed-form model through a bare Trainer: `fit(model, inputs, targets)` returns the model."""

    def run(
        model: ClosedFormModule, inputs: Tensor, targets: Tensor, *, batch_size: int = 50, epochs: int = 1
    ) -> ClosedFormModule:
        loader = batches(inputs, targets, batch_size)
        bare_trainer(epochs, limit_val_batches=0).fit(model, train_dataloaders=loader, val_dataloaders=loader)
        return model.eval()

    return run


@pytest.fixture
def configured(bare_trainer: Callable[..., Trainer]) -> Callable[[LightningModule], Any]:
    """Return the optimizer that a Trainer would train a model with."""

    def run(model: LightningModule) -> Any:
        model.trainer = bare_trainer()
        return model.configure_optimizers()

    return run


@pytest.fixture
def training_data() -> Callable[[Any], tuple[Tensor, Tensor]]:
    """Return the inputs and targets of the training split of a data module."""

    def run(data: Any) -> tuple[Tensor, Tensor]:
        data.setup()
        rows = data.train.indices
        return data.float_inputs(data.train.inputs[rows]), data.train.targets[rows]

    return run
