"""The coverage table: every row leads somewhere, and every number lies beside its reference."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from docs_scripts import load

from recipebench.benchmarks import suite
from recipebench.benchmarks.environment import describe
from recipebench.benchmarks.store import Store
from recipebench.errors import RequestError

ROOT = Path(__file__).resolve().parent.parent


table = load("coverage_table")
ROWS = table.ROWS
MEASURED = [row for row in ROWS if not row.open]

CHECKLIST = """
perceptron / threshold neuron (gates, XOR limit)
linear regression: closed form, from scratch, concise
house-price 3-feature model / synthetic regression data
models of growing complexity (polynomial)
sum-of-sigmoids model
least-squares ±1 classifier
Bayes two-box example, priors
Gaussian generative classifier, separate covariance
Gaussian generative classifier, shared covariance
Naive Bayes
logistic regression (CE, squared-loss, L1/L2 variants)
one-hot least squares and margin classifier
softmax regression: from scratch, concise
MLP
deep linear net
deep sigmoid/tanh/ReLU stack
Maxout network
CNN: conv, padding, stride, 3-D conv, batch, output size
pooling: max, average
im2col convolution
deep CNN of small stacked filters (VGG style)
transfer learning / fine-tuning
R-CNN (name only)
DQN / Q-learning
TensorFlow quadratic toy
k-NN contrast
activations: step, sigmoid, tanh, ReLU, Leaky, Parametric, Maxout, hardmax
losses: MSE forms, L1, Huber
losses: cross-entropy, BCE, maximum likelihood
label smoothing
ranking / margin loss
init: .01 Gaussian, constant, 1/n, 2/n, 2/(n_in+n_out)
L2 / weight decay (λ/2m, Frobenius)
L1
dropout: inverted, fish-book, per-layer keep-prob
early stopping
data augmentation
gradient descent, learning-rate choice
SGD-1 / mini-batch / batch GD
Momentum
Nesterov (name only)
Adagrad
RMSprop
Adam
Newton / second order
lr schedules: inverse, exponential, root, staircase, manual, none
input normalization
batch normalization incl. test statistics
EWMA and bias correction
backpropagation, chain rule, node rules
numerical gradient, gradient check
vanishing / exploding gradient probes
saddle points, plateaus, local optima
train/dev/test splits, generalization
bias/variance diagnosis and recipe
over-/underfitting experiments
stopping/convergence criteria
accuracy accumulation, eval mode, zero_grad, detach
numerical stability (NaN, overflow)
hyper-parameter search: grid, random, coarse-to-fine, narrowing
search scales: log α, 1-β
hyper-parameter importance order
panda vs caviar
data loading: generator, shuffle, last batch, prefetch, workers, image folder
data sets: MNIST (named), Fashion-MNIST (not named)
GPU acceleration
distributed training
memory and throughput vs batch size
PyTorch recipe: Dataset, DataLoader, Module, loss, optimizer, loop
CSV saving / reports
""".strip().splitlines()

CELL = {"data": "iris", "model": "naive_bayes_gaussian"}

EXAMPLE = dataclasses.replace(
    ROWS[9],
    suite="models",
    cells=(CELL,),
    column="test_accuracy",
    combine="the number",
    tolerance=0.01,
)
"""A row that a small store can answer."""


def test_the_rows_are_the_checklist() -> None:
    assert len(CHECKLIST) == 70
    assert [row.name for row in ROWS] == CHECKLIST


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_implements_a_row_can_be_imported(row: Any) -> None:
    path, _, name = row.module.partition(":")
    home = importlib.import_module("recipebench." + path.removesuffix(".py").replace("/", "."))

    assert (ROOT / path).is_file()
    assert hasattr(home, name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_holds_a_row_is_a_test(row: Any) -> None:
    path, _, name = row.test.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))

    assert name.startswith("test_")
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_says_all_that_it_must(row: Any) -> None:
    assert row.what.endswith((".", "?"))
    assert row.source
    assert bool(row.open) != bool(row.number and row.reference and row.compute)
    assert bool(row.open or row.live) != bool(row.suite and row.column and row.cells)
    assert row.combine in table.COMBINATIONS
    assert not row.live or row.live in table.LIVE


@pytest.mark.parametrize("row", [row for row in MEASURED if row.cells], ids=lambda row: row.name)
def test_a_shipped_suite_plans_the_cells_of_a_row(row: Any) -> None:
    chosen = table.cells_of(row)

    assert row.suite in suite.shipped()
    assert len({cell.id for cell in chosen}) == len(row.cells)
    assert {cell.seed for cell in chosen} == {0}


def test_every_reference_was_computed_for_these_cells() -> None:
    import coverage_references

    found = table.load_references()

    assert list(found) == [row.name for row in MEASURED]
    for row in MEASURED:
        assert found[row.name]["compute"] == row.compute
        assert set(found[row.name]["with"]) == set(coverage_references.LIBRARIES[row.compute])
        assert found[row.name]["cells"] == list(dict.fromkeys(cell.id for cell in table.cells_of(row)))
        assert table.tolerance_of(row, found[row.name]) >= 0


def test_closed_forms_and_recurrences_give_the_numbers_that_are_written_down() -> None:
    import coverage_references

    cheap = {name for name, used in coverage_references.LIBRARIES.items() if not used} | {"walk_on_the_bowl"}
    chosen = [row for row in MEASURED if row.compute in cheap]
    found = table.load_references()

    assert len(chosen) > 10
    for row in chosen:
        value = getattr(coverage_references, row.compute)(table.cells_of(row), row)
        assert value == pytest.approx(found[row.name]["value"], rel=1e-12)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Write a store with one cell, that of `EXAMPLE`."""
    (cell,) = table.cells_of(EXAMPLE)
    record = {"cell_id": cell.id, "status": "ok", "test_accuracy": 0.95, "test_mse": None}
    history = [{"cell_id": cell.id, "epoch": epoch, "lr": 0.1} for epoch in (0, 1)]
    path = tmp_path / "runs"
    with Store(path).lock() as opened:
        opened.write([record], history, opened.begin_run(describe()))
    return path


