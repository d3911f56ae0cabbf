"""The diagnosis on the cases of the lecture, and what it makes of mixed, averaged and broken records."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recipebench.errors import RequestError
from recipebench.reports.statistics.diagnosis import ADVICE, diagnose, errors, high, larger

CASES = [
    # train error, validation error, achievable, bias, variance, high, dominates
    (0.01, 0.11, 0.0, 0.01, 0.10, "variance", "variance"),
    (0.15, 0.16, 0.0, 0.15, 0.01, "bias", "bias"),
    (0.15, 0.30, 0.0, 0.15, 0.15, "both", "equal"),
    (0.005, 0.01, 0.0, 0.005, 0.005, "neither", "equal"),
    (0.15, 0.16, 0.15, 0.0, 0.01, "neither", "variance"),
]


def of(train: list[float], validation: list[float], **columns: Any) -> pd.DataFrame:
    accuracies = {"train_accuracy": 1 - np.array(train), "validation_accuracy": 1 - np.array(validation)}
    return pd.DataFrame(columns | accuracies)


@pytest.mark.parametrize(
    ("train", "validation", "achievable", "bias", "variance", "what", "dominates"), CASES
)
def test_the_cats_of_the_lecture(
    train: float,
    validation: float,
    achievable: float,
    bias: float,
    variance: float,
    what: str,
    dominates: str,
) -> None:
    found = diagnose(of([train], [validation]), achievable=achievable).iloc[0]

    assert (found["bias"], found["variance"]) == (bias, variance)
    assert (found["high"], found["dominates"]) == (what, dominates)
    assert found["advice"] == ADVICE[what]
    assert found["n"] == 1


def test_the_advice_is_that_of_the_recipe() -> None:
    assert all(word in ADVICE["bias"] for word in ("bigger network", "train longer", "optimizer"))
    assert all(
        word in ADVICE["variance"] for word in ("more data", "regularize", "dropout", "early stopping")
    )
    assert ADVICE["both"].index("bigger network") < ADVICE["both"].index("more data")


def test_regression_is_judged_by_the_share_of_variance() -> None:
    records = pd.DataFrame({"train_mse": [0.01, 0.4], "validation_mse": [0.5, 0.41]})

    found = diagnose(records)

    assert found["bias"].tolist() == [0.01, 0.4]
    assert found["variance"].tolist() == [0.49, 0.01]
    assert found["high"].tolist() == ["variance", "bias"]


def test_tasks_may_be_mixed_and_errors_lacking() -> None:
    records = pd.DataFrame(
        {
            "data": ["digits", "line", "digits"],
            "train_accuracy": [0.9, None, None],
            "validation_accuracy": [0.8, None, 0.7],
            "train_mse": [None, 0.3, None],
            "validation_mse": [None, 0.2, None],
        },
        index=[7, 3, 5],
    )

    found = diagnose(records, achievable={"digits": 0.1, "line": 0.25})

    assert found.index.tolist() == [7, 3, 5]
    assert found["bias"].tolist()[:2] == [0.0, 0.05]
    assert found["variance"].tolist()[:2] == [0.1, -0.1]
    assert found["high"].tolist() == ["variance", "bias", None]
    assert found["dominates"].tolist() == ["variance", "bias", None]
    assert found["advice"].tolist()[2] is None
    assert found["n"].tolist() == [1, 1, 0]
    assert math.isnan(found["validation_error"].tolist()[2])


def test_seeds_are_averaged_before_they_are_judged() -> None:
    nan = float("nan")
    records = of(
        [0.00, 0.03, 0.2, 0.2, nan],
        [0.01, 0.06, 0.2, 0.3, 0.5],
        data=["digits"] * 5,
        optimizer=["sgd", "sgd", "adam", "adam", "adam"],
        seed=[0, 1, 0, 1, 2],
    )

    found = diagnose(records, by=["data", "optimizer"], achievable={"digits": 0.0})

    assert found[["data", "optimizer"]].values.tolist() == [["digits", "sgd"], ["digits", "adam"]]
    assert found["n"].tolist() == [2, 2]
    assert found["bias"].tolist() == [0.015, 0.2]
    assert found["variance"].tolist() == [0.02, 0.05]
    assert found["high"].tolist() == ["neither", "both"]


def test_records_as_they_are_written(make_card: Callable[..., Any]) -> None:
    made = make_card(seeds=2)

    last, best = diagnose(made.records), diagnose(made.records, when="_at_best")

    ok = (made.records["status"] == "ok").to_numpy()
    assert last["high"].notna().tolist() == best["high"].notna().tolist() == ok.tolist()
    total = best["achievable"] + best["bias"] + best["variance"]
    expected = errors(made.records, "validation", when="_at_best")
    np.testing.assert_allclose(total[ok], expected[ok], atol=1e-11)
    assert not last["bias"].equals(best["bias"])


def test_the_border_itself_is_not_high() -> None:
    assert high(0.02, 0.02) == "neither"
    assert high(0.02, 0.0201) == "variance"
    assert high(0.04, -0.5, large=0.03) == "bias"
    assert larger(-0.1, -0.2) == "bias"


def test_nothing_in_gives_nothing_out() -> None:
    assert diagnose(of([], [])).empty
    assert diagnose(of([], [], data=[]), by=["data"]).empty


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"achievable": 1.0}, "achievable: expected a number of at least 0 and below 1, got 1.0"),
        ({"achievable": -0.1}, "achievable: expected a number of at least 0"),
        ({"achievable": float("nan")}, "achievable: expected a number .* got nan"),
        ({"achievable": {"mnist": 0.1}}, "expected a number for every data set, got none for 'digits'"),
        ({"achievable": {"digits": 2}}, "achievable: digits: expected a number"),
        ({"large": "much"}, "large: expected a number .* got 'much'"),
        ({"by": ["optimiser"]}, "Unknown column 'optimiser'.*Did you mean 'optimizer'"),
        ({"when": "_at_bets"}, "Unknown column 'train_accuracy_at_bets'"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], text: str) -> None:
    records = of([0.1], [0.2], data=["digits"], optimizer=["sgd"])

    with pytest.raises(RequestError, match=text):
        diagnose(records, **options)


def test_no_torch_is_imported() -> None:
    code = "import sys, recipebench.reports.statistics.diagnosis; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
