"""Trains the cells of a pack by a single `Trainer.fit`, or one cell alone, and returns what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pytorch_lightning import Callback, Trainer

from recipebench import datamodules, lightning_modules
from recipebench.benchmarks import crew
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.data_parallel import PartOfBatches, WeightedDDP
from recipebench.benchmarks.devices import device_parts
from recipebench.benchmarks.pack_batches import PackBatches
from recipebench.benchmarks.recorder import Recorder, Track
from recipebench.benchmarks.stopping import stopping_rule
from recipebench.benchmarks.transfer import adopt_features
from recipebench.datamodules import TensorDataModule
from recipebench.datamodules.catalog import Facts, data_key, facts_of
from recipebench.lightning_modules import RecordedModule, SupervisedModule, TransferCNN
from recipebench.lightning_modules.catalog import FACTORS
from recipebench.lightning_modules.packed import PackedModule, cuda_capture, mixing_obstacle, obstacle
from recipebench.lightning_modules.shares import Share
from recipebench.lightning_modules.synchronized_norm import synchronize
from recipebench.seeds import seed_for

Histories = Mapping[str, Sequence[dict[str, Any]]]
"""The rows of every cell of a pack so far, by the cell's id."""

OPTIONS = (
    *("batch_size", "validation", "inputs", "seed"),
    *("train_samples", "label_noise", "last_batch", "sampling", "augmentation"),
)
"""What a cell tells its data module."""

MIXED = {"bf16-mixed": torch.bfloat16}
"""The numbers that layers of a pack compute with between parameters and losses of float32, by precision."""

KINDS = {"64-true": torch.float64}
"""The numbers of parameters and inputs, by precision; float32 unless it stands here."""


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
    graphs: bool = False,
) -> list[Result]:
    """Train cells that form a pack; a single cell, and those that cannot be packed, train as plain PyTorch.

    On `cpu:N` and `gpu:N` this process is the first of N, and starts the others.

    Args:
        cells: cells of one network shape, data set, batch size, number of epochs and device.
        data_dir: where data are looked for first.
        progress: called after every epoch with its number and the histories so far.
        keep_best: whether each track keeps the weights of its best epoch.
        graphs: whether packs on a graphics processor record their steps as CUDA graphs, where they can.

    Returns:
        One result a cell, in the order given.

    Raises:
        LostRankError: another process of the N died, or did not answer.
    """
    if len(cells) > 1 and why_alone(cells[0]):
        return [train([cell], data_dir, progress, keep_best=keep_best)[0] for cell in cells]
    _, ranks = device_parts(cells[0].device)
    if ranks == 1:
        return train_share(cells, data_dir, Share(), progress, keep_best=keep_best, graphs=graphs)
    with crew.first_of(ranks, cells, data_dir) as share:
        return train_share(cells, data_dir, share, progress, keep_best=keep_best)


def train_share(
    cells: Sequence[Cell],
    data_dir: Path | None,
    share: Share,
    progress: Callable[[int, Histories], None] = lambda epoch, histories: None,
    *,
    keep_best: bool = False,
    graphs: bool = False,
) -> list[Result]:
    """Do a process's share of training cells that form a pack; the results are the same in every process.

    Args:
        cells: as in `train`.
        data_dir: as in `train`.
        share: the place of this process among those that train the cells, which it has joined.
        progress: as in `train`.
        keep_best: as in `train`.
        graphs: as in `train`.
    """
    sources = _sources(cells, data_dir, share)
    with torch.random.fork_rng(devices=[]):  # layers draw from the global generator before ours do
        tracks = [_track(cell, sources[cell.seed], data_dir, share) for cell in cells]
    histories = {cell.id: track.history for cell, track in zip(cells, tracks, strict=True)}
    recorder = Recorder(tracks, lambda epoch: progress(epoch, histories), keep_best=keep_best, share=share)
    with _products(cells[0]):
        if len(cells) == 1:
            _fit_alone(cells[0], tracks[0], recorder)
        else:
            _fit_pack(cells, sources, tracks, recorder, graphs=graphs)
    return [Result(cell, track, recorder.seconds) for cell, track in zip(cells, tracks, strict=True)]


def why_alone(cell: Cell) -> str | None:
    """Say why a cell cannot be packed, without data and without training; None when it can."""
    with torch.random.fork_rng(devices=[]):
        module = _module(cell, facts_of(cell.data))
    if reason := obstacle(module):
        return reason
    return mixing_obstacle(module) if cell.precision in MIXED else None


def plain_module(cell: Cell, data_dir: Path | None) -> RecordedModule:
    """Return the plain module of a cell, untrained."""
    return _track(cell, _sources([cell], data_dir, Share())[cell.seed], data_dir, Share()).module


