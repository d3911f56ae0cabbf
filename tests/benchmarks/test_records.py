"""Records and histories are right: every number is computed again, in plain torch, from exported weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import recipebench as rb
from recipebench import datamodules
from recipebench.benchmarks import weights
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.recorder import TRAIN_SUBSET, training_subset
from recipebench.benchmarks.records import cell_of, has_blown_up, metric_columns, not_trained, record
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.worker import measure
from recipebench.datamodules import TensorDataModule, fetch
from recipebench.datamodules.catalog import FACTS
from recipebench.levels import Choice

SPLITS = ("train", "validation", "test")


def cell_with(data: str = "digits", **changes: Any) -> Cell:
    protocol = {"epochs": 2, "batch_size": 100, **changes.pop("protocol", {})}
    suite = {
        "name": "one",
        "data": [data],
        "model": {"mlp": {"hidden": [8]}},
        "seeds": 1,
        "protocol": protocol,
    }
    (cell,) = expand(load_suite({**suite, "matrix": {"activation": ["relu"], **changes}}))
    return cell


def measured(cell: Cell) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    answer = measure([cell], None, lambda message: None)
    (row,) = answer["records"]
    return row, answer["history"]


def network(state: dict[str, Tensor]) -> nn.Sequential:
    """Rebuild a network with one hidden layer of ReLUs from its weights, without the package."""
    layers = []
    for name in ("linear_1", "output"):
        weight, bias = state[f"network.{name}.weight"], state[f"network.{name}.bias"]
        layers.append(nn.Linear(weight.shape[1], weight.shape[0]))
        layers[-1].weight.data, layers[-1].bias.data = weight, bias
    return nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1])


def data_of(cell: Cell) -> TensorDataModule:
    data = datamodules.create(
        cell.data, batch_size=cell.batch_size, validation=cell.validation, inputs=cell.inputs, seed=cell.seed
    )
    data.setup()
    return data


@torch.no_grad()
def scores(cell: Cell, state: dict[str, Tensor]) -> dict[str, float]:
    """Compute all metrics of all splits in float64 from weights."""
    data, found = data_of(cell), {}
    for split in SPLITS:
        part = getattr(data, split)
        indices = training_subset(data) if split == "train" else part.indices
        inputs = part.inputs[indices].double() / (16 if cell.data.name == "digits" else 255)
        targets = part.targets[indices]
        if cell.task == "regression":
            inputs, targets = part.inputs[indices].double(), targets.double()
        outputs = network(state).double()(inputs)
        if cell.task == "classification":
            found[f"{split}_loss"] = float(F.cross_entropy(outputs, targets))
            found[f"{split}_accuracy"] = float((outputs.argmax(1) == targets).double().mean())
        else:
            mse = float(((outputs - targets) ** 2).mean())
            found |= {f"{split}_loss": mse, f"{split}_mse": mse}
            found[f"{split}_r2"] = 1 - mse / float(((targets - targets.mean()) ** 2).mean())
    return found


@pytest.mark.parametrize("data", ["digits", "synthetic_regression"])
@pytest.mark.parametrize("regularizer", ["none", "l2", {"early_stopping": {"patience": 1}}])
@pytest.mark.parametrize("at", ["start", "end", "best"])
def test_metrics_are_those_of_the_exported_weights(
    data: str, regularizer: Any, at: str, tmp_path: Path
) -> None:
    cell = cell_with(
        data, optimizer=[{"momentum": {"lr": 0.1}}], regularizer=[regularizer], protocol={"epochs": 4}
    )
    row, history = measured(cell)

    weights.export(cell, at, tmp_path / "w.safetensors", None)

    expected = scores(cell, load_file(tmp_path / "w.safetensors"))
    assert set(expected) == set(metric_columns(cell.task))
    for name, value in expected.items():
        got = {"start": history[0].get(name), "end": row[name], "best": row[f"{name}_at_best"]}[at]
        assert got == pytest.approx(value, rel=1e-5), name


def test_the_test_accuracy_counts_every_sample_of_digits() -> None:
    row, history = measured(cell_with())

    for value in (row["test_accuracy"], row["test_accuracy_at_best"], *(r["test_accuracy"] for r in history)):
        assert value * 359 == pytest.approx(round(value * 359), abs=1e-9)
    assert len(data_of(cell_with()).test) == 359


def test_the_test_accuracy_counts_all_10_000_samples_of_mnist() -> None:
    if None in fetch.locate(Choice("mnist", {})).values():
        pytest.skip(f"the files of mnist are not here: name their folder in ${fetch.ENVIRONMENT}")
    cell = cell_with("mnist", protocol={"epochs": 1, "batch_size": 2000})

    row, _ = measured(cell)

    assert row["test_accuracy"] * 10_000 == pytest.approx(round(row["test_accuracy"] * 10_000), abs=1e-9)
    assert row["train_accuracy"] * TRAIN_SUBSET == pytest.approx(
        round(row["train_accuracy"] * TRAIN_SUBSET), abs=1e-9
    )
    assert row["validation_accuracy"] * 6000 == pytest.approx(
        round(row["validation_accuracy"] * 6000), abs=1e-9
    )
    assert FACTS["mnist"].test == 10_000


@pytest.mark.parametrize("regularizer", ["none", {"l1": {"strength": 0.01}}, {"l2": {"strength": 0.01}}])
def test_fit_loss_is_the_mean_loss_that_the_optimizer_saw(regularizer: Any, tmp_path: Path) -> None:
    cell = cell_with(regularizer=[regularizer], optimizer=[{"sgd": {"lr": 0.2}}], protocol={"epochs": 2})
    _, history = measured(cell)
    weights.export(cell, "start", tmp_path / "w.safetensors", None)
    plain, data = network(load_file(tmp_path / "w.safetensors")), data_of(cell)
    first, second = (layer.weight for layer in plain if isinstance(layer, nn.Linear))
    penalties: dict[str, Callable[[], Tensor]] = {
        "none": lambda: torch.zeros(()),
        "l1": lambda: 0.01 * (first.abs().sum() + second.abs().sum()),
        "l2": lambda: 0.01 / 2 * ((first**2).sum() + (second**2).sum()),
    }
    stock = torch.optim.SGD(plain.parameters(), lr=0.2)

    for epoch in (1, 2):
        total = 0.0
        for chosen in data.order(epoch).split(100):
            inputs, targets = data.train.inputs[chosen].float() / 16, data.train.targets[chosen]
            loss = F.cross_entropy(plain(inputs), targets) + penalties[cell.regularizer.name]()
            stock.zero_grad()
            loss.backward()
            stock.step()
            total += loss.item() * len(chosen)
        assert history[epoch]["fit_loss"] == pytest.approx(total / len(data.train), rel=1e-5)


def test_a_dropout_network_is_measured_without_dropout(tmp_path: Path) -> None:
    cell = cell_with(regularizer=[{"dropout": {"p": 0.9}}])
    row, _ = measured(cell)

    weights.export(cell, "end", tmp_path / "w.safetensors", None)

    assert row["train_loss"] == pytest.approx(
        scores(cell, load_file(tmp_path / "w.safetensors"))["train_loss"]
    )
    assert row["fit_loss"] > row["train_loss"]


def test_best_epoch_and_steps() -> None:
    cell = cell_with(optimizer=[{"momentum": {"lr": 0.4}}], protocol={"epochs": 6, "batch_size": 30})
    row, history = measured(cell)

    losses = [r["validation_loss"] for r in history[1:]]
    assert row["best_epoch"] == 1 + int(np.argmin(losses)) != 6
    assert row["validation_loss_at_best"] == min(losses) < row["validation_loss"] == losses[-1]
    for name in metric_columns("classification"):
        assert row[name] == history[-1][name]
        assert row[f"{name}_at_best"] == history[row["best_epoch"]][name]
    assert [r["epoch"] for r in history] == list(range(7))
    assert row["stopped_epoch"] == 6
    assert row["steps"] == 6 * math.ceil(len(data_of(cell).train) / 30)
    assert row["parameters"] == 64 * 8 + 8 + 8 * 10 + 10


def test_the_history_begins_untrained() -> None:
    cell = cell_with()
    _, history = measured(cell)

    first, second = history[:2]
    assert (first["epoch"], first.get("fit_loss")) == (0, None)
    assert first["test_accuracy"] < 0.3 < second["test_accuracy"] + 0.2
    assert set(second) - set(first) == {"fit_loss"}
    assert [row["lr"] for row in history] == [0.1] * 3
    seconds = [row["seconds"] for row in history]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0


def test_training_is_evaluated_on_a_fixed_subset_of_at_most_10_000() -> None:
    cell = cell_with("synthetic_regression")
    small = data_of(cell)
    large, same, other = (
        datamodules.create(Choice("synthetic_regression", {"n": 20_000}), seed=seed) for seed in (0, 0, 1)
    )
    for data in (large, same, other):
        data.setup()

    assert torch.equal(training_subset(small), small.train.indices)
    subset = training_subset(large)
    assert len(subset) == TRAIN_SUBSET == len(set(subset.tolist()))
    assert set(subset.tolist()) < set(large.train.indices.tolist())
    assert torch.equal(training_subset(same), subset)
    assert not torch.equal(training_subset(other), subset)


# Rows by hand -------------------------------------------------------------------------------------


def history_rows(*losses: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for epoch, loss in enumerate(losses):
        rows.append(
            {"epoch": epoch, "fit_loss": loss + 0.5} | dict.fromkeys(metric_columns("classification"), loss)
        )
    return rows


def described(cell: Cell, history: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    facts = {
        "parameters": 9,
        "steps_per_epoch": 13,
        "diverged_at": None,
        "best_epoch": 2,
        "pack_seconds": 1.5,
    }
    return record(cell, history, **{**facts, "build": {"torch": "2", "cpu": "x"}, **changes})


def test_a_record_holds_the_last_and_the_best_epoch() -> None:
    row = described(cell_with(), history_rows(9.0, 3.0, 1.0, 2.0))

    assert (row["test_loss"], row["test_loss_at_best"], row["fit_loss"]) == (2.0, 1.0, 2.5)
    assert (row["best_epoch"], row["stopped_epoch"], row["steps"]) == (2, 3, 39)
    assert (row["status"], row["reason"], row["torch"], row["cpu"]) == ("ok", None, "2", "x")
    assert cell_of(row) == cell_with()


def test_early_stopping_restores_the_best_epoch() -> None:
    cell = cell_with(regularizer=["early_stopping"])

    row = described(cell, history_rows(9.0, 3.0, 1.0, 2.0))

    assert (row["test_loss"], row["fit_loss"], row["stopped_epoch"]) == (1.0, 1.5, 3)


def test_all_rows_of_a_task_have_the_same_columns() -> None:
    cell = cell_with()
    trained = described(cell, history_rows(9.0, 3.0, 1.0))
    diverged = described(cell, history_rows(9.0), diverged_at=7, best_epoch=0)
    failed = not_trained(cell, "failed", "ValueError: no", {"torch": "2", "cpu": "x"}, "Traceback …")

    assert set(diverged) == set(trained)
    assert set(failed) == set(trained) | {"traceback"}
    assert (diverged["steps"], diverged["reason"], diverged["test_loss"]) == (7, "step 7", None)
    assert (failed["reason"], failed["traceback"], failed["test_loss"]) == (
        "ValueError: no",
        "Traceback …",
        None,
    )


@pytest.mark.parametrize(
    ("train", "validation", "test", "expected"),
    [
        (1.0, 1.0, 1.0, False),
        (math.nan, 1.0, 1.0, True),
        (1.0, math.inf, 1.0, True),
        (1.0, 1.0, math.nan, False),
    ],
)
def test_only_training_and_validation_decide_whether_a_network_has_blown_up(
    train: float, validation: float, test: float, expected: bool
) -> None:
    row = {"train_loss": train, "validation_loss": validation, "test_loss": test}

    assert has_blown_up(row) is expected


# Columns ------------------------------------------------------------------------------------------

RECORD_COLUMNS = {
    *("cell_id", "suite", "data", "model", "activation", "initializer", "regularizer", "optimizer"),
    *("loss", "schedule", "augmentation", "train_samples", "label_noise", "last_batch", "sampling"),
    *(
        "batch_size",
        "epochs",
        "validation",
        "inputs",
        "device",
        "seed",
        "status",
        "reason",
        "parameters",
        "steps",
    ),
    *("pack_seconds", "best_epoch", "stopped_epoch", "torch", "cpu", "fit_loss"),
}
LEVELS = {
    *("model.hidden", "optimizer.lr", "optimizer.momentum", "optimizer.beta1", "optimizer.beta2"),
    *("optimizer.eps", "regularizer.patience", "data.n", "data.noise", "data.teacher"),
}
METRICS = {f"{split}_{metric}" for split in SPLITS for metric in ("loss", "accuracy", "mse", "r2")}


def test_records_have_exactly_the_promised_columns(trained: Any) -> None:
    records = rb.load(trained.store, trained.suite).records

    assert set(records) == RECORD_COLUMNS | LEVELS | METRICS | {f"{name}_at_best" for name in METRICS}
    assert list(records)[:8] == [
        *("cell_id", "suite", "data", "model", "activation", "initializer", "regularizer", "optimizer")
    ]
    assert list(records["cell_id"]) == [cell.id for cell in trained.cells]
    assert set(records["suite"]) == {"example"}
    for cell, (_, row) in zip(trained.cells, records.iterrows(), strict=True):
        for name, value in cell.columns().items():
            assert row[name] == value


def test_histories_have_exactly_the_promised_columns(trained: Any) -> None:
    history = rb.load(trained.store, trained.suite).history

    assert set(history) == {"cell_id", "epoch", "seconds", "lr", "fit_loss"} | METRICS
    assert not history.duplicated(["cell_id", "epoch"]).any()
    ids = [cell.id for cell in trained.cells]
    assert list(history["cell_id"].unique()) == ids
    assert (history.groupby("cell_id")["epoch"].min() == 0).all()


def test_metrics_are_null_where_a_task_has_none(trained: Any) -> None:
    records = rb.load(trained.store, trained.suite).records
    fine = records[records["status"] == "ok"]

    for task, data, others in (("accuracy", "digits", "mse"), ("mse", "synthetic_regression", "accuracy")):
        mine = fine[fine["data"] == data]
        assert mine[f"test_{task}"].notna().all()
        assert mine[f"test_{others}"].isna().all()


def test_diverged_cells_are_rows_without_metrics(trained: Any) -> None:
    records = rb.load(trained.store, trained.suite).records
    wild = records[records["optimizer.lr"] == 1e30]

    assert list(wild["status"]) == ["diverged"] * 4
    assert all(reason.startswith("step ") for reason in wild["reason"])
    assert [int(reason.removeprefix("step ")) for reason in wild["reason"]] == list(wild["steps"])
    assert wild[sorted(METRICS)].isna().all(axis=None)
    assert set(records["status"]) == {"ok", "diverged"}


def test_seconds_of_a_pack_are_shared_among_its_members(trained: Any) -> None:
    seconds = Store(trained.store).records().groupby("data")["pack_seconds"]

    assert (seconds.nunique() == 1).all()  # six cells of each data set made a pack
    assert (seconds.min() > 0).all()
