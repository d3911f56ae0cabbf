"""Cells alone, in packs and beside others: the same bits; early stopping: the same as Lightning's."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn

from recipebench import datamodules
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.packs import signature
from recipebench.benchmarks.recorder import Track
from recipebench.benchmarks.stopping import without_improvement
from recipebench.benchmarks.store import is_time_column
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.training import plain_module, train, why_alone
from recipebench.benchmarks.worker import measure
from recipebench.lightning_modules import ACTIVATIONS, MLP
from recipebench.lightning_modules.packed.vector_optimizers import VectorOptimizer
from recipebench.seeds import seed_for

OPTIMIZERS = ["sgd", {"momentum": {"lr": 0.4}}, "rmsprop", "adam"]
PENALTIES = ["none", "l1", "l2", "weight_decay", {"early_stopping": {"patience": 1}}]
SCHEDULES = ["constant", "inverse_time", "root", {"plateau": {"patience": 0}}, "cosine"]
STEPPED = [
    *("sgd", "momentum", "momentum_averaged", "momentum_velocity", "nesterov"),
    *("adagrad", "rmsprop", "adam", "adamw"),
]
REGRESSION = [{"synthetic_regression": {"n": 150}}]

SUITES: dict[str, dict[str, Any]] = {
    "penalties": {"regularizer": PENALTIES},
    "dropout": {"regularizer": ["dropout"]},
    "batch_norm": {"regularizer": ["batch_norm"]},
    "maxout": {"activation": ["maxout"]},
    "prelu": {"activation": ["prelu"]},
    "sigmoid": {"activation": ["sigmoid"], "initializer": ["xavier", "small_gaussian"]},
    "regression": {"activation": ["tanh"], "regularizer": PENALTIES, "data": REGRESSION},
    "linear_regression": {"model": ["linear_regression"], "data": REGRESSION},
    "softmax_regression": {"model": ["softmax_regression"], "regularizer": ["none", "l2"]},
    "step": {"activation": ["step"]},
    "hardmax": {"activation": ["hardmax"]},
    "initializers": {"initializer": ["constant", "variance_preserving"]},
    "dropout_at_test": {"regularizer": [{"dropout": {"scaling": "at_test"}}]},
    "dropout_per_layer": {"regularizer": [{"dropout_per_layer": {"p": [0.2, 0.5]}}]},
    "batch_norm_after": {"regularizer": [{"batch_norm": {"position": "after"}}]},
    "convergence": {"regularizer": ["none", {"convergence_stopping": {"tolerance": 0.3}}]},
    "matched_maxout": {"activation": [{"maxout": {"pieces": 3, "match": "parameters"}}]},
    "label_smoothing": {"loss": ["label_smoothing"]},
    "multi_margin": {"loss": ["multi_margin"]},
    "huber": {"loss": ["huber"], "data": REGRESSION},
    "schedules": {"schedule": SCHEDULES},
    "momentum_forms": {"optimizer": ["momentum", "momentum_averaged", "momentum_velocity"]},
    "noise": {"protocol": {"train_samples": 300, "label_noise": 0.2, "last_batch": "drop"}},
    "refill": {"protocol": {"last_batch": "refill", "sampling": "replacement"}},
    "augmented": {"augmentation": ["affine"]},
    "float64": {"precision": ["64-true"], "regularizer": ["none", "l1", "weight_decay"]},
    "rates_in_float64": {
        "precision": ["64-true"],
        "optimizer": [{name: {"lr": lr}} for name in STEPPED for lr in (0.002, 0.03)],
    },
    "standardized": {"data": ["wine"], "protocol": {"inputs": "standardized"}},
    "probes": {"probes": ["gradients", "weights", "activations"]},
    "cnn": {"model": [{"cnn": {"channels": [3, 5], "kernel": 3, "padding": 1, "hidden": [7]}}]},
    "cnn_batch_norm": {
        "model": [{"cnn": {"channels": [3], "kernel": 3, "padding": 1, "pool": "average", "hidden": [7]}}],
        "regularizer": ["batch_norm"],
    },
    "logistic_regression": {"model": ["logistic_regression"], "data": ["moons"]},
    "rates": {"optimizer": [{name: {"lr": lr}} for name in STEPPED for lr in (0.002, 0.03)]},
    "rates_and_schedules": {
        "optimizer": [
            *({"momentum": {"lr": lr, "momentum": kept}} for lr, kept in [(0.4, 0.5), (0.2, 0.0)]),
            *({"adam": {"lr": lr, "beta1": beta1}} for lr, beta1 in [(0.01, 0.9), (0.05, 0.0)]),
        ],
        "regularizer": ["none", "weight_decay"],
        "schedule": ["cosine", {"plateau": {"patience": 0}}],
    },
}


@cache
def cells_of(name: str) -> tuple[Cell, ...]:
    """The cells of one kind, all of one signature: some can fill a pack of 32, some only one of 8."""
    given = {"model": [{"mlp": {"hidden": [7]}}], "optimizer": OPTIMIZERS, **SUITES[name]}
    protocol = {"epochs": 4, "batch_size": 64 if "data" not in SUITES[name] else 10}
    suite = {
        "name": name,
        "data": given.pop("data", ["digits"]),
        "seeds": 2,
        "protocol": {**protocol, **given.pop("protocol", {})},
        "matrix": given,
        **({"probes": given.pop("probes")} if "probes" in given else {}),
    }
    return tuple(expand(load_suite(suite)))


@cache
def trained_alone(name: str) -> dict[str, Any]:
    return {cell.id: rows_of([cell])[cell.id] for cell in cells_of(name)}


def rows_of(cells: Sequence[Cell]) -> dict[str, Any]:
    """Train cells as one pack; return the record and the history of each, floats as bits, times left out."""
    answer = measure(cells, None, lambda message: None)
    return {
        record["cell_id"]: [
            bits(record),
            [bits(row) for row in answer["history"] if row["cell_id"] == record["cell_id"]],
        ]
        for record in answer["records"]
    }


def bits(row: dict[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in row.items() if not is_time_column(name)}
    return {n: struct.pack("<d", v) if isinstance(v, float) else v for n, v in values.items()}


def shuffled_packs(cells: Sequence[Cell], size: int) -> Iterator[list[Cell]]:
    """Cut cells into packs after a shuffle, so that every size brings other neighbors and another order."""
    mixed = random.Random(size).sample(cells, len(cells))
    for start in range(0, len(mixed), size):
        yield mixed[start : start + size]


@pytest.mark.parametrize("size", [2, 7, 32])
@pytest.mark.parametrize("name", SUITES)
def test_a_cell_has_the_same_bits_alone_and_in_any_pack(name: str, size: int) -> None:
    alone = trained_alone(name)
    packs = list(shuffled_packs(cells_of(name), size))
    assert len({signature(cell) for pack in packs for cell in pack}) == 1

    for pack in packs:
        for cell_id, rows in rows_of(pack).items():
            assert rows == alone[cell_id]


@pytest.mark.parametrize("size", [2, 7, 32])
@pytest.mark.parametrize("name", ["rates", "rates_and_schedules"])
def test_a_cell_has_the_same_bits_alone_and_beside_others_with_its_optimizer_at_other_rates(
    name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[VectorOptimizer] = []
    read_options = VectorOptimizer.read_options
    monkeypatch.setattr(
        VectorOptimizer, "read_options", lambda form: joined.append(form) or read_options(form)
    )
    cells = sorted(cells_of(name), key=lambda cell: (cell.optimizer.name, cell.schedule.name, cell.seed))

    for start in range(0, len(cells), size):
        for cell_id, rows in rows_of(cells[start : start + size]).items():
            assert rows == trained_alone(name)[cell_id]

    assert len({type(form) for form in joined}) == {"rates": 6, "rates_and_schedules": 2}[name]


@pytest.mark.parametrize("name", ["penalties", "regression"])
def test_early_stopping_really_stops_in_the_cells_that_are_compared(name: str) -> None:
    stopped = [
        alone[0]["stopped_epoch"]
        for cell, alone in zip(cells_of(name), trained_alone(name).values(), strict=True)
        if cell.regularizer.name == "early_stopping"
    ]

    assert min(stopped) < 4
    assert max(stopped) == 4


def test_the_compared_cells_learn() -> None:
    for rows in trained_alone("penalties").values():
        first, *later = (struct.unpack("<d", row["train_loss"])[0] for row in rows[1])
        assert min(later) < first


@pytest.mark.parametrize("name", ["penalties", "dropout", "batch_norm", "regression"])
def test_a_diverging_neighbor_changes_nothing(name: str) -> None:
    calm = cells_of(name)[:3]
    wild = diverging(calm[0])

    beside = rows_of([calm[0], wild, *calm[1:]])

    assert {cell.id: beside[cell.id] for cell in calm} == {c.id: trained_alone(name)[c.id] for c in calm}
    assert beside[wild.id] == rows_of([wild])[wild.id]


def diverging(cell: Cell) -> Cell:
    described = cell.to_json()
    described["optimizer"] = {"name": "sgd", "parameters": {"lr": 1e30}}
    return Cell.from_json(described)


def test_a_diverged_cell_names_its_step_and_has_no_metrics() -> None:
    wild = diverging(cells_of("penalties")[0])

    answer = measure([wild], None, lambda message: None)

    (record,) = answer["records"]
    assert (record["status"], record["reason"], record["steps"]) == ("diverged", "step 2", 2)
    metrics = [name for name in record if name.endswith(("_loss", "_accuracy", "_at_best", "_epoch"))]
    assert len(metrics) == 15
    assert {record[name] for name in metrics} == {None}
    assert [row["epoch"] for row in answer["history"]] == [0]


def test_a_network_that_blows_up_with_its_very_last_step_has_diverged() -> None:
    described = cells_of("penalties")[0].to_json()
    described |= {"optimizer": {"name": "sgd", "parameters": {"lr": 1e30}}, "epochs": 1, "batch_size": 5000}
    for regularizer in (
        {"name": "none", "parameters": {}},
        {"name": "early_stopping", "parameters": {"patience": 1}},
    ):
        cell = Cell.from_json(described | {"regularizer": regularizer})

        answer = measure([cell], None, lambda message: None)

        (record,) = answer["records"]
        assert (record["status"], record["reason"], record["train_loss"]) == ("diverged", "step 1", None)
        assert [row["epoch"] for row in answer["history"]] == [0]


# Early stopping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize(("optimizer", "seed"), [("momentum", 0), ("momentum", 1), ("rmsprop", 0)])
def test_early_stopping_is_lightning_s_own(optimizer: str, seed: int, patience: int, tmp_path: Path) -> None:
    rates = {"momentum": 0.4, "rmsprop": 0.05}
    cell = early_stopping_cell({optimizer: {"lr": rates[optimizer]}}, seed, patience)
    (result,) = train([cell], None, keep_best=True)

    plain = MLP(
        in_features=64,
        hidden=[7],
        optimizer=cell.optimizer,
        init_seed=plain_module_seed(cell),
    )
    data = datamodules.create(cell.data, batch_size=cell.batch_size, seed=seed)
    stop = EarlyStopping("validation_loss", patience=patience, mode="min", check_on_train_epoch_end=False)
    keep = ModelCheckpoint(tmp_path, monitor="validation_loss", mode="min", save_top_k=1)
    trainer = Trainer(
        max_epochs=cell.epochs,
        accelerator="cpu",
        callbacks=[stop, keep],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(plain, datamodule=data)

    assert result.track.history[-1]["epoch"] == trainer.current_epoch < cell.epochs
    assert result.track.best_epoch == trainer.current_epoch - patience
    restored = torch.load(keep.best_model_path, weights_only=True)["state_dict"]
    assert_same_weights(result.track.best_state, restored)


def early_stopping_cell(optimizer: dict[str, Any], seed: int, patience: int) -> Cell:
    suite = {
        "name": "stop",
        "data": ["digits"],
        "model": {"mlp": {"hidden": [7]}},
        "matrix": {"regularizer": [{"early_stopping": {"patience": patience}}], "optimizer": [optimizer]},
        "seeds": [seed],
        "protocol": {"epochs": 40, "batch_size": 64},
    }
    (cell,) = expand(load_suite(suite))
    return cell


def plain_module_seed(cell: Cell) -> int:
    return seed_for("init", cell.data.name, cell.seed)


def assert_same_weights(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, value in got.items():
        assert torch.equal(value.view(torch.int32), expected[name].view(torch.int32)), name


def test_a_stopped_cell_reports_the_restored_weights() -> None:
    cell = early_stopping_cell({"momentum": {"lr": 0.4}}, 0, 2)

    answer = measure([cell], None, lambda message: None)

    (record,) = answer["records"]
    best = answer["history"][record["best_epoch"]]
    assert record["best_epoch"] == record["stopped_epoch"] - 2
    for name in ("train_loss", "validation_loss", "test_loss", "test_accuracy", "fit_loss"):
        assert record[name] == best[name]
    assert record["test_accuracy_at_best"] == record["test_accuracy"]
    assert record["steps"] == record["stopped_epoch"] * -(-1294 // 64)


@pytest.mark.parametrize(
    ("losses", "best", "stopped"),
    [
        ([3.0, 2.0, 1.0], 3, None),
        ([3.0, 1.0, 1.0, 1.0], 2, 4),  # a tie is no improvement, and the first of equals is the best
        ([1.0, 2.0, 0.5, 0.6, 0.7], 3, 5),
        ([1.0, 2.0, 1.0, 0.5], 1, 3),
    ],
)
def test_the_best_epoch_is_the_first_of_the_lowest(
    losses: list[float], best: int, stopped: int | None
) -> None:
    cell = cells_of("penalties")[0]
    data = datamodules.create(cell.data)
    track = Track(plain_module(cell, None), data, stop=without_improvement(2))
    ended = None
    for epoch, loss in enumerate(losses, start=1):
        if not track.done:
            track.history.append({"epoch": epoch, "validation_loss": loss})
            track.watch(epoch, keep_state=False)
            ended = epoch if track.done else None

    assert (track.best_epoch, ended) == (best, stopped)


# Alone, and why -----------------------------------------------------------------------------------


def test_all_shipped_levels_can_be_packed() -> None:
    for name in SUITES:
        assert why_alone(cells_of(name)[0]) is None


def test_cells_that_cannot_be_packed_are_trained_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(nn.ReLU):
        """A subclass may compute anything."""

    monkeypatch.setitem(ACTIVATIONS, "relu", Odd)
    cells = cells_of("penalties")[:2]
    epochs: list[int] = []

    results = train(cells, None, lambda epoch, histories: epochs.append(epoch))

    assert why_alone(cells[0]) == "layer activation_1 (Odd) has no packed form"
    assert [result.cell for result in results] == list(cells)
    assert epochs == [1, 2, 3, 4] * 2
    for cell, result in zip(cells, results, strict=True):
        history = [bits({"cell_id": cell.id, **row}) for row in result.track.history]
        assert history == trained_alone("penalties")[cell.id][1]


def test_training_leaves_torch_s_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.get_rng_state()

    rows_of(cells_of("dropout")[:1])
    rows_of(cells_of("dropout")[:3])

    assert torch.equal(torch.get_rng_state(), expected)
