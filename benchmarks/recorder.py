"""What is measured while cells train: every epoch's losses, accuracies and weights, alone or in a pack."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from recipebench.benchmarks.memory import EVALUATED
from recipebench.benchmarks.records import SPLITS
from recipebench.datamodules import TensorDataModule
from recipebench.lightning_modules import RecordedModule, ScoredModule, SupervisedModule, exactness, probes
from recipebench.lightning_modules.packed import PackedModule
from recipebench.lightning_modules.scores import FIELDS, summarize, tally
from recipebench.lightning_modules.shares import Share
from recipebench.seeds import seed_for

EVALUATION_ROWS = 1000
"""Samples that are evaluated at a time; a part of the semantics, since it decides the last bits."""

SCORED_TASKS = ("classification", "regression")
"""Tasks whose outputs are scored here; models of other tasks score themselves."""

TRAIN_SUBSET = 10_000
"""Training samples that are evaluated at most: a fixed draw for each seed."""


@dataclass
class Track:
    """One cell while it trains, and what became of it.

    Args:
        module: the plain module that is trained.
        data: its data module, set up.
        stop: whether to stop, from the history and the best epoch so far; None never stops.
        probes: what is measured of the layers; see `lightning_modules.probes`.
    """

    module: RecordedModule
    data: TensorDataModule
    stop: Callable[[Sequence[Mapping[str, Any]], int], bool] | None = None
    probes: tuple[str, ...] = ()
    history: list[dict[str, Any]] = field(default_factory=list)
    diverged_at: int | None = None
    stopped: bool = False
    best_epoch: int = 0
    best_loss: float = torch.inf
    best_state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether nothing more is to be measured."""
        return self.stopped or self.diverged_at is not None

    def watch(self, epoch: int, *, keep_state: bool) -> None:
        """Follow the validation loss: remember the best epoch, and stop when the cell's rule says so."""
        loss = self.history[-1]["validation_loss"]
        if loss < self.best_loss or self.best_epoch == 0:  # whatever its loss, the first is the best so far
            self.best_loss, self.best_epoch = (torch.inf if math.isnan(loss) else loss), epoch
            if keep_state:
                self.best_state = {name: t.clone() for name, t in self.module.state_dict().items()}
        self.stopped = self.stop is not None and self.stop(self.history, self.best_epoch)