def _checked(store: Path, row: Any, reference: float) -> Any:
    entry = {"value": reference, "compute": row.compute, "with": {}}
    (cell,) = table.cells_of(row)
    numbers = table.Numbers(Store(store), [row])
    return table.check(row, 1, numbers, {row.name: {**entry, "cells": [cell.id]}})


def test_a_number_beside_its_reference_is_shown_with_its_cell(store: Path) -> None:
    checked = _checked(store, EXAMPLE, 0.955)
    text = table.page([checked])

    assert not checked.problem
    assert "1 rows, 1 measured, 1 of them within tolerance" in text
    assert f"**{table.shown(0.95)}**" in text
    assert f"`{table.cells_of(EXAMPLE)[0].id}`" in text


def test_a_number_that_is_off_is_a_problem(store: Path) -> None:
    checked = _checked(store, EXAMPLE, 0.97)

    assert checked.problem == "off by 0.02, more than 0.01."
    assert "1 rows, 1 measured, 0 of them within tolerance" in table.page([checked])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"column": "test_acuracy"}, "Unknown column 'test_acuracy'"),
        ({"column": "test_mse"}, "test_mse is empty."),
        ({"column": "test_accuracy", "epoch": 99}, "its history has no epoch 99."),
        ({"status": "diverged"}, "expected status diverged, got ok."),
        ({"cells": ({"data": "wine", "model": "naive_bayes_gaussian"},)}, "is not in the store"),
        ({"cells": ({**CELL, "optimiser": "sgd"},)}, "Unknown column 'optimiser'"),
        ({"cells": ({"data": "iris"},)}, "expected one cell with"),
        ({"cells": ({**CELL, "seed": 99},)}, "found 0."),
    ],
)
def test_what_cannot_be_looked_up_is_one_clear_message(
    store: Path, change: dict[str, Any], message: str
) -> None:
    row = dataclasses.replace(EXAMPLE, **change)

    with pytest.raises(RequestError) as error:
        table.Numbers(Store(store), [row]).measure(row)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_reference_of_another_cell_or_none_is_a_problem(store: Path) -> None:
    numbers = table.Numbers(Store(store), [EXAMPLE])
    other = {"value": 1.0, "compute": EXAMPLE.compute, "with": {}, "cells": ["0" * 16]}

    assert "no reference" in table.check(EXAMPLE, 1, numbers, {}).problem
    assert "of other cells" in table.check(EXAMPLE, 1, numbers, {EXAMPLE.name: other}).problem


def test_a_band_is_that_of_the_references_runs() -> None:
    row = dataclasses.replace(EXAMPLE, tolerance=None)

    assert table.tolerance_of(row, {"value": 0.9, "sd": 0.01, "runs": 4}) == pytest.approx(
        5 * 0.01 * 1.25**0.5
    )
    assert table.tolerance_of(row, {"value": 0.9, "sd": 0.0001, "runs": 4}) == table.NARROWEST
    with pytest.raises(RequestError, match="expected a tolerance"):
        table.tolerance_of(row, {"value": 0.9})


def test_combinations_by_hand() -> None:
    def found(*values: float, **columns: list[Any]) -> list[Any]:
        rows = [{name: of[i] for name, of in columns.items()} for i in range(len(values))]
        return [table.Found(value, row) for value, row in zip(values, rows, strict=True)]

    rates = {"optimizer.lr": [0.1, 1.0, 0.1], "batch_size": [32, 32, 8]}
    combine = {name: lambda f, c=c: c(f) for name, c in table.COMBINATIONS.items()}

    assert combine["mean"](found(1.0, 3.0)) == 2
    assert combine["difference"](found(5.0, 3.0)) == 2
    assert combine["ratio"](found(6.0, 3.0)) == 2
    assert combine["powers of ten"](found(1.0, 1000.0)) == -3
    assert combine["variance"](found(0.99, 0.89)) == pytest.approx(0.1)
    assert combine["best rate"](found(0.5, 0.2, 0.3, **rates)) == 1.0
    assert combine["ratio of ranges"](found(0.9, 0.1, 0.7, **rates)) == pytest.approx(4)


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="expected a store"):
        table.check_all(tmp_path / "none")


@pytest.mark.skipif(not table.RUNS.exists(), reason="the store docs/runs is not in this checkout")
def test_every_number_is_beside_its_reference_and_the_page_is_current() -> None:
    checked = table.check_all()

    assert [f"{c.place}. {c.row.name}: {c.problem}" for c in checked if c.problem] == []
    assert table.PAGE.read_text(encoding="utf-8") == table.page(checked)
