"""From records to cells: labels, scores, order, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.reports import frames
from recipebench.reports.suite_info import Endpoint, SuiteInfo


def test_score_is_the_endpoint_chance_or_a_gap(card: Any) -> None:
    cells = frames.cells(card.records, card.suite).set_index("cell_id")

    for _, record in card.records.iterrows():
        goal, score = card.suite.endpoints[record["data"]], cells.loc[record["cell_id"], "score"]
        if record["status"] == "ok":
            assert score == record[goal.column]
        elif record["status"] == "diverged":
            assert score == goal.chance
        else:
            assert np.isnan(score)


def test_an_infinite_endpoint_counts_at_chance_and_none_is_a_gap(make_card: Callable[..., Any]) -> None:
    card = make_card(data=("synthetic_regression",), seeds=1, troubled=False)
    records = card.records.copy()
    records.loc[[0, 1], "test_mse_at_best"] = [np.inf, np.nan]

    scores = frames.cells(records, card.suite).set_index("cell_id").loc[records["cell_id"], "score"]

    assert scores.iloc[0] == 1.0
    assert np.isnan(scores.iloc[1])
    assert scores.iloc[2:].notna().all()


def test_levels_stand_in_declared_order(card: Any) -> None:
    cells = frames.cells(card.records, card.suite)

    assert frames.factors(cells) == list(card.suite.factors)
    for factor, choices in card.suite.factors.items():
        assert frames.levels(cells, factor) == [choice.name for choice in choices]
    assert frames.levels(cells, "data") == list(card.suite.endpoints)


def test_the_order_of_the_records_leaves_no_trace(card: Any) -> None:
    shuffled = card.records.sample(frac=1, random_state=1)

    pd.testing.assert_frame_equal(
        frames.cells(shuffled, card.suite), frames.cells(card.records, card.suite), check_like=False
    )


def test_a_name_with_several_levels_shows_what_tells_them_apart() -> None:
    records = pd.DataFrame(
        {
            "optimizer": ["sgd", "adam", "sgd", "sgd"],
            "optimizer.lr": [0.1, 0.001, 0.01, 0.1],
            "optimizer.nesterov": [False, None, False, False],
        }
    )
    declared = [Choice("sgd", {"lr": 0.01, "nesterov": False}), Choice("sgd", {"lr": 0.1, "nesterov": False})]

    found = frames.labels(records, "optimizer", declared)

    assert list(found) == ["sgd (lr=0.1)", "adam", "sgd (lr=0.01)", "sgd (lr=0.1)"]
    assert list(found.cat.categories) == ["sgd (lr=0.01)", "sgd (lr=0.1)", "adam"]


def test_undeclared_numbers_are_ordered_as_numbers() -> None:
    records = pd.DataFrame({"batch_size": [128, 32, 1024]})

    assert list(frames.labels(records, "batch_size", []).cat.categories) == ["32", "128", "1024"]


def test_a_factor_that_a_model_lacks_is_a_level_of_its_own() -> None:
    records = pd.DataFrame({"activation": ["relu", None]})

    assert list(frames.labels(records, "activation", ["relu"])) == ["relu", frames.ABSENT]


def test_whatever_else_differs_joins_the_recipe(make_card: Callable[..., Any]) -> None:
    card = make_card(data=("mnist",), seeds=1)
    records = card.records.assign(batch_size=[32, 128] * (len(card.records) // 2))

    cells = frames.cells(records, card.suite)

    assert frames.factors(cells) == [*card.suite.factors, "batch_size"]


def test_a_cell_that_stopped_early_keeps_its_last_values() -> None:
    history = pd.DataFrame(
        {"cell_id": ["a", "a", "a", "b", "b"], "epoch": [0, 1, 2, 1, 3], "validation_loss": [9.0, 3, 2, 5, 4]}
    )
    cells = pd.DataFrame(
        {"cell_id": ["a", "b", "c"], "status": ["ok", "ok", "failed"], "last_epoch": [4, 3, 4]}
    )

    found = frames.history_of(history, cells, "validation_loss")

    np.testing.assert_array_equal(found.to_numpy(), [[3, 2, 2, 2], [5, np.nan, 4, np.nan]])
    assert [int(str(c)) for c in found.columns] == [1, 2, 3, 4]


def _change(records: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    changed = records.copy()
    changed[column] = changed[column].astype(object)
    changed[column] = [value, *changed[column].iloc[1:]]
    return changed


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("status", "okay", "Unknown status 'okay'.*Did you mean 'ok'"),
        ("data", "mnits", "Unknown data set 'mnits'.*Did you mean 'mnist'"),
    ],
)
def test_unknown_values_are_refused(card: Any, column: str, value: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        frames.cells(_change(card.records, column, value), card.suite)


def test_records_that_do_not_fit_are_refused(card: Any) -> None:
    records = card.records

    with pytest.raises(RequestError, match="Unknown column 'status'"):
        frames.cells(records.drop(columns="status"), card.suite)
    with pytest.raises(RequestError, match="Unknown column 'test_accuracy_at_best'"):
        frames.cells(records.drop(columns="test_accuracy_at_best"), card.suite)
    with pytest.raises(RequestError, match="more than once"):
        frames.cells(_change(records, "cell_id", records["cell_id"].iloc[1]), card.suite)
    with pytest.raises(RequestError, match="at most the 7 cells planned, got 1800"):
        frames.cells(records, replace(card.suite, planned=7))


def test_history_of_strangers_is_refused(card: Any) -> None:
    cells = frames.cells(card.records, card.suite)
    history = pd.DataFrame({"cell_id": ["stranger"], "epoch": [1], "validation_loss": [0.1]})

    with pytest.raises(RequestError, match="got 1 others: 'stranger'"):
        frames.history_of(history, cells, "validation_loss")


def test_a_suite_must_make_sense() -> None:
    with pytest.raises(RequestError, match=r"Unknown direction 'up'\. Known: higher, lower"):
        Endpoint(column="test_mse", direction="up", chance=1.0)
    with pytest.raises(RequestError, match="endpoints: expected one for each data set, got none"):
        SuiteInfo(name="s", description="", endpoints={}, factors={}, seeds=(), planned=0, protocol="")
