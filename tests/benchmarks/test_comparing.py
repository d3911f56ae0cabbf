"""`compare` of two stores: paired by cell id, from real runs, with exit codes."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import recipebench as rb
from recipebench.benchmarks.environment import describe
from recipebench.benchmarks.store import Store

CELLS = 12


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write every cell of a store once more, its record changed."""
    store = Store(path)
    records, history = rows_of(store.records()), rows_of(store.history())
    with store.lock():
        store.write([row | change(row) for row in records], history, store.begin_run(describe()))


def nudged(row: dict[str, Any], by: float) -> dict[str, Any]:
    names = [n for n in ("test_accuracy_at_best", "test_mse_at_best") if row.get(n) is not None]
    return {name: row[name] + by for name in names}


def test_equal_stores_are_equal(trained: Any, copy: Any, command: Any) -> None:
    outcome = command("compare", trained.store, copy.store)

    assert (outcome.code, outcome.err) == (0, "")
    assert (
        f"Of {CELLS} cells: {CELLS} equal bit for bit (all columns but times and build), 0 within"
        in outcome.out
    )
    assert "The same bits: what was found in one store can be quoted for the other." in outcome.out


def test_one_bit_of_a_history_is_found(trained: Any, copy: Any, command: Any) -> None:
    store = Store(copy.store)
    cell = copy.cell(optimizer="adam", data="digits").id
    records, history = rows_of(store.records([cell])), rows_of(store.history([cell]))
    history[2]["train_loss"] = math.nextafter(history[2]["train_loss"], math.inf)
    with store.lock():
        store.write(records, history, store.begin_run(describe()))

    found = rb.compare_stores(trained.store, copy.store).cells.set_index("cell_id")

    assert found.loc[cell, ["outcome", "columns"]].tolist() == ["within", "history.train_loss"]
    assert (found.drop(cell)["outcome"] == "equal").all()
    assert command("compare", trained.store, copy.store).code == 0


def test_another_build_with_roundings_is_no_change(trained: Any, copy: Any, command: Any) -> None:
    rewrite(copy.store, lambda row: {"torch": "2.99.0", **nudged(row, 1e-6)})

    outcome = command("compare", trained.store, copy.store, "--suite", trained.file)

    assert outcome.code == 0
    assert "B was trained by torch 2.99.0" in outcome.out
    assert "The builds differ, and bits are promised within one build only." in outcome.out
    assert "compared: the cells of the suite example" in outcome.out


def test_a_change_that_matters_is_told_and_exits_with_1(
    trained: Any, copy: Any, command: Any, tmp_path: Path
) -> None:
    adam = copy.cell(optimizer="adam", data="digits").id
    rewrite(copy.store, lambda row: nudged(row, -0.1 if row["cell_id"] == adam else 0.0))

    outcome = command("compare", trained.store, copy.store, "--out", tmp_path / "out")

    assert outcome.code == 1
    assert f"{adam} (digits, seed 0): " in outcome.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("compare.html", "compare.md", "cells.csv", "table.csv")
    }
    cells = pd.read_csv(tmp_path / "out" / "cells.csv").set_index("cell_id")
    assert cells["outcome"].value_counts().to_dict() == {"equal": CELLS - 1, "changed": 1}
    assert cells.loc[adam, "difference"] == pytest.approx(-0.1)


def test_smallest_effects_of_the_suite_hold(trained: Any, copy: Any) -> None:
    rewrite(copy.store, lambda row: nudged(row, 0.02))
    declared = trained.suite | {"smallest_effect": {"digits": 0.03, "synthetic_regression": 0.03}}

    assert rb.compare_stores(trained.store, copy.store, suite=trained.suite).changed
    assert not rb.compare_stores(trained.store, copy.store, suite=declared).changed


