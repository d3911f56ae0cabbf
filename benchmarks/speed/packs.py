"""The ladder from plain Lightning to packs: time for one cell and step, as ratios measured side by side.

`python -m recipebench.benchmarks.speed.packs` trains the same recipe five ways in turn, several rounds,
one thread each, all validating after every epoch, five cells or one pack at a time, and prints medians of
the rounds' ratios:

- Lightning with `DataLoader(TensorDataset)`, as tutorials write it;
- Lightning with this package's batches of whole tensors;
- a raw PyTorch loop over tensor batches;
- a pack;
- the floor: the floating point operations of training and validating, at the rate of this machine's own
  matrix product in the same round.

It checks what each arm has learned: the pack must have the raw loop's losses bit for bit, the others
must come close. `--scaling` compares two workers with two plain loops of matrix products.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import multiprocessing
import platform
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from recipebench import datamodules
from recipebench.benchmarks.environment import cpu_class
from recipebench.benchmarks.pack_batches import PackBatches
from recipebench.benchmarks.recorder import Recorder, Track
from recipebench.benchmarks.speed.products import product_rate
from recipebench.datamodules import TensorDataModule
from recipebench.levels import Choice
from recipebench.lightning_modules import MLP
from recipebench.lightning_modules.packed import PackedModule

SEEDS = 5
"""Members of a pack share this many orders, as in a suite with so many seeds."""


@dataclass(frozen=True)
class Setting:
    """What is trained: a perceptron of these widths on a data set, with this batch size."""

    data: str
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int
    members: int

    @property
    def label(self) -> str:
        """Name the setting as in the tables."""
        return (
            f"{self.data} {'-'.join(map(str, self.hidden))} batch {self.batch_size}, pack of {self.members}"
        )


SETTINGS = (
    Setting("mnist", (128, 64), 128, 1, 10),
    Setting("mnist", (128, 64), 32, 1, 10),
    Setting("digits", (32,), 32, 20, 64),
)


class Tutorial(LightningModule):
    """The module as a tutorial writes it: cross-entropy, a stock optimizer, logged validation loss."""

    def __init__(self, network: nn.Module, optimizer: str) -> None:
        super().__init__()
        self.network = network
        self.optimizer = optimizer

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the validation loss."""
        self.log("validation_loss", F.cross_entropy(self.network(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain SGD or Adam."""
        return _optimizer(self.optimizer, self.network)


def _optimizer(name: str, network: nn.Module) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(network.parameters(), lr=1e-3)
    return torch.optim.SGD(network.parameters(), lr=0.1)


class Bench:
    """The arms of one setting; each call trains from the same start and returns seconds a cell and step."""

    def __init__(self, setting: Setting, optimizer: str, data_dir: Path | None) -> None:
        self.setting = setting
        self.optimizer = optimizer
        choice = Choice(setting.data, {})
        self.data = [
            datamodules.create(choice, data_dir=data_dir, batch_size=setting.batch_size, seed=seed)
            for seed in range(SEEDS)
        ]
        self.data[0].prepare_data()
        for data in self.data:
            data.setup("fit")
        self.samples = len(self.data[0].train.indices)
        self.steps = -(-self.samples // setting.batch_size) * setting.epochs
        self.losses: dict[str, list[float]] = defaultdict(list)
        self.first_losses: dict[str, Tensor] = {}

    def module(self, seed: int = 0) -> MLP:
        """Return the module that all arms train."""
        data = self.data[0]
        return MLP(
            in_features=data.in_features,
            hidden=self.setting.hidden,
            out_features=data.out_features,
            optimizer=self.optimizer,
            init_seed=seed,
        )

    def one_by_one(self, arm: Callable[[TensorDataModule], float]) -> float:
        """Train a cell for every order, one after the other, so that all arms run for a while."""
        return statistics.mean(arm(data) for data in self.data)

    def lightning_loader(self, data: TensorDataModule) -> float:
        """Plain Lightning with DataLoader(TensorDataset)."""
        tensors = {
            split: TensorDataset(
                data.float_inputs(part.inputs[part.indices]).flatten(1), part.targets[part.indices]
            )
            for split, part in (("train", data.train), ("validation", data.validation))
        }
        train = DataLoader(tensors["train"], self.setting.batch_size, shuffle=True)
        validation = DataLoader(tensors["validation"], self.setting.batch_size)
        module = Tutorial(self.module().network, self.optimizer)
        trainer = _trainer(self.setting.epochs)
        seconds = _timed(lambda: trainer.fit(module, train, validation))
        self.losses["Lightning + DataLoader"].append(float(trainer.callback_metrics["validation_loss"]))
        return seconds / self.steps

    def lightning_tensors(self, data: TensorDataModule) -> float:
        """Lightning with batches of whole tensors."""
        module, trainer = self.module(), _trainer(self.setting.epochs)
        seconds = _timed(lambda: trainer.fit(module, datamodule=data))
        self.losses["Lightning + tensor batches"].append(float(trainer.callback_metrics["validation_loss"]))
        return seconds / self.steps

    def raw_loop(self, data: TensorDataModule) -> float:
        """A raw PyTorch loop."""
        network = self.module().network
        optimizer, losses = _optimizer(self.optimizer, network), []

        def fit() -> None:
            for epoch in range(1, self.setting.epochs + 1):
                network.train()
                for batch in data.order(epoch).split(self.setting.batch_size):
                    x = data.float_inputs(data.train.inputs[batch])
                    loss = F.cross_entropy(network(x), data.train.targets[batch], reduction="none")
                    optimizer.zero_grad()
                    loss.mean().backward()
                    optimizer.step()
                    losses.append(loss.detach())
                network.eval()
                with torch.no_grad():
                    validation = _validate(network, data)
            self.losses["raw loop"].append(validation)

        seconds = _timed(fit)
        if data is self.data[0]:
            self.first_losses["raw loop"] = torch.cat(losses)
        return seconds / self.steps

    def pack(self) -> float:
        """A pack of plain modules, evaluated after every epoch as in suites, here on validation data only."""
        places = [k % SEEDS for k in range(self.setting.members)]
        modules = [self.module(seed=k // SEEDS) for k in range(self.setting.members)]
        tracks = [Track(module, self.data[place]) for module, place in zip(modules, places, strict=True)]
        recorder = _LossKeeper(tracks, splits=("validation",))
        pack, trainer = PackedModule(modules, places), _trainer(self.setting.epochs, recorder)
        batches = PackBatches(self.data, places)
        seconds = _timed(lambda: trainer.fit(pack, train_dataloaders=batches))
        self.losses["pack"] += [track.history[-1]["validation_loss"] for track in tracks[:SEEDS]]
        self.first_losses["pack"] = torch.cat(recorder.kept)
        return seconds / self.steps / self.setting.members

    def operations(self) -> float:
        """Floating point operations for one cell and step, its share of the validation included.

        Three products a layer of 2 * rows * inputs * outputs each: outputs, weights' gradient, inputs'
        gradient, which the first layer does not need; one for validation.
        """
        data = self.data[0]
        widths = [data.in_features, *self.setting.hidden, data.out_features]
        forward = sum(2.0 * a * b for a, b in itertools.pairwise(widths))
        train = (3 * forward - 2.0 * widths[0] * widths[1]) * self.samples * self.setting.epochs
        validation = forward * len(data.validation.indices) * self.setting.epochs
        return (train + validation) / self.steps

    def check(self) -> None:
        """Raise if an arm did not learn what the others learned."""
        if not torch.equal(self.first_losses["raw loop"], self.first_losses["pack"]):
            raise AssertionError("The pack's losses are not those of the raw loop.")
        means = {arm: statistics.mean(losses) for arm, losses in self.losses.items()}
        if max(means.values()) > 1.15 * min(means.values()):
            raise AssertionError(f"The arms did not learn alike: {means}")


class _LossKeeper(Recorder):
    """A recorder that also keeps the first member's losses of every step."""

    kept: list[Tensor]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.kept = []
        self._started = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self.kept.append(outputs["losses"][0])


def _validate(network: nn.Module, data: TensorDataModule) -> float:
    total = 0.0
    for batch in data.validation.indices.split(1000):
        x = data.float_inputs(data.validation.inputs[batch])
        total += float(F.cross_entropy(network(x), data.validation.targets[batch], reduction="sum"))
    return total / len(data.validation.indices)


def _trainer(epochs: int, *callbacks: Recorder) -> Trainer:
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
    )


def _settle() -> None:
    """One thread, and no word from the libraries between the figures."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def _timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ladder(setting: Setting, rounds: int, optimizer: str, data_dir: Path | None) -> dict[str, Any]:
    """Measure all arms in turn, `rounds` times, and return medians of the ratios of each round."""
    bench = Bench(setting, optimizer, data_dir)
    arms = {
        "Lightning + DataLoader": lambda: bench.one_by_one(bench.lightning_loader),
        "Lightning + tensor batches": lambda: bench.one_by_one(bench.lightning_tensors),
        "raw loop": lambda: bench.one_by_one(bench.raw_loop),
        "pack": bench.pack,
    }
    times: dict[str, list[float]] = {name: [] for name in [*arms, "floor"]}
    for _ in range(rounds):
        for name, arm in arms.items():
            times[name].append(arm())
        times["floor"].append(bench.operations() / product_rate())
        bench.check()
    ratios = {
        name: statistics.median(t / p for t, p in zip(values, times["pack"], strict=True))
        for name, values in times.items()
    }
    return {
        "setting": setting.label,
        "optimizer": optimizer,
        "rounds": rounds,
        "microseconds": {name: 1e6 * statistics.median(values) for name, values in times.items()},
        "times a pack": ratios,
        "ratios of the rounds": {
            name: [t / p for t, p in zip(values, times["pack"], strict=True)]
            for name, values in times.items()
        },
        "validation loss": {arm: statistics.mean(losses) for arm, losses in bench.losses.items()},
    }


def _loop(kind: str, barrier: Barrier, results: Any, data_dir: Path | None) -> None:
    _settle()
    bench = Bench(SETTINGS[0], "sgd", data_dir) if kind == "packs" else None
    barrier.wait()
    rate = 1 / bench.pack() if bench else product_rate(5.0)
    results.put(rate)


def scaling(rounds: int, data_dir: Path | None) -> dict[str, Any]:
    """Return what a second process gains, for packs and for plain products, measured in turn."""
    context = multiprocessing.get_context("spawn")
    gains: dict[str, list[float]] = {"products": [], "packs": []}
    for _ in range(rounds):
        for kind, gained in gains.items():
            rates = []
            for processes in (1, 2):
                barrier, results = context.Barrier(processes), context.SimpleQueue()
                team = [
                    context.Process(target=_loop, args=(kind, barrier, results, data_dir))
                    for _ in range(processes)
                ]
                for process in team:
                    process.start()
                rates.append(sum(results.get() for _ in team))
                for process in team:
                    process.join()
            gained.append(rates[1] / rates[0])
    relative = [p / g for p, g in zip(gains["packs"], gains["products"], strict=True)]
    return {
        "rounds": rounds,
        "gain": {kind: statistics.median(values) for kind, values in gains.items()},
        "packs over products": statistics.median(relative),
    }


def conditions() -> str:
    """Return machine and versions in one line."""
    return (
        f"{cpu_class()}, {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, "
        "one thread a process, float32"
    )


def table(results: list[dict[str, Any]]) -> str:
    """Return the ladder as a Markdown table: times over the pack's, and the pack's share of the floor."""
    names = ["Lightning + DataLoader", "Lightning + tensor batches", "raw loop"]
    head = ["setting", "optimizer", *names, "share of the floor", "µs a step and cell"]
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for r in results:
        ratios = [f"{r['times a pack'][name]:.2f} ×" for name in names]
        share, micro = f"{100 * r['times a pack']['floor']:.0f} %", f"{r['microseconds']['pack']:.0f}"
        lines.append(" | ".join([r["setting"], r["optimizer"], *ratios, share, micro]))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    """Print the ladder, and with `--scaling` what a second worker gains."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all arms in turn")
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--only", help="settings whose label starts so")
    parser.add_argument("--scaling", action="store_true", help="measure two workers instead")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    _settle()
    print(conditions())
    if options.scaling:
        found: Any = scaling(options.rounds, options.data_dir)
        gain = found["gain"]
        print(f"second process: products {gain['products']:.2f} ×, packs {gain['packs']:.2f} ×;", end=" ")
        print(f"packs over products {found['packs over products']:.2f} (median of {options.rounds} rounds)")
    else:
        chosen = [s for s in SETTINGS if s.label.startswith(options.only or "")]
        found = [ladder(setting, options.rounds, options.optimizer, options.data_dir) for setting in chosen]
        print(table(found))
    if options.json:
        options.json.write_text(json.dumps({"conditions": conditions(), "results": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
