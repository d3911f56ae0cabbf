"""The parts of the measurement on a graphics processor: packs, cells alone, JAX, the whole of `core`, rates.

Each takes a `Request` and returns what it has measured as plain JSON. None takes much longer than the seconds
that it is given: what is not done by then is left out, and what was done is counted.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from recipebench import datamodules
from recipebench.benchmarks import gpus, packs, training
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.environment import describe
from recipebench.benchmarks.executor import Event, LocalExecutor
from recipebench.benchmarks.pack_batches import PackBatches
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.speed.gpu_cells import Size, core_cells, drawn, in_precision, of_images
from recipebench.benchmarks.store import Store
from recipebench.datamodules.catalog import split_sizes
from recipebench.levels import Choice
from recipebench.lightning_modules import MLP
from recipebench.lightning_modules.packed import PackedModule, cuda_capture

SEEDS = 5
"""Orders that the members of the ensemble share, as the seeds of `core`."""

HIDDEN = (128, 64)
"""Widths of the ensemble, as in `core`."""

COMPARED = 20
"""Steps whose losses are compared with JAX's: later ones drift apart, as two orders of summation do."""

STATE_PASSES = {"sgd": 3, "momentum": 5, "adagrad": 5, "rmsprop": 5, "adam": 7}
"""Reads and writes of a number's worth of memory for each weight in a step of an optimizer, at least."""

WEIGHT_PASSES = 3
"""Further ones: the weights are read forward and backward, the gradient is written."""