def test_a_cell_that_fails_now_ended_otherwise(
    trained: Any, tmp_path: Path, worker_script: Callable[[str], None]
) -> None:
    worker_script("if any(cell.optimizer.name == 'adam' for cell in cells): raise ValueError('not today')")
    rb.run(trained.suite, store=tmp_path / "b", workers=1, pack_size=1, quiet=True)

    found = rb.compare_stores(trained.store, tmp_path / "b")

    assert found.counts["ended otherwise"] == 4
    assert found.counts["equal"] == CELLS - 4
    assert any("failed in B." in sentence for sentence in found.sentences)


def test_what_was_trained_twice_is_equal_and_cells_of_one_store_are_counted(
    trained: Any, tmp_path: Path
) -> None:
    smaller = trained.suite | {"data": ["digits"]}
    rb.run(smaller, store=tmp_path / "b", workers=1, pack_size=1, quiet=True)

    found = rb.compare_stores(trained.store, tmp_path / "b")
    back = rb.compare_stores(tmp_path / "b", trained.store)

    assert (found.counts["equal"], found.counts["only in A"], found.counts["only in B"]) == (6, 6, 0)
    assert (back.counts["only in A"], back.counts["only in B"]) == (0, 6)
    assert "6 cells in both; 6 only in A, 0 only in B." in found.sentences


@pytest.mark.parametrize(
    ("second", "options", "message"),
    [
        ("nowhere", (), "Expected a store at "),
        ("empty", (), "Expected cells that both stores have, found none: "),
        ("same", (), "Expected two stores, got "),
        ("copy", ("--suite", "quik"), "Unknown suite 'quik'"),
        ("copy", ("--suite", "../../etc/passwd"), "Error: "),
        ("copy", ("--suite", "<script>.yaml"), "Error: "),
        ("copy", ("--suite", "quick"), "Expected cells that both stores have, found none: "),
        ("copy", ("--out", "/dev/null"), "--out: expected a folder"),
        ("copy", ("--plugin", "nowhere.py"), "plug-in nowhere.py"),
    ],
)
def test_a_wrong_request_is_refused(
    second: str, options: tuple[str, ...], message: str, trained: Any, copy: Any, command: Any, tmp_path: Path
) -> None:
    with Store(tmp_path / "empty").lock():
        pass
    path = {"same": trained.store, "copy": copy.store}.get(second, tmp_path / second)

    outcome = command("compare", trained.store, path, *options)

    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.out == ""


def test_data_of_a_plug_in_need_the_plug_in(trained: Any, copy: Any, command: Any) -> None:
    for store in (trained.store, copy.store):
        assert "rings" not in set(Store(store).records()["data"])
    rewrite(copy.store, lambda row: {"data": "rings"} if row["data"] == "digits" else {})

    outcome = command("compare", trained.store, copy.store)

    assert outcome.code == 2
    assert "The data set 'rings' of these stores is not known here: give the plug-in" in outcome.err


def test_trials_of_a_search_are_compared_only_where_no_suite_is_named(tmp_path: Path) -> None:
    suite = {
        "name": "tuned",
        "data": ["digits"],
        "model": {"mlp": {"hidden": [4]}},
        "matrix": {"optimizer": [{"sgd": {"lr": {"tune": {"low": 0.01, "high": 1, "trials": 2}}}}]},
        "seeds": 2,
        "tuning": {"seeds": 1},
        "protocol": {"epochs": 1, "batch_size": 200},
    }
    rb.run(suite, store=tmp_path / "a", workers=1, quiet=True)
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    whole = rb.compare_stores(tmp_path / "a", tmp_path / "b")
    reported = rb.compare_stores(tmp_path / "a", tmp_path / "b", suite=suite)

    assert (whole.counts["equal"], reported.counts["equal"]) == (4, 2)


def test_comparing_imports_no_torch(trained: Any, copy: Any) -> None:
    code = (
        "import sys, recipebench as rb\n"
        f"rb.compare_stores({str(trained.store)!r}, {str(copy.store)!r})\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
