"""Training as on devices where no bits are promised, from cells to histories, held against this processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from recipebench.benchmarks import recorder, training
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.suite import load_suite
from recipebench.lightning_modules import exactness

MATRIX = {"optimizer": ["sgd", "adam", "adagrad", "rmsprop"], "regularizer": ["none", "l1", "l2"]}


def cells_of(data: str = "digits", **matrix: Any) -> list[Cell]:
    suite = {
        "name": "devices",
        "data": [data],
        "model": {"mlp": {"hidden": [16, 8]}},
        "matrix": {**MATRIX, **matrix},
        "seeds": 2,
        "protocol": {"epochs": 2, "batch_size": 32, "train_samples": 300},
    }
    return list(expand(load_suite(suite)))


def histories(cells: Sequence[Cell]) -> list[list[dict[str, Any]]]:
    return [result.track.history for result in training.train(cells, None)]


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exactness, "promises_bits", lambda device: False)


@pytest.mark.parametrize("data", ["digits", "synthetic_regression"])
def test_histories_are_those_of_a_processor_up_to_rounding(
    data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [replace(cell, precision="64-true") for cell in cells_of(data)]
    expected = histories(cells)
    elsewhere(monkeypatch)
    monkeypatch.setattr(recorder, "EVALUATED", 10_000)

    found = histories(cells)

    for rows, others in zip(found, expected, strict=True):
        assert [{**row, "seconds": 0} for row in rows] == [
            pytest.approx({**row, "seconds": 0}, rel=1e-7, abs=1e-9, nan_ok=True) for row in others
        ]


def test_packs_in_bfloat16_learn_what_cells_alone_do(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [replace(cell, precision="bf16-mixed") for cell in cells_of(regularizer=["none"])]
    alone = [histories([cell])[0] for cell in cells]
    full = histories(cells_of(regularizer=["none"]))
    elsewhere(monkeypatch)

    packed = histories(cells)

    losses = [[rows[-1]["test_loss"] for rows in each] for each in (packed, alone, full)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[2]


def test_what_does_not_mix_numbers_trains_alone() -> None:
    (cell, *_) = cells_of(regularizer=["batch_norm"])

    assert training.why_alone(cell) is None
    assert training.why_alone(replace(cell, precision="bf16-mixed")) == (
        "layer norm_1 (BatchNorm1d) has no packed form for mixed numbers"
    )
