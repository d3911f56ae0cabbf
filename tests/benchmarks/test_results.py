"""Results: one row for every planned cell, with types that do not depend on what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recipebench.benchmarks import devices
from recipebench.benchmarks.results import closing_line, collect
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import load_suite


def test_cells_that_were_never_trained_are_missing(trained: Any) -> None:
    suite = load_suite({**trained.suite, "seeds": 2})

    results = collect(suite, Store(trained.store))

    missing = results.records[results.records["seed"] == 1]
    assert set(missing["status"]) == {"missing"}
    assert set(missing["reason"]) == {"not trained yet"}
    assert results.counts == {"ok": 8, "diverged": 4, "failed": 0, "missing": 12}
    assert set(results.history["cell_id"]) <= {cell.id for cell in trained.cells}


def test_cells_of_a_device_that_is_not_here_are_missing_with_the_reason(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_gpus", lambda: ("one",))
    suite = load_suite({**trained.suite, "device": "gpu:2"})

    results = collect(suite, Store(trained.store))

    assert set(results.records["status"]) == {"missing"}
    assert set(results.records["reason"]) == {
        "device gpu:2 is not available: 1 of 2 graphics processors are found here"
    }


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_columns_and_types_do_not_depend_on_what_is_missing(
    trained: Any, tmp_path: Path, seeds: list[int]
) -> None:
    suite = load_suite({**trained.suite, "seeds": seeds})
    whole = collect(load_suite(trained.suite), Store(trained.store)).records

    partly = collect(suite, Store(trained.store)).records
    nothing = collect(suite, Store(tmp_path / "none")).records

    for frame in (partly, nothing):
        assert set(frame) == set(whole)
        for name in (
            "status",
            "steps",
            "test_loss",
            "pack_seconds",
            "best_epoch",
            "optimizer.lr",
            "seed",
            "torch",
        ):
            assert frame[name].dtype == whole[name].dtype, name
    assert nothing["test_loss"].isna().all()


def test_rows_keep_the_order_of_the_plan(trained: Any) -> None:
    suite = load_suite({**trained.suite, "seeds": [1, 0]})

    records = collect(suite, Store(trained.store)).records

    assert list(records["seed"]) == [1, 0] * 12
    assert list(records["status"][::2]) == ["missing"] * 12


def test_a_store_shared_by_suites_names_the_suite_that_is_asked_for(trained: Any) -> None:
    suite = load_suite({**trained.suite, "name": "other"})

    records = collect(suite, Store(trained.store)).records

    assert set(records["suite"]) == {"other"}
    assert set(records["status"]) == {"ok", "diverged"}


def test_what_the_store_keeps_for_itself_is_not_shown(trained: Any) -> None:
    assert "cell" in Store(trained.store).records()
    assert not {"cell", "traceback"} & set(collect(load_suite(trained.suite), Store(trained.store)).records)


def test_the_closing_line_accounts_for_every_cell() -> None:
    counts = {"ok": 3, "diverged": 1, "failed": 2, "missing": 4}

    assert closing_line(counts) == "planned 10 = ok 3 + diverged 1 + failed 2 + missing 4"


def test_null_is_apart_from_nan(trained: Any) -> None:
    records = collect(load_suite(trained.suite), Store(trained.store)).records

    wild = records[records["status"] == "diverged"]["test_loss"]
    assert [value is pd.NA for value in wild] == [True] * 4
