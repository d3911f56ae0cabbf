"""Frames first: what `load` returns is what the tables of the page are made from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import recipebench as rb
from recipebench import reports
from recipebench.benchmarks.results import Results
from recipebench.benchmarks.store import Store
from recipebench.reports import tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "notebook.md"
CALLS = re.findall(r"^\| .* \| `(tables\..*)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
SUITE: dict[str, Any] = {
    "name": "nothing",
    "data": ["digits", "synthetic_regression"],
    "matrix": {"activation": ["relu", "tanh"], "initializer": ["he", "xavier"]},
    "seeds": 2,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Results:
    path = tmp_path_factory.mktemp("loading") / "runs"
    with Store(path).lock():
        pass
    return rb.load(path, SUITE)


def test_both_names_load_the_same(found: Results, tmp_path: Path) -> None:
    with Store(tmp_path / "runs").lock():
        pass

    again = reports.load(tmp_path / "runs", SUITE)

    pd.testing.assert_frame_equal(again.records, found.records)
    assert "load" in dir(reports)


def test_cells_have_labels_and_a_score(found: Results) -> None:
    assert len(found.cells) == len(found.records) == 16
    assert found.cells["activation"].cat.categories.tolist() == ["relu", "tanh"]
    assert found.cells["score"].isna().all()
    assert found.info is not None
    assert found.info.planned == 16


def test_the_page_names_the_tables() -> None:
    assert len(CALLS) == 10


@pytest.mark.parametrize("call", CALLS)
def test_every_table_that_the_page_names_is_one_call(call: str, found: Results) -> None:
    frame = eval(call, {"tables": tables, "cells": found.cells, "recipes": found.recipes, "info": found.info})

    assert isinstance(frame, pd.DataFrame)


def test_results_without_a_suite_have_no_cells(found: Results) -> None:
    with pytest.raises(ValueError, match="load them from the store"):
        Results(found.records, found.history).cells  # noqa: B018
