"""Trains the cells of a pack by a single `Trainer.fit`, or one cell alone, and returns what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pytorch_lightning import Trainer

from recipebench import datamodules, lightning_modules
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.pack_batches import PackBatches
from recipebench.benchmarks.recorder import Recorder, Track
from recipebench.datamodules import TensorDataModule
from recipebench.datamodules.catalog import data_key
from recipebench.lightning_modules import SupervisedModule
from recipebench.lightning_modules.packed import PackedModule, obstacle
from recipebench.seeds import seed_for


@dataclass(frozen=True)
class Result:
    """One trained cell: its id, its track and its share of the pack's training time."""

    cell: Cell
    track: Track
    seconds: float


def train(
    cells: Sequence[Cell],
    data_dir: Path | None,
    progress: Callable[[int], None] = lambda epoch: None,
    *,
    keep_best: bool = False,
) -> list[Result]:
    """Train cells that form a pack; a single cell, and those that cannot be packed, train as plain PyTorch.

    Args:
        cells: cells of one network shape, data set, batch size and number of epochs.
        data_dir: where data are looked for first.
        progress: called after every epoch with its number.
        keep_best: whether each track keeps the weights of its best epoch.

    Returns:
        One result a cell, in the order given.
    """
    sources = _sources(cells, data_dir)
    with torch.random.fork_rng(devices=[]):  # layers draw from the global generator before ours do
        tracks = [_track(cell, sources[cell.seed]) for cell in cells]
    if len(cells) > 1 and obstacle(tracks[0].module):
        return [train([cell], data_dir, progress, keep_best=keep_best)[0] for cell in cells]
    recorder = Recorder(tracks, progress, keep_best=keep_best)
    if len(cells) == 1:
        _fit_alone(cells[0], tracks[0], recorder)
    else:
        _fit_pack(cells, sources, tracks, recorder)
    return [Result(cell, track, recorder.seconds) for cell, track in zip(cells, tracks, strict=True)]


def why_alone(cell: Cell) -> str | None:
    """Say why a cell cannot be packed, without data and without training; None when it can."""
    return obstacle(
        _module(cell, task=cell.task, in_features=4, out_features=2 if cell.task == "classification" else 1)
    )


def plain_module(cell: Cell, data_dir: Path | None) -> SupervisedModule:
    """Return the plain module of a cell, untrained."""
    return _track(cell, _sources([cell], data_dir)[cell.seed]).module


def _fit_pack(
    cells: Sequence[Cell], sources: dict[int, TensorDataModule], tracks: Sequence[Track], recorder: Recorder
) -> None:
    module = PackedModule([track.module for track in tracks], [_noise_seed(cell) for cell in cells])
    places = {seed: place for place, seed in enumerate(sources)}
    batches = PackBatches(list(sources.values()), [places[cell.seed] for cell in cells])
    _trainer(cells[0].epochs, recorder).fit(module, train_dataloaders=batches)


def _fit_alone(cell: Cell, track: Track, recorder: Recorder) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_noise_seed(cell))
        _trainer(cell.epochs, recorder).fit(track.module, datamodule=track.data)


def _trainer(epochs: int, recorder: Recorder) -> Trainer:
    """Return a Trainer that only trains: the recorder evaluates, the store keeps, the runner reports."""
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        callbacks=[recorder],
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
    )


def _sources(cells: Sequence[Cell], data_dir: Path | None) -> dict[int, TensorDataModule]:
    """Return a data module for each seed, set up, in the order of first use."""
    sources: dict[int, TensorDataModule] = {}
    for cell in cells:
        if cell.seed not in sources:
            sources[cell.seed] = datamodules.create(
                cell.data,
                data_dir=data_dir,
                batch_size=cell.batch_size,
                validation=cell.validation,
                inputs=cell.inputs,
                seed=cell.seed,
            )
            sources[cell.seed].setup("fit")
    return sources


def _track(cell: Cell, data: TensorDataModule) -> Track:
    module = _module(cell, task=data.task, in_features=data.in_features, out_features=data.out_features)
    patience = cell.regularizer.parameters["patience"] if cell.regularizer.name == "early_stopping" else None
    assert patience is None or isinstance(patience, int)
    return Track(module, data, patience=patience)


def _module(cell: Cell, *, task: str, in_features: int, out_features: int) -> SupervisedModule:
    return lightning_modules.create(
        cell.model,
        task=task,
        in_features=in_features,
        out_features=out_features,
        activation=cell.activation,
        initializer=cell.initializer,
        regularizer=cell.regularizer,
        optimizer=cell.optimizer,
        init_seed=seed_for("init", data_key(cell.data.name, cell.data.parameters), cell.seed),
    )


def _noise_seed(cell: Cell) -> int:
    return seed_for("noise", data_key(cell.data.name, cell.data.parameters), cell.seed)
