"""`verify` trains stored cells again and finds every bit that differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recipebench.benchmarks import executor, runner, verbs
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.environment import describe
from recipebench.benchmarks.store import Store
from recipebench.errors import RequestError


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def change(
    store: Store, cell_id: str, column: str, change: Callable[[Any], Any], epoch: int | None = None
) -> None:
    """Write a cell once more, one value of its record or of its history changed."""
    records, history = rows_of(store.records([cell_id])), rows_of(store.history([cell_id]))
    (row,) = records if epoch is None else [row for row in history if row["epoch"] == epoch]
    row[column] = change(row[column])
    with store.lock():
        store.write(records, history, store.begin_run(describe()))


def one_bit_up(value: float) -> float:
    return math.nextafter(value, math.inf)


def test_verify_finds_what_was_changed_and_nothing_else(copy: Any, command: Any) -> None:
    store = Store(copy.store)
    adam = copy.cell(optimizer="adam", regularizer="none", data="digits").id
    momentum = copy.cell(optimizer="momentum", data="synthetic_regression").id
    wild = copy.cell(optimizer="sgd", data="digits").id

    equal = command("verify", copy.file, "--store", copy.store, "--sample", "100%", "--workers", 1)
    change(store, adam, "test_loss", one_bit_up)
    change(store, momentum, "validation_r2", one_bit_up, epoch=3)
    change(store, wild, "test_accuracy", lambda nothing: 0.5)
    before = store.digest()
    changed = command("verify", copy.file, "--store", copy.store, "--sample", "100%", "--workers", 1)

    assert (equal.code, equal.err) == (0, "")
    assert equal.out == "verified 12 of 12 cells: 12 equal, 0 differ\n"
    assert (changed.code, changed.err) == (1, "")
    assert sorted(changed.out.splitlines()) == sorted(
        [
            f"{adam} differs in test_loss",
            f"{momentum} differs in history.validation_r2",
            f"{wild} differs in test_accuracy",
            "verified 12 of 12 cells: 9 equal, 3 differ",
        ]
    )
    assert store.digest() == before


def test_a_cell_that_cannot_be_trained_any_more_differs(
    trained: Any, command: Any, worker_script: Callable[[str], None]
) -> None:
    worker_script("raise ValueError('not today')")

    outcome = command("verify", trained.file, "--store", trained.store, "--sample", "1", "--workers", 1)

    assert outcome.code == 1
    assert " differs in everything: ValueError: not today\n" in outcome.out


@pytest.mark.parametrize(
    ("sample", "size"), [("1%", 1), ("50%", 6), ("100%", 12), ("900%", 12), ("3", 3), ("99", 12), ("0.1%", 1)]
)
def test_a_sample_is_a_share_or_a_number(
    sample: str, size: int, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def differing(cells: Sequence[Cell], *rest: object) -> dict[str, list[str]]:
        asked.append(len(cells))
        return {}

    monkeypatch.setattr(runner, "differing", differing)

    verbs.verify(str(trained.file), trained.store, sample, None, None)

    assert asked == [size]


@pytest.mark.parametrize("sample", ["0", "-1", "0%", "nan%", "inf%", "1.5", "half", "%", ""])
def test_a_sample_that_is_none_is_refused(sample: str, trained: Any) -> None:
    with pytest.raises(RequestError) as refused:
        verbs.verify(str(trained.file), trained.store, sample, None, None)

    assert str(refused.value) == (
        f"--sample: expected a share such as 1% or a number of cells, got {sample!r}."
    )


def test_the_sample_is_the_same_every_time(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def differing(cells: Sequence[Cell], *rest: object) -> dict[str, list[str]]:
        asked.append([cell.id for cell in cells])
        return {}

    monkeypatch.setattr(runner, "differing", differing)

    for _ in range(2):
        verbs.verify(str(trained.file), trained.store, "4", None, None)

    assert asked[0] == asked[1]
    assert len(set(asked[0])) == 4


def test_nothing_to_verify_is_refused(trained: Any, command: Any, tmp_path: Path) -> None:
    none = command("verify", "quick", "--store", trained.store)
    nowhere = command("verify", "quick", "--store", tmp_path / "nowhere")

    assert (none.code, nowhere.code) == (2, 2)
    assert "has no finished cell of quick that can be trained here" in none.err
    assert "Expected a store at" in nowhere.err
    assert not (tmp_path / "nowhere").exists()


def test_data_that_cannot_be_had_are_refused_before_training(
    trained: Any, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure(*arguments: object) -> None:
        raise RequestError("the data are gone")

    monkeypatch.setattr(runner, "ensure", ensure)
    monkeypatch.setattr(executor, "COMMAND", ("/nowhere/worker",))

    outcome = command("verify", trained.file, "--store", trained.store)

    assert (outcome.code, outcome.err) == (2, "Error: the data are gone\n")