def _fit_pack(
    cells: Sequence[Cell],
    sources: dict[int, TensorDataModule],
    tracks: Sequence[Track],
    recorder: Recorder,
    *,
    graphs: bool,
) -> None:
    share = recorder.share
    members = [cast("SupervisedModule", track.module) for track in tracks]
    seeds = [_noise_seed(cell, share) for cell in cells]
    capture = cuda_capture if graphs else None
    kind = MIXED.get(cells[0].precision)
    module = PackedModule(members, seeds, share, kind=kind, capture=capture)
    places = {seed: place for place, seed in enumerate(sources)}
    batches = PackBatches(list(sources.values()), [places[cell.seed] for cell in cells], share)
    _trainer(cells[0], recorder, lambda step: 1.0, autocast=False).fit(module, train_dataloaders=batches)


def _fit_alone(cell: Cell, track: Track, recorder: Recorder) -> None:
    share = recorder.share
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_noise_seed(cell, share))
        if share.ranks == 1:
            _trainer(cell, recorder).fit(track.module, datamodule=track.data)
        else:
            batches = PartOfBatches(track.data.train_dataloader(), share)
            _trainer(cell, recorder, batches.weight).fit(track.module, train_dataloaders=batches)


def _trainer(
    cell: Cell,
    recorder: Recorder,
    weight: Callable[[int], float] | None = None,
    *,
    autocast: bool = True,
) -> Trainer:
    """Return the Trainer of a cell or pack; `weight` is what a process's part of a step counts.

    Packs choose the numbers of every layer themselves, without `autocast`.
    """
    kind, ranks = device_parts(cell.device)
    several: dict[str, Any] = {}
    if ranks > 1:
        assert weight is not None
        several = {"strategy": WeightedDDP(recorder.share, weight), "use_distributed_sampler": False}
    precision = "bf16-mixed" if autocast and cell.precision == "bf16-mixed" else None
    return _bare_trainer(cell.epochs, kind, recorder, devices=ranks, precision=precision, **several)


def _bare_trainer(epochs: int, accelerator: str, *callbacks: Callback, **options: Any) -> Trainer:
    """Return a Trainer that only trains: the recorder evaluates, the store keeps, the runner reports."""
    return Trainer(
        max_epochs=epochs,
        accelerator=accelerator,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        **{"devices": 1, **options},
    )


@contextmanager
def _products(cell: Cell) -> Iterator[None]:
    """Let graphics processors round what they multiply to tf32 for the time of a block, if a cell asks so."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if cell.precision == "tf32" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _place(cell: Cell, share: Share) -> torch.device:
    """Return where the numbers of a cell lie; each process has a graphics processor of its own."""
    return torch.device("cpu") if device_parts(cell.device)[0] == "cpu" else torch.device("cuda", share.rank)


def _sources(cells: Sequence[Cell], data_dir: Path | None, share: Share) -> dict[int, TensorDataModule]:
    """Return a data module for each seed, set up, in the order of first use."""
    sources: dict[int, TensorDataModule] = {}
    moved: dict[torch.Tensor, torch.Tensor] = {}
    for cell in cells:
        if cell.seed not in sources:
            data = sources[cell.seed] = datamodules.create(
                cell.data,
                data_dir=data_dir,
                **{name: getattr(cell, name) for name in OPTIONS if getattr(cell, name) is not None},
            )
            data.setup("fit")
            if isinstance(data, TensorDataModule):
                data.place(_kind(cell), _place(cell, share), moved)
    return sources


def _kind(cell: Cell) -> torch.dtype:
    return KINDS.get(cell.precision, torch.float32)


def _track(cell: Cell, data: TensorDataModule, data_dir: Path | None, share: Share) -> Track:
    module = _module(cell, data.facts)
    if isinstance(module, TransferCNN):
        adopt_features(module, cell, data_dir, _fit_teacher)
    if isinstance(module, SupervisedModule):
        synchronize(module.network, share)
    return Track(module.to(_place(cell, share)), data, stop=stopping_rule(cell), probes=cell.probes)


def _fit_teacher(module: RecordedModule, data: TensorDataModule, epochs: int) -> None:
    """Train what a network starts from; every process does so by itself, on its processor."""
    _bare_trainer(epochs, "cpu").fit(module, datamodule=data)


def _module(cell: Cell, facts: Facts) -> RecordedModule:
    module = lightning_modules.create(
        cell.model,
        task=facts.task,
        in_shape=facts.shape,
        out_features=facts.out_features,
        **{factor: getattr(cell, factor) for factor in FACTORS},
        init_seed=seed_for("init", data_key(cell.data.name, cell.data.parameters), cell.seed),
    )
    return module.to(_kind(cell)) if cell.precision in KINDS else module


def _noise_seed(cell: Cell, share: Share) -> int:
    """Return the seed of a cell's noise: a stream for each process, where several train it."""
    names = ("noise", data_key(cell.data.name, cell.data.parameters), cell.seed)
    return seed_for(*names) if share.ranks == 1 else seed_for(*names, "rank", share.rank, "of", share.ranks)
