"""From frames of cells to paired arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.reports import frames
from recipebench.reports.claims import Claim, judge
from recipebench.reports.pairs import pairs

SCALES = {"synthetic_regression": "log_loss", "digits": "log_error", "mnist": "log_error"}


@pytest.fixture(scope="module")
def cells(card: Any) -> pd.DataFrame:
    return frames.cells(card.records, card.suite)


def test_pairs_are_alike_in_all_but_the_factor(cells: pd.DataFrame) -> None:
    found = pairs(cells, "initializer", "he", "xavier")

    assert found.first.shape == (3, 3, 4 * 5 * 5)
    assert found.data == ("synthetic_regression", "digits", "mnist")
    assert (found.planned.all(), found.unpaired) == (True, 0)
    one = cells[(cells["data"] == "digits") & (cells["initializer"] == "he") & (cells["seed"] == 1)]
    both = np.sort(found.first[1, 1]), np.sort(one["score"])
    np.testing.assert_array_equal(*both)
    gaps = cells["score"].isna().sum()
    assert np.isnan(found.first).sum() + np.isnan(found.second).sum() == gaps
    assert found.first_diverged.sum() + found.second_diverged.sum() == (cells["status"] == "diverged").sum()


def test_block_differences_equal_those_of_pandas(cells: pd.DataFrame) -> None:
    found = pairs(cells, "regularizer", "none", "l2").blocks(dict.fromkeys(SCALES, "raw"))

    key = ["data", "seed", "activation", "initializer", "optimizer"]
    tables = [cells[cells["regularizer"] == x].set_index(key)["score"] for x in ("none", "l2")]
    apart = (tables[0] - tables[1]).groupby(level=["data", "seed"], observed=True).mean().unstack()
    np.testing.assert_allclose(found.differences, apart.to_numpy(), atol=1e-12)


def test_cells_without_counterpart_are_left_out_and_counted(cells: pd.DataFrame) -> None:
    kept = cells[~((cells["regularizer"] == "none") & (cells["optimizer"] == "adam"))]

    found = pairs(kept, "regularizer", "none", "l2")

    assert found.unpaired == 3 * 3 * 4 * 2
    assert found.first.shape == (3, 3, 4 * 2 * 4)


def test_a_planted_difference_is_supported_and_gaps_block_it(make_card: Callable[..., Any]) -> None:
    factors = {
        "activation": (Choice("sigmoid", {}), Choice("maxout", {"pieces": 2})),
        "optimizer": (Choice("momentum", {"lr": 0.05}), Choice("adam", {"lr": 0.001})),
    }
    made = make_card(troubled=False, seeds=5, factors=factors)
    whole = frames.cells(made.records, made.suite)
    records = made.records.copy()
    records.loc[records.index[0], "status"] = "missing"
    holed = frames.cells(records, made.suite)

    words = []
    for frame in (whole, holed):
        blocks = pairs(frame, "activation", "maxout", "sigmoid").blocks(SCALES, {"digits": 360})
        words.append(judge([Claim(name="maxout > sigmoid", blocks=blocks, smallest=0.05)])[0].word)

    assert words == ["supported", "inconclusive"]


def test_what_cannot_be_paired_is_refused(cells: pd.DataFrame) -> None:
    with pytest.raises(RequestError, match="Did you mean 'optimizer'"):
        pairs(cells, "optimiser", "sgd", "adam")
    with pytest.raises(RequestError, match="Did you mean 'adam'"):
        pairs(cells, "optimizer", "sgd", "adm")
    with pytest.raises(RequestError, match="differ in nothing else"):
        pairs(cells[cells["optimizer"] != "sgd"], "optimizer", "sgd", "adam")
    with pytest.raises(RequestError, match="got several"):
        pairs(pd.concat([cells, cells.iloc[:200]], ignore_index=True), "initializer", "he", "xavier")
