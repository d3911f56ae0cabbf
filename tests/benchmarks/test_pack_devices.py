"""Packs follow the device of their modules: an epoch on one without numbers, where nothing can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from recipebench.benchmarks import training
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.pack_batches import PackBatches
from recipebench.benchmarks.suite import load_suite
from recipebench.lightning_modules import OPTIMIZERS, SupervisedModule
from recipebench.lightning_modules.packed import PackedModule
from recipebench.lightning_modules.packed import stack as stacks
from recipebench.lightning_modules.packed.own_levels import member_optimizers
from recipebench.lightning_modules.shares import Share

META = torch.device("meta")
CNN = {"cnn": {"channels": [3], "kernel": 3, "padding": 1, "hidden": [7]}}

RECIPES: dict[str, dict[str, Any]] = {
    "optimizers": {"optimizer": list(OPTIMIZERS)},
    "penalties": {"regularizer": ["none", "l1", "l2", "weight_decay"]},
    "dropout": {"regularizer": ["dropout"]},
    "batch_norm": {"regularizer": ["batch_norm"]},
    "activations": {"activation": ["sigmoid"]},
    "maxout": {"activation": ["maxout"]},
    "prelu": {"activation": ["prelu"]},
    "hardmax": {"activation": ["hardmax"]},
    "smoothed": {"loss": ["label_smoothing"]},
    "augmented": {"augmentation": ["affine"]},
    "noise": {"protocol": {"label_noise": 0.2, "inputs": "standardized"}, "data": ["wine"]},
    "cnn": {"model": [CNN], "regularizer": ["batch_norm"]},
    "average": {"model": [{"cnn": {**CNN["cnn"], "pool": "average", "implementation": "im2col"}}]},
}
"""Every kind of packed layer, and what else a step does."""


class Transfers(TorchDispatchMode):
    """Counts operations that take numbers from this machine to the device; reading from it raises anyway."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*arguments, **(options or {}))
        flat = torch.utils._pytree.tree_leaves((arguments, options, result))
        tensors = [x for x in flat if isinstance(x, Tensor)]
        if {t.device.type for t in tensors if t.dim()} == {"cpu", "meta"}:
            self.found.append(str(function))
        return result


@pytest.fixture(autouse=True)
def on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all that is trained lie there; random streams, of which it has none, stay on this machine."""
    make = torch.Generator
    monkeypatch.setattr(training, "_place", lambda cell, share: META)
    monkeypatch.setattr(stacks.torch, "Generator", lambda device=None: make())


def pack_of(cells: Sequence[Cell]) -> tuple[PackedModule, PackBatches]:
    sources = training._sources(cells, None, Share())
    tracks = [training._track(cell, sources[cell.seed], None, Share()) for cell in cells]
    module = PackedModule([cast("SupervisedModule", t.module) for t in tracks], list(range(len(cells))))
    module._slices = member_optimizers(module.stack, module.members, OPTIMIZERS, 1)
    return module, PackBatches(list(sources.values()), [list(sources).index(c.seed) for c in cells])


def train_epoch(module: PackedModule, batches: PackBatches, epoch: int) -> None:
    batches.set_epoch(epoch)
    for block in batches:
        module.training_step(block, 0)


def cells_of(name: str) -> list[Cell]:
    given = {"model": [{"mlp": {"hidden": [7]}}], "optimizer": ["sgd", "adam"], **RECIPES[name]}
    suite: dict[str, Any] = {"name": name, "data": given.pop("data", ["digits"]), "seeds": 2}
    suite["protocol"] = {"epochs": 1, "batch_size": 32, "train_samples": 100, **given.pop("protocol", {})}
    return list(expand(load_suite({**suite, "matrix": given})))


@pytest.mark.parametrize("name", RECIPES)
def test_an_epoch_of_a_pack_reads_nothing_from_its_device(name: str) -> None:
    module, batches = pack_of(cells_of(name))
    train_epoch(module, batches, 0)  # rates go to the device once
    batches.set_epoch(1)
    steps = 0

    with Transfers() as transfers:
        for block in batches:
            outputs = module.training_step(block, 0)
            steps += len(outputs["penalties"])

    assert steps == 4
    assert outputs["losses"].device == META
    assert outputs["penalties"].device == META
    order_and_draws = len(batches.data) * (1 + steps * (name == "augmented"))
    assert len(transfers.found) <= order_and_draws, transfers.found


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "momentum", "rmsprop"])
def test_rates_of_their_own_are_sent_when_they_change(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in every step: what depends on the number of the step is computed where that number lies."""
    monkeypatch.setitem(RECIPES, "rates", {"optimizer": [{optimizer: {"lr": lr}} for lr in (0.1, 0.2)]})
    module, batches = pack_of(cells_of("rates"))
    train_epoch(module, batches, 0)

    with Transfers() as same:
        train_epoch(module, batches, 1)
    for group in module._slices[0].optimizer.param_groups:
        group["lr"] *= 0.5
    with Transfers() as changed:
        train_epoch(module, batches, 2)

    orders = len(batches.data)
    assert len(same.found) == orders
    assert orders < len(changed.found) <= orders + 3