class Recorder(Callback):
    """Evaluates all tracks before training and after every epoch, through their plain modules.

    The same code measures a cell alone and a cell in a pack, since a pack's members are plain modules.
    Early stopping is decided here, from the recorded validation losses: a pack trains on for the
    others, and a cell that has stopped is measured no more.

    Where several processes train the cells, each scores its part of the samples, and all of them see all
    numbers: they decide alike without asking each other.

    Args:
        tracks: the cells, in the order of the pack.
        progress: called with the number of the epoch that has ended.
        keep_best: whether to keep a copy of the weights of each cell's best epoch.
        splits: what is evaluated; `validation` must be among them.
        share: what this process has a part in.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        progress: Callable[[int], None] = lambda epoch: None,
        *,
        keep_best: bool = False,
        splits: Sequence[str] = SPLITS,
        share: Share | None = None,
    ) -> None:
        self.tracks = tracks
        self.share = share or Share()
        self.splits = splits
        self.seconds = 0.0
        self._progress = progress
        self._keep_best = keep_best
        self._started = 0.0
        self._steps = 0
        self._losses: list[Tensor] = []
        self._penalties: list[Tensor] = []
        self._rates: list[float | None] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the untrained networks: row 0 of the history."""
        self._started = time.monotonic()
        module = cast("RecordedModule | PackedModule", pl_module)
        self._measure(0, [{} for _ in self.tracks], module.learning_rates())

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the rates of the epoch's steps: at its end a schedule may have changed them already."""
        self._rates = cast("RecordedModule | PackedModule", pl_module).learning_rates()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the losses and penalties that the optimizers saw."""
        if "penalties" in outputs:
            self._losses.append(outputs["losses"])
            self._penalties.append(outputs["penalties"])
        else:
            self._losses.append(outputs["losses"].unsqueeze(0))
            self._penalties.append(outputs["penalty"].view(1, 1))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find cells that have diverged, measure the others, stop when none is left."""
        epoch = trainer.current_epoch + 1
        data = self.tracks[0].data
        losses, penalties = self._losses_of_all(data), torch.cat(self._penalties)
        self._losses, self._penalties = [], []
        module = cast("RecordedModule | PackedModule", pl_module)
        if self.share.ranks > 1:
            self.share.check_equal(_weights(module))
        self._find_diverged(losses, penalties, module.finite())
        self._steps += len(penalties)
        each = [self._fit(t, losses[k], penalties[:, k]) for k, t in enumerate(self.tracks)]
        fits = [{"fit_loss": value} for value in torch.stack(each).tolist()]  # moved from the device at once
        self._measure(epoch, fits, self._rates)
        for track in self.tracks:
            if not track.done:
                track.watch(epoch, keep_state=self._keep_best)
        self._tell(module)
        self._progress(epoch)
        trainer.should_stop = all(track.done for track in self.tracks)

    def _losses_of_all(self, data: TensorDataModule) -> Tensor:
        """Return the losses of the epoch's samples in the order of one device: (K, samples)."""
        own = torch.cat(self._losses, 1)
        if self.share.ranks == 1:
            return own
        return self.share.assemble(own, _batch_sizes(len(data.order(1)), data.batch_size))

    def _find_diverged(self, losses: Tensor, penalties: Tensor, finite: Tensor) -> None:
        """Mark cells with a non-finite loss or penalty in this epoch, or weight at its end."""
        sound = torch.isfinite(losses).all(1) & torch.isfinite(penalties).all(0) & finite
        for k in (~sound).nonzero().flatten().tolist():
            if not self.tracks[k].done:
                self.tracks[k].diverged_at = self._steps + _first_bad_step(
                    losses[k], penalties[:, k], self.tracks[k].data.batch_size
                )

    def _fit(self, track: Track, losses: Tensor, penalties: Tensor) -> Tensor:
        sizes = _batch_sizes(len(losses), track.data.batch_size)
        weights = torch.full((len(sizes),), sizes[0], dtype=torch.float64, device=losses.device)
        weights[-1:].fill_(sizes[-1])
        return (losses.double().sum() + (penalties.double().contiguous() * weights).sum()) / len(losses)

    def _measure(self, epoch: int, fits: Sequence[dict[str, float]], rates: Sequence[float | None]) -> None:
        seconds = (time.monotonic() - self._started) / len(self.tracks)
        measured = zip(rates, fits, strict=True)
        rows = [{"epoch": epoch, "seconds": seconds, "lr": lr, **fit} for lr, fit in measured]
        live = [(track, row) for track, row in zip(self.tracks, rows, strict=True) if not track.done]
        scores = evaluate([track for track, _ in live], self.splits, self.share)
        for (track, row), score in zip(live, scores, strict=True):
            track.history.append({**row, **score, **probe(track)})
        self.seconds = (time.monotonic() - self._started) / len(self.tracks)

    def _tell(self, module: RecordedModule | PackedModule) -> None:
        """Hand the validation losses of this epoch to schedules that follow them."""
        losses = {k: t.history[-1]["validation_loss"] for k, t in enumerate(self.tracks) if not t.done}
        if isinstance(module, PackedModule):
            module.validation_losses = losses
        elif losses:
            several = self.share.ranks > 1  # all have the same number: the largest of them, bit for bit
            module.log(
                "validation_loss", losses[0], sync_dist=several, reduce_fx="max" if several else "mean"
            )


def _weights(module: RecordedModule | PackedModule) -> Tensor:
    """Return all that is trained, and what follows the data, as one tensor."""
    if isinstance(module, PackedModule):
        return module.stack.values
    kept = [value.detach().flatten() for value in module.state_dict().values() if value.is_floating_point()]
    return torch.cat(kept)


def _first_bad_step(losses: Tensor, penalties: Tensor, batch_size: int) -> int:
    """Return the first step, from 1, with a non-finite loss or penalty; the last if only a weight is."""
    batches = losses.split(_batch_sizes(len(losses), batch_size))
    bad = torch.stack([~torch.isfinite(batch).all() for batch in batches]) | ~torch.isfinite(penalties)
    return int(bad.nonzero()[0]) + 1 if bad.any() else len(batches)


def _batch_sizes(samples: int, batch_size: int) -> list[int]:
    full, rest = divmod(samples, batch_size)
    return [batch_size] * full + ([rest] if rest else [])


