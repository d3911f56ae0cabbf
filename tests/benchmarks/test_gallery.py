"""Models that train alone run through the same command: closed forms, surfaces, transfer, scenes, games."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

import recipebench
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.records import METRICS, SPLITS
from recipebench.benchmarks.store import is_time_column
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.training import why_alone
from recipebench.benchmarks.worker import measure

TINY_CNN = {"channels": [3], "kernel": 3, "padding": 1, "hidden": [7]}

SUITES: dict[str, dict[str, Any]] = {
    "closed form": {"matrix": {"model": [{"gaussian_classifier": {"covariance": "separate"}}]}},
    "counting": {"data": ["two_boxes"], "matrix": {"model": ["two_box_bayes"]}},
    "neighbors": {"data": ["iris"], "matrix": {"model": ["k_nearest_neighbors"]}},
    "scratch": {"matrix": {"model": [{"mlp_scratch": {"hidden": [7]}}]}},
    "perceptron": {"data": ["gates"], "matrix": {"model": ["perceptron"]}},
    "surface": {
        "data": [{"quadratic_toy": {"steps_per_epoch": 10}}],
        "matrix": {"model": ["point"], "optimizer": [{"sgd": {"lr": 0.01}}], "batch_size": [1]},
    },
    "transfer": {
        "matrix": {
            "model": [
                {"transfer_cnn": {"source": "digits", "pretrain_epochs": 1, "freeze": "features", **TINY_CNN}}
            ]
        }
    },
    "scenes": {
        "data": [{"digit_scenes": {"n": 30, "size": 48}}],
        "matrix": {"model": [{"rcnn": {"crop": 8}}], "optimizer": ["adam"], "batch_size": [8]},
    },
    "game": {
        "data": [{"catch": {"steps_per_epoch": 5}}],
        "matrix": {"model": ["dqn"], "optimizer": ["adam"]},
        "protocol": {"validation": 10},
    },
}


@cache
def cell_of(name: str) -> Cell:
    given = {"data": ["digits"], **SUITES[name]}
    protocol = {"epochs": 2, "validation": 0.1, **given.pop("protocol", {})}
    (cell,) = expand(load_suite({"name": "t", "seeds": 1, "protocol": protocol, **given}))
    return cell


def trained(cell: Cell) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    answer = measure([cell], None, lambda message: None)
    (record,) = answer["records"]
    return untimed(record), [untimed(row) for row in answer["history"]]


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not is_time_column(name)}


@pytest.mark.parametrize("name", SUITES)
def test_it_trains_alone_with_a_reason_and_is_recorded_like_any_other(name: str) -> None:
    cell = cell_of(name)

    record, history = trained(cell)

    assert why_alone(cell)
    assert record["status"] == "ok"
    expected = {f"{split}_{metric}" for split in SPLITS for metric in METRICS[cell.task]}
    assert expected <= set(record)
    assert expected | {"epoch", "lr"} <= set(history[0])
    assert all(isinstance(record[column], float) for column in expected)


@pytest.mark.parametrize("name", SUITES)
def test_it_gives_the_same_bits_again(name: str) -> None:
    assert trained(cell_of(name)) == trained(cell_of(name))


def test_a_closed_form_ends_after_one_pass() -> None:
    record, history = trained(cell_of("closed form"))

    assert (record["stopped_epoch"], record["best_epoch"], len(history)) == (1, 1, 2)
    assert history[1]["lr"] is None


def test_gradient_descent_on_the_parabola_is_the_closed_form() -> None:
    _, history = trained(cell_of("surface"))

    for row in history:  # w <- w - 0.01 (2 w - 20): the distance to 10 shrinks by 0.98 a step
        assert row["test_distance"] == pytest.approx(10 * 0.98 ** (10 * row["epoch"]), rel=1e-5)


def test_frozen_features_are_those_of_the_first_training() -> None:
    from recipebench.benchmarks.training import plain_module, train

    cell = cell_of("transfer")
    start = plain_module(cell, None).state_dict()
    end = train([cell], None)[0].track.module.state_dict()

    assert (start["network.conv_1.weight"] == end["network.conv_1.weight"]).all()
    assert not (start["network.output.weight"] == end["network.output.weight"]).all()


def test_a_report_is_written_where_every_cell_of_a_task_failed(tmp_path: Path) -> None:
    suite = {
        "name": "t",
        "data": ["moons", "curve"],
        "include": [
            {"data": "moons", "model": "two_box_bayes"},  # whose inputs are no colors of balls
            {"data": "curve", "model": "linear_regression"},
        ],
        "seeds": 1,
        "protocol": {"epochs": 1},
    }
    records = recipebench.run(suite, store=tmp_path, workers=1)

    assert dict(records["status"].value_counts()) == {"ok": 1, "failed": 1}
    assert "one-hot" in records.loc[records["status"] == "failed", "reason"].item()