@dataclass(frozen=True)
class Request:
    """What is measured, where, and for how long.

    Args:
        device: `cuda` or `cpu`, as torch calls it.
        size: how much.
        seconds: that the part may take, about.
        data_dir: where data are looked for first.
        workers: processes that share the device, one number for each way that is tried; 0 trains here.
        graphs: whether steps are recorded as CUDA graphs too.
        pack_size: cells in a pack at most; None lets the memory decide.
    """

    device: str
    size: Size
    seconds: float
    data_dir: Path | None = None
    workers: tuple[int, ...] = (1,)
    graphs: bool = False
    pack_size: int | None = None

    @property
    def name(self) -> str:
        """The device in the words of suites."""
        return "gpu" if self.device == "cuda" else "cpu"

    def wait(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device == "cuda":
            torch.cuda.synchronize()


# Packs


def measure_packs(request: Request) -> dict[str, Any]:
    """Train the part of `core` on images as packs, by every number of workers, as long as there is time."""
    end = time.monotonic() + request.seconds
    cells = of_images(core_cells(request.name, request.size), request.size)
    rows = []
    for graphs, workers in itertools.product((False, True) if request.graphs else (False,), request.workers):
        if (left := end - time.monotonic()) <= 0:
            break
        rows.append(_train_packs(replace(request, seconds=left), cells, workers, graphs=graphs))
    return {"data": request.size.images, "planned": len(cells), "rows": rows}


def measure_core(request: Request) -> dict[str, Any]:
    """Train the whole of `core` as packs, records and histories written to a store, without the report."""
    everything = core_cells(request.name, request.size)
    by_data = itertools.groupby(everything, lambda cell: cell.data.name)
    cells = [cell for _, group in by_data for cell in drawn(list(group), request.size.cells)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "runs")
        with store.lock():
            environment = store.begin_run(describe(workers=request.workers[0], threads=1))

            def keep(event: Event) -> None:
                store.write(event.records, event.history, environment)

            row = _train_packs(request, cells, request.workers[0], graphs=request.graphs, keep=keep)
        row["stored"] = len(store.cached())
    return {"planned": len(cells), "rows": [row]}


def _train_packs(
    request: Request,
    cells: Sequence[Cell],
    workers: int,
    *,
    graphs: bool,
    keep: Callable[[Event], None] = lambda event: None,
) -> dict[str, Any]:
    """Train cells as packs; the seconds are those on the wall from planning to the last pack's record."""
    began = time.monotonic()
    sharing = max(1, workers)
    memory = gpus.free_memory() if request.name == "gpu" else None
    planned = packs.plan(cells, request.pack_size, workers=sharing, memory=memory and memory / sharing)
    done, failed, last, training_seconds = 0, [], began, 0.0
    with closing(_events(request, planned, workers, graphs=graphs)) as events:  # ends the workers, too
        for event in events:
            if event.kind == "done":
                keep(event)
                done, last = done + len(event.records), time.monotonic()
                training_seconds += sum(row["pack_seconds"] for row in event.records)
            elif event.kind in ("failed", "retried"):
                failed.append(event.reason)
            if time.monotonic() - began > request.seconds:
                break
    seconds = last - began
    return {
        "workers": workers,
        "graphs": graphs,
        "packs": len(planned),
        "largest pack": max(len(pack.cells) for pack in planned),
        "done": done,
        "seconds": seconds,
        "training seconds of all workers": training_seconds,
        "cells a minute": 60 * done / seconds if done else 0.0,
        "failed or tried again": failed,
    }


def _events(
    request: Request, planned: Sequence[Pack], workers: int, *, graphs: bool
) -> Generator[Event, None, None]:
    """Train packs in worker processes that share the device, or, without any, here; yield what happens."""
    if not workers:
        yield from _here(request, planned, graphs=graphs)
        return
    shares = gpus.shares(gpus.visible()[:1], per_pack=1 / workers) if request.name == "gpu" else ()
    with LocalExecutor(workers, request.data_dir, shares, graphs=graphs) as executor:
        yield from executor.run(planned)


def _here(request: Request, planned: Sequence[Pack], *, graphs: bool) -> Iterator[Event]:
    from recipebench.benchmarks.worker import measure

    for pack in planned:
        found = measure(pack.cells, request.data_dir, lambda message: None, graphs=graphs)
        yield Event("done", 0, pack, records=found["records"], history=found["history"])


# Cells alone


def measure_alone(request: Request) -> dict[str, Any]:
    """Train cells one by one with Lightning, drawn at random from the same ones, as many as time allows.

    Two ways in turn: the plain module with data that lie on the device, as this package trains a cell alone,
    and as tutorials have it, with a `DataLoader` that sends every batch. Times are those of training and
    evaluating, without reading data and building modules: less than what a user waits.
    """
    end = time.monotonic() + request.seconds
    cells = of_images(core_cells(request.name, request.size), request.size)
    random.Random(0).shuffle(cells)
    times: dict[str, list[float]] = {"resident": [], "loader": []}
    for cell in cells:
        if times["loader"] and time.monotonic() >= end:
            break
        (result,) = training.train([cell], request.data_dir)
        times["resident"].append(result.seconds)
        times["loader"].append(_tutorial(request, cell))
    means = {name: statistics.mean(found) for name, found in times.items()}
    return {
        "data": request.size.images,
        "planned": len(cells),
        "done": len(times["loader"]),
        "seconds a cell": means,
        "cells a minute": {name: 60 / mean for name, mean in means.items()},
        "seconds": times,
    }


def _tutorial(request: Request, cell: Cell) -> float:
    """Train a cell as tutorials do, validating after every epoch; return seconds."""
    module = training.plain_module(cell, request.data_dir)
    data = datamodules.create(
        cell.data, data_dir=request.data_dir, batch_size=cell.batch_size, seed=cell.seed, inputs=cell.inputs
    )
    data.setup("fit")
    train, validation = (
        TensorDataset(data.float_inputs(part.inputs[part.indices]), part.targets[part.indices])
        for part in (data.train, data.validation)
    )
    pinned = request.device == "cuda"
    loaders = (
        DataLoader(train, cell.batch_size, shuffle=True, pin_memory=pinned),
        DataLoader(validation, 1000, pin_memory=pinned),
    )
    trainer = Trainer(
        max_epochs=cell.epochs,
        accelerator=request.name,
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    request.wait()
    start = time.perf_counter()
    trainer.fit(module, *loaders)
    request.wait()
    return time.perf_counter() - start


# The same ensemble in JAX


def measure_jax(request: Request) -> dict[str, Any]:
    """Train one ensemble in packs and in JAX, the same draws and batches, and compare times and losses."""
    if importlib.util.find_spec("jax") is None:
        return {"rows": [], "why not": "JAX is not installed here"}
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch needs the memory too
    from recipebench.benchmarks.speed import jax_ensemble

    end, rows = time.monotonic() + request.seconds, []
    for optimizer, precision in itertools.product(("sgd", "adam"), jax_ensemble.PRECISIONS):
        if time.monotonic() < end:
            rows.append(_against_jax(request, optimizer, precision))
    return {"rows": rows, **jax_ensemble.versions()}


class TorchEnsemble:
    """K perceptrons with relu as a pack, without a trainer: an epoch is nothing but its steps.

    Args:
        request: where, and how large.
        optimizer: `sgd` or `adam`, at its default rate.
        graphs: whether steps are recorded.
    """

    def __init__(self, request: Request, optimizer: str, *, graphs: bool = False) -> None:
        size, device = request.size, torch.device(request.device)
        choice = Choice(size.images, {})
        self.data = [
            datamodules.create(choice, data_dir=request.data_dir, seed=seed, batch_size=128)
            for seed in range(SEEDS)
        ]
        moved: dict[Tensor, Tensor] = {}
        for data in self.data:
            data.setup("fit")
            data.place(torch.float32, device, moved)
        self.modules = [
            MLP(
                in_features=self.data[0].in_features,
                hidden=HIDDEN,
                out_features=self.data[0].out_features,
                optimizer=optimizer,
                init_seed=k,
            ).to(device)
            for k in range(size.members)
        ]
        capture = cuda_capture if graphs else None
        self.pack = PackedModule(self.modules, range(size.members), capture=capture)
        self.pack.trainer = SimpleNamespace(max_epochs=size.rounds)  # type: ignore[assignment]
        self.pack.configure_optimizers()
        self.batches = PackBatches(self.data, [k % SEEDS for k in range(size.members)])
        self._wait = request.wait

    def layers(self) -> list[tuple[Any, Any]]:
        """Return copies of the weights (K, out, in) and biases (K, out) of each layer, for NumPy."""
        names = list(self.pack.stack.shapes)
        arrays = [self.pack.stack.value(name).cpu().clone().numpy() for name in names]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    def epoch(self, number: int) -> tuple[float, Tensor]:
        """Train an epoch, from 0; return seconds and the losses (K, samples), on this machine."""
        self._wait()
        start = time.perf_counter()
        self.batches.set_epoch(number)
        losses = [self.pack.training_step(block, 0)["losses"] for block in self.batches]
        found = torch.cat(losses, 1).cpu()
        return time.perf_counter() - start, found

    def orders(self, number: int) -> Any:
        """Return what every order sees in an epoch, from 0: (orders, samples) for NumPy."""
        return torch.stack([data.order(number + 1) for data in self.data]).cpu().numpy()


def _against_jax(request: Request, optimizer: str, precision: str) -> dict[str, Any]:
    """Time epochs of both; the first of each, in which JAX compiles, is not counted."""
    from recipebench.benchmarks.speed import jax_ensemble

    here, rounds = TorchEnsemble(request, optimizer), request.size.rounds
    raw = here.data[0]
    there = jax_ensemble.Ensemble(
        here.layers(),
        raw.train.inputs.flatten(1).cpu().numpy(),
        raw.train.targets.cpu().numpy(),
        orders=SEEDS,
        scale=raw.facts.scale,
        optimizer=optimizer,
        precision=precision,
        batch_size=raw.batch_size,
    )
    seconds, losses = jax_ensemble.timed_epochs(there, [here.orders(i) for i in range(rounds)])
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    times: dict[str, list[float]] = {"jax": seconds[1:]}
    ours = [here.epoch(i) for i in range(rounds)]
    times["packs"] = [each for each, _ in ours[1:]]
    if request.graphs:
        recorded = TorchEnsemble(request, optimizer, graphs=True)
        times["packs, graphs"] = [recorded.epoch(i)[0] for i in range(rounds)][1:]
    torch.set_float32_matmul_precision(before)
    return _jax_row(request, optimizer, precision, times, _step_losses(ours, raw.batch_size), losses)


def _step_losses(epochs: Sequence[tuple[float, Tensor]], batch_size: int) -> Tensor:
    """Return the mean losses of all steps, (steps, K)."""
    return torch.stack([b.mean(1) for _, losses in epochs for b in losses.split(batch_size, 1)])


def _jax_row(
    request: Request,
    optimizer: str,
    precision: str,
    times: dict[str, list[float]],
    ours: Tensor,
    theirs: Any,
) -> dict[str, Any]:
    difference = (ours - torch.tensor(theirs)).abs()
    medians = {name: statistics.median(each) for name, each in times.items()}
    steps = len(ours) / request.size.rounds
    return {
        "optimizer": optimizer,
        "precision": precision,
        "members": request.size.members,
        "rounds": request.size.rounds - 1,
        "seconds": times,
        "microseconds a step": {name: 1e6 * median / steps for name, median in medians.items()},
        "largest difference of losses in the first steps": float(difference[:COMPARED].max()),
        "mean loss of the last epoch": {
            "packs": float(ours[-int(steps) :].mean()),
            "jax": float(theirs[-int(steps) :].mean()),
        },
    }


# The floor


def measure_floor(request: Request) -> dict[str, Any]:
    """Measure how fast the device multiplies and copies, and count what the cells on images need of both."""
    cells = of_images(core_cells(request.name, request.size), request.size)
    seconds = min(2.0, request.seconds / 4)
    rates = {name: _product_rate(request, name, seconds) for name in ("32-true", "tf32", "bf16")}
    return {
        "operations a second": rates,
        "bytes copied a second": _copy_rate(request, seconds),
        "operations": sum(packs.work(cell) for cell in cells),
        "bytes": sum(map(_bytes, cells)),
        "cells": len(cells),
    }


def _bytes(cell: Cell) -> float:
    """Return the bytes that training a cell moves at least: weights, gradients and states, once a step."""
    assert cell.optimizer is not None
    samples = split_sizes(cell.data, cell.validation, cell.train_samples).train
    steps = cell.epochs * -(-samples // cell.batch_size)
    passes = WEIGHT_PASSES + STATE_PASSES[cell.optimizer.name]
    return 4.0 * passes * steps * packs.weights(cell)


def _product_rate(request: Request, kind: str, seconds: float) -> float:
    """Return operations a second of a square product, of random numbers: zeros take less power."""
    side = request.size.product
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=request.device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
    rate = 2.0 * side**3 * _times_a_second(request, lambda: torch.mm(a, b, out=out), seconds)
    torch.set_float32_matmul_precision(before)
    return rate


def _copy_rate(request: Request, seconds: float) -> float:
    """Return bytes a second, those that are read and those that are written."""
    source = torch.randn(request.size.floats, device=request.device)
    target = torch.empty_like(source)
    return 2.0 * source.nbytes * _times_a_second(request, lambda: target.copy_(source), seconds)


def _times_a_second(request: Request, work: Callable[[], object], seconds: float) -> float:
    """Start work ten at a time until the seconds are over."""
    work()
    request.wait()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(10):
            work()
        count += 10
        request.wait()
    return count / (time.perf_counter() - start)


# The tolerance


def measure_tolerance(request: Request) -> dict[str, Any]:
    """Train cells in a pack and alone, and a pack with other numbers, and compare their histories.

    Without dropout, whose noise is another draw in a pack. For scale, the same differences between two seeds
    of a recipe: what a user would see from one run to the next.
    """
    end = time.monotonic() + request.seconds
    cells = [
        cell
        for cell in of_images(core_cells(request.name, request.size), replace(request.size, cells=None))
        if cell.seed < 2 and cell.regularizer and cell.regularizer.name in ("none", "l1", "l2")
    ]
    groups = [list(group) for _, group in itertools.groupby(cells, lambda cell: cell.activation)]
    chosen = [_pairs(group)[: request.size.cells] for group in groups]
    packed = [_histories(request, group) for group in chosen]
    rows = [_seeds_row(packed)]
    for precision in ("tf32", "bf16-mixed") if request.device == "cuda" else ():
        others = [_histories(request, in_precision(group, precision)) for group in chosen]
        rows.append(_difference_row(f"packs in {precision} and in 32-true", zip_all(others, packed)))
    alone: list[tuple[Any, Any]] = []
    for cell, together in zip_all(chosen, packed):
        if alone and time.monotonic() >= end:
            break
        alone.append((_histories(request, [cell])[0], together))
    return {"data": request.size.images, "rows": [_difference_row("packed and alone", alone), *rows]}


def _pairs(cells: Sequence[Cell]) -> list[Cell]:
    """Return one initializer's cells: seeds 0 and 1 of every recipe follow each other."""
    return [cell for cell in cells if cell.initializer and cell.initializer.name == "he"]


def zip_all(first: Sequence[Sequence[Any]], second: Sequence[Sequence[Any]]) -> list[tuple[Any, Any]]:
    """Return pairs over groups of groups.

    Example:
        >>> zip_all([[1, 2], [3]], [["a", "b"], ["c"]])
        [(1, 'a'), (2, 'b'), (3, 'c')]
    """
    return [pair for groups in zip(first, second, strict=True) for pair in zip(*groups, strict=True)]


def _histories(request: Request, cells: Sequence[Cell]) -> list[list[dict[str, Any]]]:
    return [result.track.history for result in training.train(cells, request.data_dir)]


def _seeds_row(packed: Sequence[Sequence[Any]]) -> dict[str, Any]:
    pairs = [(a, b) for group in packed for a, b in zip(group[::2], group[1::2], strict=False)]
    return _difference_row("two seeds of a recipe, for scale", pairs)


def _difference_row(what: str, pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Return the largest and the median difference of the last epochs, over the cells."""
    both = [(a[-1], b[-1]) for a, b in pairs if len(a) == len(b)]
    row: dict[str, Any] = {"what": what, "cells": len(both), "of other length": len(pairs) - len(both)}
    for name in ("test_loss", "test_accuracy"):
        differences = [abs(a[name] - b[name]) for a, b in both]
        if differences:
            row[name] = {"median": statistics.median(differences), "largest": max(differences)}
    return row


PARTS: dict[str, Callable[[Request], dict[str, Any]]] = {
    "floor": measure_floor,
    "packs": measure_packs,
    "jax": measure_jax,
    "tolerance": measure_tolerance,
    "core": measure_core,
    "alone": measure_alone,
}
"""What can be measured, in the order in which it is, unless asked otherwise."""