@torch.no_grad()
def evaluate(
    tracks: Sequence[Track], splits: Sequence[str] = SPLITS, share: Share | None = None
) -> list[dict[str, float]]:
    """Score every track on its training subset, validation and test data, in eval mode.

    Args:
        tracks: what is scored.
        splits: what it is scored on.
        share: what this process has a part in; every process gets the scores of all samples.

    Returns:
        For each track `<split>_loss` and `<split>_accuracy`, or `_mse` and `_r2`, as floats.
    """
    if tracks and tracks[0].module.task not in SCORED_TASKS:
        return [_own_scores(track, splits) for track in tracks]
    results: list[dict[str, float]] = [{} for _ in tracks]
    for split in splits:
        groups: dict[int, list[int]] = {}
        for k, track in enumerate(tracks):
            groups.setdefault(_same_samples(track.data, split), []).append(k)
        for members in groups.values():
            totals = _tallies([tracks[k] for k in members], split, share or Share())
            for k, total in zip(members, totals.tolist(), strict=True):
                scores = summarize(tracks[k].module.task, total)
                results[k].update({f"{split}_{name}": value for name, value in scores.items()})
    return results


def _own_scores(track: Track, splits: Sequence[str]) -> dict[str, float]:
    """Score a model of a task that is not one of (input, target) pairs, as it does so itself."""
    module: Any = track.module
    with _evaluating([module]):
        parts = {split: module.score(track.data, split) for split in splits}
    return {f"{split}_{name}": value for split, scores in parts.items() for name, value in scores.items()}


def _same_samples(data: TensorDataModule, split: str) -> int:
    """Return a key that is equal for data modules with equal splits: official test sets are shared."""
    official = split == "test" and data.test.inputs is not data.train.inputs and data.inputs_are_shared
    return id(data.test.inputs) if official else id(data)


def _tallies(tracks: Sequence[Track], split: str, share: Share) -> Tensor:
    """Sum up the split, which the tracks share, chunk by chunk: (tracks, fields), see `tally`.

    Processes take the chunks in turn and sum up in the order of the chunks, so that no bit depends on how
    many they are.
    """
    data, task = tracks[0].data, tracks[0].module.task
    part = getattr(data, split)
    indices = training_subset(data) if split == "train" else part.indices
    chunks = indices.split(rows_at_a_time(indices.device))
    totals = torch.zeros(len(chunks), len(tracks), len(FIELDS), dtype=torch.float64, device=indices.device)
    modules = [cast("ScoredModule", track.module) for track in tracks]
    with _evaluating(modules):
        for place in range(share.rank, len(chunks), share.ranks):
            chunk = chunks[place]
            inputs = data.float_inputs(part.inputs.index_select(0, chunk))
            targets = part.targets.index_select(0, chunk)
            outputs = torch.cat([module(inputs) for module in modules])
            repeated = targets.repeat(len(tracks), *[1] * (targets.dim() - 1))
            losses = modules[0].losses(outputs, repeated)
            totals[place] = tally(task, outputs, repeated, losses, members=len(tracks))
    total = torch.zeros_like(totals[0])
    for part in share.add_up(totals):
        total += part
    if total[0, 0] != len(indices):
        raise RuntimeError(f"{split}: expected {len(indices)} scored samples, got {int(total[0, 0])}.")
    return total


def rows_at_a_time(device: torch.device) -> int:
    """Return how many samples are evaluated at a time: many where starting a kernel takes long.

    Example:
        >>> rows_at_a_time(torch.device("cpu"))
        1000
    """
    return EVALUATION_ROWS if exactness.promises_bits(device) else EVALUATED


@contextmanager
def _evaluating(modules: Sequence[RecordedModule]) -> Iterator[None]:
    """Put modules in eval mode, and back; a pack's members are always in eval mode."""
    switched = [module for module in modules if module.training]
    for module in switched:
        module.eval()
    yield
    for module in switched:
        module.train()


def probe(track: Track) -> dict[str, float]:
    """Measure a cell's layers on the first samples of its training subset, where the suite asks for it.

    A model that is not a network trained by gradient descent has none to measure.
    """
    if not track.probes or not isinstance(track.module, SupervisedModule):
        return {}
    chunk = training_subset(track.data)[:EVALUATION_ROWS]
    inputs = track.data.float_inputs(track.data.train.inputs.index_select(0, chunk))
    targets = track.data.train.targets.index_select(0, chunk)
    return probes.probe(track.module, inputs, targets, track.probes)


def training_subset(data: TensorDataModule) -> Tensor:
    """Return the training samples that are evaluated: all, or a fixed draw of `TRAIN_SUBSET`, by seed."""
    indices = data.train.indices
    if len(indices) <= TRAIN_SUBSET:
        return indices
    generator = torch.Generator().manual_seed(seed_for("subset", data.key, data.seed))
    return indices[torch.randperm(len(indices), generator=generator)[:TRAIN_SUBSET]]
