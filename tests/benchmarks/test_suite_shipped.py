"""The suites that ship: their size, and that every pair of levels meets."""

from __future__ import annotations

import itertools

import pytest

from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.suite import load_suite, shipped

CARD = {
    "activation": {"sigmoid", "relu", "leaky_relu", "maxout"},
    "initializer": {"xavier", "he"},
    "regularizer": {"none", "l1", "l2", "dropout", "early_stopping"},
    "optimizer": {"sgd", "momentum", "adagrad", "rmsprop", "adam"},
}


def _cells(name: str) -> list[Cell]:
    return list(expand(load_suite(name)))


@pytest.mark.parametrize("name", shipped())
def test_every_cell_of_a_suite_has_an_id_of_its_own(name: str) -> None:
    ids = [cell.id for cell in _cells(name)]

    assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("quick", {"synthetic_regression", "digits"}),
        ("core", {"synthetic_regression", "mnist", "fashion_mnist"}),
    ],
)
def test_all_levels_of_the_card_meet_in_all_pairs_on_all_data(name: str, data: set[str]) -> None:
    factors = {**CARD, "data": data}
    rows = [cell.columns() for cell in _cells(name)]

    for a, b in itertools.combinations(factors, 2):
        met = {(row[a], row[b]) for row in rows}
        assert met == set(itertools.product(factors[a], factors[b]))


def test_quick_is_small_and_repeated() -> None:
    cells = _cells("quick")
    repeats = {cell.seed for cell in cells}

    assert len(cells) == 2 * 200 * len(repeats) >= 200
    assert len(repeats) >= 2
    assert {cell.device for cell in cells} == {"cpu"}


def test_core_is_the_full_card() -> None:
    cells = _cells("core")

    assert len(cells) == 4 * 2 * 5 * 5 * 3 * 5 == 3000
    assert {cell.seed for cell in cells} == {0, 1, 2, 3, 4}
    assert {cell.epochs for cell in cells if cell.data.name != "synthetic_regression"} == {5}


def test_optimizers_of_shipped_suites_run_at_their_one_default_rate() -> None:
    chosen = [cell.optimizer for name in ("quick", "core") for cell in _cells(name)]
    rates = {(optimizer.name, optimizer.parameters["lr"]) for optimizer in chosen}

    assert rates == {("sgd", 0.1), ("momentum", 0.05), ("adagrad", 0.01), ("rmsprop", 0.001), ("adam", 0.001)}
