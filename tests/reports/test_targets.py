"""Epochs to a target: by a declared number or rule, misses beyond the last epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recipebench.errors import RequestError
from recipebench.reports.contents import contents
from recipebench.reports.suite_info import Endpoint, SuiteInfo, Targets
from recipebench.reports.targets import first_epochs, time_to_target

GOAL = Endpoint(column="validation_accuracy_at_best", direction="higher", chance=0.1)
STATUSES = ["ok", "ok", "ok", "diverged", "failed", "ok"]
CURVES = {
    "a": [0.1, 0.5, 0.8, 0.9],  # reaches .8 in epoch 2
    "b": [0.9, 0.2, 0.3, 0.4],  # only untrained: never
    "c": [0.1, 0.9],  # in epoch 1, then it stopped early
    "d": [0.1, 0.9, 0.95],  # reached it, then diverged
    "e": [0.1],
    "f": [0.1, 0.2, 0.79, 0.8],  # in epoch 3
}


def _made(targets: Targets) -> tuple[pd.DataFrame, pd.DataFrame, SuiteInfo]:
    records = pd.DataFrame(
        {
            "cell_id": list(CURVES),
            "data": "digits",
            "optimizer": ["sgd", "sgd", "adam", "adam", "adam", "adam"],
            "model": "mlp",
            "seed": [0, 1, 0, 1, 2, 3],
            "status": STATUSES,
            "reason": None,
            "epochs": 3,
            "validation_accuracy_at_best": [0.9, 0.4, 0.9, None, None, 0.8],
            "test_accuracy_at_best": [0.8, 0.4, 0.8, None, None, 0.8],
        }
    )
    parts = [
        pd.DataFrame({"cell_id": cell, "epoch": range(len(curve)), "validation_accuracy": curve})
        for cell, curve in CURVES.items()
    ]
    history = pd.concat(parts, ignore_index=True)
    for column in ("train_accuracy", "train_loss", "validation_loss"):
        history[column] = 0.5
    suite = SuiteInfo(
        name="s",
        description="",
        endpoints={"digits": replace(GOAL, column="test_accuracy_at_best")},
        factors={},
        seeds=(0, 1, 2, 3),
        planned=6,
        protocol="",
        targets=targets,
    )
    suite = replace(suite, factors={"optimizer": ()})
    return records, history, suite


def _reached(targets: Targets) -> pd.DataFrame:
    found = contents(*_made(targets), []).reached
    assert found is not None
    return found.set_index("level")


def test_misses_are_beyond_the_last_epoch_and_gaps_are_left_out() -> None:
    found = _reached(Targets(values={"digits": 0.8}, criterion={"digits": GOAL}))

    sgd, adam = found.loc["sgd"], found.loc["adam"]
    assert sgd[["target", "cells", "reached", "gaps"]].tolist() == [0.8, 2, 1, 0]
    assert sgd["median_epochs"] == 2  # half of two cells have reached it by then
    assert adam[["cells", "reached", "gaps"]].tolist() == [3, 2, 1]
    assert adam["median_epochs"] == 3  # of 1, 3 and never
    assert adam["last_epoch"] == 3


def test_a_median_that_was_never_reached_is_infinite() -> None:
    found = _reached(Targets(values={"digits": 0.85}, criterion={"digits": GOAL}))

    assert found.loc["adam", "reached"] == 1
    assert np.isinf(found.loc["adam", "median_epochs"])


def test_the_rule_takes_the_best_mean_of_a_recipe_over_its_seeds() -> None:
    found = _reached(Targets(share=0.5, criterion={"digits": GOAL}))

    # adam has most seeds: (.9 + .1 for the diverged one + .8)/3 = .6; chance + (.6 - .1)/2 = .35
    assert found["target"].tolist() == pytest.approx([0.35, 0.35])
    assert found.loc["sgd", "reached"] == 2


def test_less_is_better_is_reached_from_above() -> None:
    records, history, suite = _made(Targets(values={"digits": 0.2}, criterion={"digits": GOAL}))
    low = replace(GOAL, column="validation_mse_at_best", direction="lower", chance=1.0)
    cells = contents(records, history, suite, []).cells
    history = history.assign(validation_mse=1 - history["validation_accuracy"])

    found = first_epochs(history, cells, 0.2, low)

    by_cell = dict(zip(cells["cell_id"], found, strict=True))
    assert by_cell["a"] == 2
    assert by_cell["c"] == 1
    assert np.isinf([by_cell["b"], by_cell["d"]]).all()
    assert np.isnan(by_cell["e"])


def test_without_a_chance_level_the_rule_gives_no_target() -> None:
    unknown = replace(GOAL, chance=float("nan"))

    assert _reached(Targets(share=0.5, criterion={"digits": unknown})).empty


def test_targets_that_make_no_sense_are_refused() -> None:
    for share in (0.0, 1.5):
        with pytest.raises(RequestError, match="share above 0 and at most 1"):
            Targets(share=share, criterion={"digits": GOAL})
    with pytest.raises(RequestError, match="finite number for digits"):
        Targets(values={"digits": float("nan")}, criterion={"digits": GOAL})
    with pytest.raises(RequestError, match=r"Unknown data set 'digit'.*Did you mean 'digits'"):
        Targets(values={"digit": 0.5}, criterion={"digits": GOAL})
    records, history, suite = _made(Targets(values={"digits": 0.5}, criterion={"digits": GOAL}))
    with pytest.raises(RequestError, match="Unknown column 'validation_accuracy'"):
        time_to_target(
            records,
            history.drop(columns="validation_accuracy"),
            contents(records, history, suite, []).cells,
            suite.targets,
            suite,  # type: ignore[arg-type]
        )


def test_tuned_cells_reach_it_and_share_histories(make_tuned: Callable[..., Any]) -> None:
    criterion = dict.fromkeys(("digits", "mnist"), GOAL)
    made = make_tuned(targets=Targets(share=0.9, criterion=criterion))

    found = contents(*made).reached
    assert found is not None
    digits = found[(found["data"] == "digits") & (found["factor"] == "optimizer")].set_index("level")

    # best .95 + .001 (seeds 0, 1, 2): the target is .1 + .9 (.951 - .1); it is reached at 3/4 + of the way
    assert digits["target"].iloc[0] == pytest.approx(0.1 + 0.9 * 0.851)
    assert digits["reached"].to_dict() == {"sgd": 0, "sgd (tuned lr)": 6, "adam": 6, "adam (tuned lr)": 6}
    assert digits["median_epochs"].tolist()[1:] == [3, 3, 3]
