"""Cells on several processes: the numbers of one device, every sample counted once, alone and in packs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch

from recipebench.benchmarks import crew
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.data_parallel import PartOfBatches
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.training import Result, plain_module, train, why_alone
from recipebench.datamodules import Digits
from recipebench.lightning_modules import OPTIMIZERS
from recipebench.lightning_modules.shares import Share
from recipebench.seeds import seed_for

pytestmark = pytest.mark.filterwarnings(
    "ignore:You defined a `validation_step`:UserWarning",
    "ignore:The '.*dataloader' does not have many workers:UserWarning",
)

STEPPED = list(OPTIMIZERS)
TOGETHER: dict[str, dict[str, Any]] = {
    "optimizers": {"optimizer": STEPPED},
    "penalties": {"regularizer": ["none", "l1", "l2", "weight_decay"], "optimizer": ["sgd"]},
    "batch_norm": {"regularizer": ["batch_norm"], "optimizer": ["sgd", "adam", "rmsprop"]},
    "maxout": {"activation": ["maxout"], "optimizer": ["sgd", "momentum"]},
    "prelu": {"activation": ["prelu"], "optimizer": ["sgd", "adam"]},
    "hardmax": {"activation": ["hardmax"], "optimizer": ["sgd", "momentum"]},
    "step": {"activation": ["step"], "optimizer": ["sgd", "momentum"]},
    "sigmoid": {"activation": ["sigmoid"], "loss": ["label_smoothing"], "optimizer": ["sgd", "momentum"]},
    "augmented": {"augmentation": ["affine"], "optimizer": ["sgd", "momentum"]},
    "rates": {
        "optimizer": [{"sgd": {"lr": 0.1}}, {"sgd": {"lr": 0.3}}],
        "schedule": ["cosine", {"plateau": {"patience": 0}}],
    },
    "cnn": {
        "model": [{"cnn": {"channels": [3], "kernel": 3, "padding": 1, "hidden": [7]}}],
        "regularizer": ["batch_norm"],
        "optimizer": ["sgd", "momentum"],
    },
}
"""Recipes that fill a pack, with what each of them asks of several processes."""

NOTHING_BUT_ROUNDING = 1e-9
"""The bias before a batch norm has gradient 0 but for rounding; Adam and RMSprop divide it by its size."""


@pytest.fixture(scope="module", autouse=True)
def nobody_stays() -> Iterator[None]:
    """End the processes that wait for more when the tests of this module are over."""
    yield
    crew.dismiss()


@cache
def cells_of(name: str, device: str, precision: str = "64-true", epochs: int = 1) -> tuple[Cell, ...]:
    """Cells of one pack: 97 samples in batches of 32, so that a batch of 1 is left for two processes."""
    matrix = {"model": [{"mlp": {"hidden": [7]}}], "precision": [precision], **TOGETHER[name]}
    suite = {
        "name": name,
        "data": ["digits"],
        "matrix": matrix,
        "seeds": 1,
        "device": device,
        "protocol": {
            "epochs": epochs,
            "batch_size": 32 if "norm" not in str(matrix) else 35,
            "train_samples": 97,
        },
    }
    return tuple(expand(load_suite(suite)))


def differences(one: Result, several: Result) -> dict[str, float]:
    """The largest difference of weights and buffers, and of every number of the history but times."""
    state = several.track.module.state_dict()
    pairs = [(v.double(), state[name].double()) for name, v in one.track.module.state_dict().items()]
    rows = zip(one.track.history, several.track.history, strict=True)
    numbers = [(a[n], b[n]) for a, b in rows for n in a if n != "seconds" and a[n] is not None]
    assert len(pairs) > 0
    assert len(numbers) > 8
    return {
        "weights": max(float((a - b).abs().max()) for a, b in pairs),
        "history": max(abs(a - b) for a, b in numbers),
    }


def trained(cells: tuple[Cell, ...], *, packed: bool) -> list[Result]:
    assert why_alone(cells[0]) is None
    return train(cells, None) if packed else [train([cell], None)[0] for cell in cells]


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "alone"])
@pytest.mark.parametrize("name", TOGETHER)
def test_two_processes_train_what_one_trains_in_float64(name: str, packed: bool) -> None:
    one, two = (trained(cells_of(name, device), packed=packed) for device in ("cpu", "cpu:2"))

    for alone, shared in zip(one, two, strict=True):
        assert alone.cell.device == "cpu"
        assert shared.cell.device == "cpu:2"
        assert alone.track.history[-1]["test_loss"] != alone.track.history[0]["test_loss"]
        found = differences(alone, shared)
        assert alone.cell.optimizer is not None
        adaptive = name == "batch_norm" and alone.cell.optimizer.name != "sgd"
        assert max(found.values()) <= (NOTHING_BUT_ROUNDING if adaptive else 1e-12), alone.cell.optimizer


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "alone"])
def test_in_float32_the_drift_is_that_of_rounding(packed: bool) -> None:
    one, two = (
        trained(cells_of("optimizers", device, "32-true"), packed=packed) for device in ("cpu", "cpu:2")
    )

    for alone, shared in zip(one, two, strict=True):
        assert alone.cell.optimizer is not None
        tolerance = 1e-5 if alone.cell.optimizer.name == "sgd" else 1e-3
        assert max(differences(alone, shared).values()) <= tolerance, alone.cell.optimizer


def test_packed_and_alone_two_processes_find_the_same_bits() -> None:
    cells = cells_of("optimizers", "cpu:2", "32-true", 2)

    together, alone = trained(cells, packed=True), trained(cells, packed=False)

    for a, b in zip(together, alone, strict=True):
        state = b.track.module.state_dict()
        assert all(torch.equal(v, state[name]) for name, v in a.track.module.state_dict().items()), a.cell.id


def test_dropout_draws_by_process_and_repeats_itself() -> None:
    suite = {
        "name": "dropout",
        "data": ["digits"],
        "matrix": {"regularizer": ["dropout"], "model": [{"mlp": {"hidden": [16]}}]},
        "seeds": 1,
        "device": ["cpu", "cpu:2"],
        "protocol": {"epochs": 1, "train_samples": 97},
    }
    one, two = expand(load_suite(suite))

    first, again, other = (train([cell], None)[0].track.history[-1] for cell in (two, two, one))

    assert first["test_loss"] == again["test_loss"]
    assert first["test_loss"] != other["test_loss"]
    assert (
        len(
            {
                seed_for("noise", "digits", 0),
                *(seed_for("noise", "digits", 0, "rank", r, "of", 2) for r in (0, 1)),
            }
        )
        == 3
    )


def test_a_cell_that_diverges_names_the_same_step_and_leaves_the_others_alone() -> None:
    matrix = {"optimizer": [{"sgd": {"lr": 1e30}}, {"sgd": {"lr": 0.1}}], "precision": ["32-true"]}
    suite: dict[str, Any] = {"name": "d", "data": ["digits"], "matrix": matrix, "seeds": 1}
    suite |= {"model": {"mlp": {"hidden": [7]}}, "device": ["cpu", "cpu:2"]}
    suite["protocol"] = {"epochs": 2, "batch_size": 32, "train_samples": 97}
    cells = list(expand(load_suite(suite)))
    one, two = ([c for c in cells if c.device == device] for device in ("cpu", "cpu:2"))

    alone, shared = train(one, None), train(two, None)

    assert [r.track.diverged_at for r in alone] == [r.track.diverged_at for r in shared]
    assert alone[0].track.diverged_at is not None
    assert max(differences(alone[1], shared[1]).values()) <= 1e-5


def test_the_parts_of_a_batch_are_the_batch_and_their_weights_count_every_sample_once() -> None:
    data = Digits(batch_size=32, train_samples=97, augmentation="translate")
    data.setup("fit")
    whole = list(data.train_dataloader())
    loaders = [PartOfBatches(data.train_dataloader(), Share(rank, 3)) for rank in range(3)]
    parts = [list(loader) for loader in loaders]

    for step, (inputs, targets) in enumerate(whole):
        mine = [part[step] for part in parts]
        assert torch.equal(torch.cat([x for x, _ in mine]), inputs)
        assert torch.equal(torch.cat([y for _, y in mine]), targets)
        sizes = [len(y) for _, y in mine]
        assert max(sizes) - min(sizes) <= 1
        weights = [loader.weight(step) for loader in loaders]
        assert weights == [3 * size / len(targets) for size in sizes]
    assert [len(y) for _, y in whole] == [32, 32, 32, 1]


def test_unweighted_parts_would_be_found_out() -> None:
    """What plain DDP does with parts of unequal size is not the gradient of the batch."""
    (cell,) = cells_of("step", "cpu")[:1]
    module = plain_module(cell, None).double()
    x, y = torch.randn(3, 1, 8, 8, dtype=torch.float64), torch.tensor([1, 2, 3])

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])

    losses = [module.losses(module(part), of) for part, of in ((x[:1], y[:1]), (x[1:], y[1:]))]  # type: ignore[operator]
    weights = [Share(rank, 2).weight(3) for rank in range(2)]
    whole = gradient(module.losses(module(x), y).mean())  # type: ignore[operator]
    weighted = sum(w * gradient(each.mean()) for w, each in zip(weights, losses, strict=True)) / 2
    plain = sum(gradient(module.losses(module(p), q).mean()) for p, q in ((x[:1], y[:1]), (x[1:], y[1:]))) / 2  # type: ignore[operator]

    assert isinstance(weighted, torch.Tensor)
    assert isinstance(plain, torch.Tensor)
    assert torch.allclose(weighted, whole, rtol=0, atol=1e-14)
    assert not torch.allclose(plain, whole, rtol=0, atol=1e-3)
    assert math.isclose(sum(weights), 2)


def test_three_processes_with_parts_of_unequal_size() -> None:
    cells = cells_of("optimizers", "cpu")[:2], cells_of("optimizers", "cpu:3")[:2]

    one, three = (train(each, None) for each in cells)

    assert all(max(differences(a, b).values()) <= 1e-12 for a, b in zip(one, three, strict=True))
