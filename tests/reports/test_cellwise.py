"""Cells of two result sets: every bit counts, and each cell has one outcome."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recipebench.reports.cellwise import (
    CHANGED,
    ENDED,
    EQUAL,
    FAILED,
    ONLY_FIRST,
    ONLY_SECOND,
    WITHIN,
    ResultSet,
    blocks,
    differing,
    paired,
)
from recipebench.reports.suite_info import Endpoint

ACCURACY = Endpoint(column="test_accuracy_at_best", direction="higher", chance=0.1)
MSE = Endpoint(column="test_mse_at_best", direction="lower", chance=1.0)


def floats(values: list[float | None]) -> Any:
    mask = np.array([value is None for value in values])
    return pd.arrays.FloatingArray(np.array([0.0 if v is None else v for v in values]), mask)


def frame(**columns: Any) -> pd.DataFrame:
    length = min((len(values) for values in columns.values()), default=3)
    return pd.DataFrame({"cell_id": [*"abc"][:length], **columns})


@pytest.mark.parametrize(
    ("first", "second", "differ"),
    [
        (floats([0.0, 1.0, 2.0]), floats([0.0, 1.0, 2.0]), []),
        (floats([0.0, 1.0, 2.0]), floats([-0.0, 1.0, math.nextafter(2.0, 3)]), ["a", "c"]),
        (floats([math.nan, None, 2.0]), floats([math.nan, None, 2.0]), []),
        (floats([math.nan, None, None]), floats([None, math.nan, 0.0]), ["a", "b", "c"]),
        (["x", "y", None], ["x", "z", None], ["b"]),
        (["x", "y", None], floats([None, None, 1.0]), ["a", "b", "c"]),
        (pd.array([1, 2, None], dtype="Int64"), pd.array([1, 3, None], dtype="Int64"), ["b"]),
        (
            pd.array([True, False, None], dtype="boolean"),
            pd.array([True, True, None], dtype="boolean"),
            ["b"],
        ),
        (floats([None] * 3), [None] * 3, []),
    ],
)
def test_every_bit_counts_and_null_is_apart_from_nan(first: Any, second: Any, differ: list[str]) -> None:
    found = differing(frame(x=first), frame(x=second), ["cell_id"])

    assert found == {cell: ["x"] for cell in differ}


def test_a_column_of_one_side_is_null_on_the_other() -> None:
    found = differing(frame(x=floats([None, 1.0, None])), frame(), ["cell_id"])

    assert found == {"b": ["x"]}


def test_rows_that_one_side_lacks_differ_and_other_cells_do_not_count() -> None:
    one = pd.DataFrame({"cell_id": ["a", "a", "b"], "epoch": [0, 1, 0], "loss": [1.0, 0.5, 1.0]})
    two = pd.DataFrame({"cell_id": ["a", "c"], "epoch": [0, 0], "loss": [1.0, 9.0]})

    assert differing(one, two, ["cell_id", "epoch"]) == {"a": ["rows", "loss"]}


def test_columns_that_are_ignored_are_not_looked_at() -> None:
    one, two = frame(x=[1.0, 2.0, 3.0], seconds=[1.0, 1.0, 1.0]), frame(x=[1.0, 2.0, 3.0], seconds=[2.0] * 3)

    assert differing(one, two, ["cell_id"], ["seconds"]) == {}
    assert differing(one, two, ["cell_id"]) == {cell: ["seconds"] for cell in "abc"}


def records(*rows: tuple[str, str, float | None]) -> pd.DataFrame:
    """Rows of (cell, status, accuracy)."""
    return pd.DataFrame(
        {
            "cell_id": [row[0] for row in rows],
            "data": "digits",
            "seed": range(len(rows)),
            "status": [row[1] for row in rows],
            "test_accuracy_at_best": floats([row[2] for row in rows]),
        }
    )


NO_HISTORY = pd.DataFrame({"cell_id": pd.Series(dtype=object), "epoch": pd.Series(dtype="int64")})


def pair(first: pd.DataFrame, second: pd.DataFrame, smallest: float = 0.01) -> pd.DataFrame:
    sets = (ResultSet("one", first, NO_HISTORY), ResultSet("two", second, NO_HISTORY))
    return paired(*sets, endpoints={"digits": ACCURACY}, smallest={"digits": smallest}).set_index("cell_id")


def test_each_cell_has_one_outcome() -> None:
    first = records(
        ("equal", "ok", 0.9),
        ("within", "ok", 0.9),
        ("edge", "ok", 0.9),
        ("changed", "ok", 0.9),
        ("diverged", "ok", 0.9),
        ("failed", "ok", 0.9),
        ("lost", "failed", None),
        ("gone", "diverged", None),
        ("first", "ok", 0.9),
    )
    second = records(
        ("equal", "ok", 0.9),
        ("within", "ok", 0.905),
        ("edge", "ok", 0.91),
        ("changed", "ok", 0.85),
        ("diverged", "diverged", None),
        ("failed", "failed", None),
        ("lost", "failed", None),
        ("gone", "diverged", None),
        ("second", "ok", 0.9),
    )

    found = pair(first, second)

    assert found["outcome"].to_dict() == {
        "equal": EQUAL,
        "within": WITHIN,
        "edge": WITHIN,
        "changed": CHANGED,
        "diverged": ENDED,
        "failed": ENDED,
        "lost": FAILED,
        "gone": EQUAL,
        "first": ONLY_FIRST,
        "second": ONLY_SECOND,
    }
    assert found.loc["diverged", "second"] == ACCURACY.chance
    assert math.isnan(found.loc["failed", "second"])
    assert found.loc["changed", "difference"] == pytest.approx(-0.05)
    assert found.loc["within", "columns"] == "test_accuracy_at_best"


def test_without_a_smallest_effect_any_difference_is_a_change() -> None:
    sets = [ResultSet("x", records(("a", "ok", value)), NO_HISTORY) for value in (0.9, 0.9 + 1e-12)]

    found = paired(*sets, endpoints={"digits": ACCURACY}, smallest={})

    assert found["outcome"].tolist() == [CHANGED]


def test_cells_of_one_seed_are_one_block_and_larger_is_better() -> None:
    pairs = pd.DataFrame(
        {
            "seed": [3, 3, 1, 1],
            "first": [0.5, 0.7, 0.4, 0.4],
            "second": [0.4, 0.4, 0.4, 0.5],
            "first_status": "ok",
            "second_status": ["ok", "diverged", "ok", "ok"],
        }
    )

    rising, falling = blocks(pairs, ACCURACY), blocks(pairs, MSE)

    np.testing.assert_allclose(rising.differences, [[0.05, -0.2]])
    np.testing.assert_allclose(falling.differences, -rising.differences)
    assert (rising.pairs, rising.gaps, rising.diverged) == (4, 0, 1)
    np.testing.assert_allclose(rising.without_diverged, [[0.05, -0.1]])
    np.testing.assert_allclose(blocks(pairs, ACCURACY, of="first", over="second").differences, [[-0.05, 0.2]])
