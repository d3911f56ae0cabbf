"""Every model in a bare Trainer with the loggers of Lightning: CSV, TensorBoard, Weights & Biases."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger

from recipebench import datamodules, lightning_modules
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.suite import load_suite, shipped
from recipebench.benchmarks.tracking.client import QUIET, prepare
from recipebench.datamodules import fetch
from recipebench.datamodules.catalog import facts_of
from recipebench.lightning_modules import TransferCNN
from recipebench.lightning_modules.catalog import FACTORS
from recipebench.lightning_modules.model_catalog import MODELS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to which wandb keeps."""
    folder = tmp_path_factory.mktemp("loggers")
    with pytest.MonkeyPatch.context() as patch:
        variables = {"WANDB_ERROR_REPORTING": "false"}
        prepare(folder, variables)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield folder
        import wandb

        wandb.teardown()


@pytest.fixture(scope="module")
def cells() -> dict[str, Cell]:
    """A cell of every model, on data that need no download."""
    found: dict[str, Cell] = {}
    for suite in shipped():
        for cell in expand(load_suite(suite)):
            if cell.model.name not in found and not fetch.locate(cell.data, None):
                found[cell.model.name] = cell
    for model in [name for name in MODELS if name not in found]:
        alone = {"name": "alone", "data": ["digits"], "include": [{"model": [model]}], "seeds": 1}
        found[model] = next(expand(load_suite(alone)))
    return found


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_model_logs_to_each(model: str, cells: dict[str, Cell], place: Path) -> None:
    import wandb

    cell = cells[model]
    facts = facts_of(cell.data)
    module = lightning_modules.create(
        cell.model,
        task=facts.task,
        in_shape=facts.shape,
        out_features=facts.out_features,
        **{factor: getattr(cell, factor) for factor in FACTORS},
        init_seed=0,
    )
    if isinstance(module, TransferCNN):
        module.adopt(module.pretraining_module(in_shape=facts.shape, out_features=facts.out_features))
    loggers = [
        CSVLogger(place, name=model, version=0),
        TensorBoardLogger(place, name=f"{model}-board", version=0),
        WandbLogger(name=model, save_dir=place, offline=True, settings=wandb.Settings(**QUIET)),
    ]
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=loggers,
        limit_train_batches=2,
        limit_val_batches=2,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the trainer's own, about workers and the like
        trainer.fit(module, datamodule=datamodules.create(cell.data, batch_size=cell.batch_size, seed=0))

    expected = float(trainer.callback_metrics["validation_loss"])
    run: Any = loggers[2].experiment
    assert _written(place / model / "version_0") == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert _on_the_board(place / f"{model}-board" / "version_0") == pytest.approx(expected, nan_ok=True)
    assert float(run.summary["validation_loss"]) == pytest.approx(expected, nan_ok=True)
    run.finish()


def _written(folder: Path) -> float:
    with (folder / "metrics.csv").open() as file:
        return next(float(row["validation_loss"]) for row in csv.DictReader(file) if row["validation_loss"])


def _on_the_board(folder: Path) -> float:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder))
    board.Reload()
    return float(board.Scalars("validation_loss")[-1].value)
