"""Trains the cells of a pack by a single `Trainer.fit`, or one cell alone, and returns what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import Callback, Trainer

from recipebench import datamodules, lightning_modules
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.pack_batches import PackBatches
from recipebench.benchmarks.recorder import Recorder, Track
from recipebench.benchmarks.stopping import stopping_rule
from recipebench.benchmarks.transfer import adopt_features
from recipebench.datamodules import TensorDataModule
from recipebench.datamodules.catalog import Facts, data_key, facts_of
from recipebench.lightning_modules import RecordedModule, SupervisedModule, TransferCNN
from recipebench.lightning_modules.catalog import FACTORS
from recipebench.lightning_modules.packed import PackedModule, obstacle
from recipebench.seeds import seed_for

Histories = Mapping[str, Sequence[dict[str, Any]]]
"""The rows of every cell of a pack so far, by the cell's id."""

OPTIONS = (
    *("batch_size", "validation", "inputs", "seed"),
    *("train_samples", "label_noise", "last_batch", "sampling", "augmentation"),
)
"""What a cell tells its data module."""


@dataclass(frozen=True)
class Result:
    """One trained cell: its id, its track and its share of the pack's training time."""

    cell: Cell
    track: Track
    seconds: float


def train(
    cells: Sequence[Cell],
    data_dir: Path | None,
    progress: Callable[[int, Histories], None] = lambda epoch, histories: None,
    *,
    keep_best: bool = False,
) -> list[Result]:
    """Train cells that form a pack; a single cell, and those that cannot be packed, train as plain PyTorch.

    Args:
        cells: cells of one network shape, data set, batch size and number of epochs.
        data_dir: where data are looked for first.
        progress: called after every epoch with its number and the histories so far.
        keep_best: whether each track keeps the weights of its best epoch.

    Returns:
        One result a cell, in the order given.
    """
    if len(cells) > 1 and why_alone(cells[0]):
        return [train([cell], data_dir, progress, keep_best=keep_best)[0] for cell in cells]
    sources = _sources(cells, data_dir)
    with torch.random.fork_rng(devices=[]):  # layers draw from the global generator before ours do
        tracks = [_track(cell, sources[cell.seed], data_dir) for cell in cells]
    histories = {cell.id: track.history for cell, track in zip(cells, tracks, strict=True)}
    recorder = Recorder(tracks, lambda epoch: progress(epoch, histories), keep_best=keep_best)
    if len(cells) == 1:
        _fit_alone(cells[0], tracks[0], recorder)
    else:
        _fit_pack(cells, sources, tracks, recorder)
    return [Result(cell, track, recorder.seconds) for cell, track in zip(cells, tracks, strict=True)]


def why_alone(cell: Cell) -> str | None:
    """Say why a cell cannot be packed, without data and without training; None when it can."""
    with torch.random.fork_rng(devices=[]):
        return obstacle(_module(cell, facts_of(cell.data)))


def plain_module(cell: Cell, data_dir: Path | None) -> RecordedModule:
    """Return the plain module of a cell, untrained."""
    return _track(cell, _sources([cell], data_dir)[cell.seed], data_dir).module


def _fit_pack(
    cells: Sequence[Cell], sources: dict[int, TensorDataModule], tracks: Sequence[Track], recorder: Recorder
) -> None:
    members = [cast("SupervisedModule", track.module) for track in tracks]
    module = PackedModule(members, [_noise_seed(cell) for cell in cells])
    places = {seed: place for place, seed in enumerate(sources)}
    batches = PackBatches(list(sources.values()), [places[cell.seed] for cell in cells])
    _trainer(cells[0].epochs, recorder).fit(module, train_dataloaders=batches)


def _fit_alone(cell: Cell, track: Track, recorder: Recorder) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_noise_seed(cell))
        _trainer(cell.epochs, recorder).fit(track.module, datamodule=track.data)


def _trainer(epochs: int, *callbacks: Callback) -> Trainer:
    """Return a Trainer that only trains: the recorder evaluates, the store keeps, the runner reports."""
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        callbacks=list(callbacks),
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
                **{name: getattr(cell, name) for name in OPTIONS if getattr(cell, name) is not None},
            )
            sources[cell.seed].setup("fit")
    return sources


def _track(cell: Cell, data: TensorDataModule, data_dir: Path | None) -> Track:
    module = _module(cell, data.facts)
    if isinstance(module, TransferCNN):
        adopt_features(module, cell, data_dir, _fit_teacher)
    return Track(module, data, stop=stopping_rule(cell), probes=cell.probes)


def _fit_teacher(module: RecordedModule, data: TensorDataModule, epochs: int) -> None:
    _trainer(epochs).fit(module, datamodule=data)


def _module(cell: Cell, facts: Facts) -> RecordedModule:
    return lightning_modules.create(
        cell.model,
        task=facts.task,
        in_shape=facts.shape,
        out_features=facts.out_features,
        **{factor: getattr(cell, factor) for factor in FACTORS},
        init_seed=seed_for("init", data_key(cell.data.name, cell.data.parameters), cell.seed),
    )


def _noise_seed(cell: Cell) -> int:
    return seed_for("noise", data_key(cell.data.name, cell.data.parameters), cell.seed)
