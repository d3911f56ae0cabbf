"""The first part of transfer learning: the network whose features a cell starts from is trained here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from recipebench import datamodules
from recipebench.benchmarks.cells import Cell
from recipebench.lightning_modules import CNN, TransferCNN
from recipebench.seeds import seed_for

_KEPT = 4
_trained: dict[str, dict[str, Tensor]] = {}

Fit = Callable[[CNN, datamodules.TensorDataModule, int], object]
"""Trains a module on a data module for some epochs."""


def adopt_features(module: TransferCNN, cell: Cell, data_dir: Path | None, fit: Fit) -> None:
    """Train the network that a cell starts from, and hand its features over.

    The same protocol holds for both trainings: seed, batch size, validation and inputs. What one worker
    has trained is kept for the next cells that start from it.

    Args:
        module: the cell's module, untrained.
        cell: what it was made from.
        data_dir: where data are looked for first.
        fit: trains the first network.
    """
    source = cell.sources[-1]
    data = datamodules.create(
        source,
        data_dir=data_dir,
        batch_size=cell.batch_size,
        validation=cell.validation,
        inputs=cell.inputs,
        seed=cell.seed,
    )
    teacher = module.pretraining_module(in_shape=data.facts.shape, out_features=data.out_features)
    protocol = (module.pretrain_epochs, cell.seed, cell.batch_size, cell.validation, cell.inputs)
    key = repr((source, protocol, module.pretraining))
    if key not in _trained:
        data.setup("fit")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for("noise", "transfer", data.key, cell.seed))
            fit(teacher, data, module.pretrain_epochs)
        _remember(key, {name: value.clone() for name, value in teacher.network.state_dict().items()})
    teacher.network.load_state_dict(_trained[key])
    module.adopt(teacher)


def _remember(key: str, state: dict[str, Tensor]) -> None:
    while len(_trained) >= _KEPT:
        _trained.pop(next(iter(_trained)))
    _trained[key] = state
