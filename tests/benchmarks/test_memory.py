"""What a pack takes on a graphics processor: more for more of everything, and packs as large as it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.memory import CONTEXT, MOST, SHARE, cell_bytes, cells_that_fit, resident_bytes
from recipebench.benchmarks.packs import good_size, plan, weights
from recipebench.benchmarks.suite import load_suite


def cell(model: Any = "mlp", **given: Any) -> Cell:
    matrix = {"optimizer": ["sgd"], **given.pop("matrix", {})}
    suite = {"name": "one", "data": ["mnist"], "model": [model], "seeds": 1, "matrix": matrix, **given}
    return replace(next(iter(expand(load_suite(suite)))), device="gpu")


def taken(one: Cell) -> int:
    return cell_bytes(one, weights(one))


def test_a_cell_takes_six_copies_of_its_weights_and_more() -> None:
    one = cell({"mlp": {"hidden": [128, 64]}})

    assert 6 * 4 * weights(one) < taken(one) < 20 * 4 * weights(one)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        (cell({"mlp": {"hidden": [64]}}), cell({"mlp": {"hidden": [256]}})),
        (cell(protocol={"batch_size": 32}), cell(protocol={"batch_size": 512})),
        (cell(), replace(cell(), precision="64-true")),
        (cell(matrix={"activation": ["relu"]}), cell(matrix={"activation": ["maxout"]})),
        (cell(matrix={"regularizer": ["none"]}), cell(matrix={"regularizer": ["dropout"]})),
        (cell({"cnn": {"channels": [4, 8]}}), cell({"cnn": {"channels": [16, 32]}})),
    ],
    ids=["width", "batch", "precision", "maxout", "dropout", "channels"],
)
def test_more_of_anything_takes_more(smaller: Cell, larger: Cell) -> None:
    assert taken(larger) > taken(smaller)


def test_as_many_fit_as_the_memory_holds() -> None:
    one = cell({"mlp": {"hidden": [512, 512]}})
    memory = (CONTEXT + resident_bytes(one) + 10.5 * taken(one)) / SHARE

    assert cells_that_fit(one, weights(one), memory) == 10
    assert cells_that_fit(one, weights(one), 0.0) == 1
    assert cells_that_fit(one, weights(one), 1e15) == MOST


def test_packs_are_as_large_as_the_memory_of_their_device() -> None:
    cells = [replace(one, device="gpu") for one in expand(load_suite("core"))][1000:1200]
    (first, *_) = cells

    assert good_size(first) == good_size(replace(first, device="cpu"), 80e9)
    assert good_size(first, 80e9) > 100
    together = [len(pack.cells) for pack in plan(cells, memory=80e9)]
    apart = [len(pack.cells) for pack in plan(cells, memory=3e9)]
    assert max(together) > max(apart)
    assert sum(together) == sum(apart) == 200
