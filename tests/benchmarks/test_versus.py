"""`recipebench.compare`: two levels, tuned and paired, from the request to the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import recipebench as rb
from recipebench import plugins
from recipebench.benchmarks import executor
from recipebench.errors import RequestError
from recipebench.reports.statistics import inference
from recipebench.reports.versus import BESIDE, COMPARED

SMALL: dict[str, Any] = {
    "model": {"mlp": {"hidden": [8]}},
    "epochs": 2,
    "batch_size": 200,
    "seeds": 3,
    "trials": 3,
    "tuning_seeds": 1,
    "workers": 1,
    "quiet": True,
}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Momentum against Adam on digits, and the store."""
    store = tmp_path_factory.mktemp("versus") / "runs"
    return rb.compare("momentum", {"adam": {"beta1": 0.8}}, store=store, **SMALL), store


@pytest.fixture(autouse=True)
def without_plugins() -> Iterator[None]:
    yield
    plugins.unload()


def test_both_are_tuned_alike_on_seeds_of_their_own(tuned: Any) -> None:
    found, store = tuned
    records = rb.load(store, found.suite).records
    trials = records[records["role"] == "trial"]

    assert trials.groupby("optimizer").size().to_dict() == {"momentum": 3, "adam": 3}
    assert trials["seed"].min() >= 1_000_000
    assert set(found.records["seed"]) == {0, 1, 2}
    assert found.choices["level"].tolist() == ["momentum", "adam (beta1=0.8)"]
    rates = trials.groupby("optimizer")["optimizer.lr"].agg(["min", "max"])
    assert (rates["max"] / rates["min"] > 10).all()
    assert rates.loc["adam", "max"] <= 0.1


def test_the_verdict_is_of_the_tuned_cells_paired_by_seed(tuned: Any) -> None:
    found, _ = tuned
    rows = found.records[found.records["rates"] == COMPARED]
    wide = rows.pivot_table(index="seed", columns="level", values="test_accuracy_at_best")
    differences = (wide["momentum"] - wide["adam (beta1=0.8)"]).to_numpy(dtype=float)

    estimate = inference.over_seeds(differences[None, :])
    assert found.verdict.mean == pytest.approx(float(estimate.mean))
    np.testing.assert_allclose([found.verdict.low, found.verdict.high], inference.interval(estimate))
    assert found.verdict.claim.smallest == 0.005
    assert set(found.records["rates"]) == {COMPARED, BESIDE}


def test_it_is_said_in_sentences_with_its_limits(tuned: Any) -> None:
    found, _ = tuned
    text = str(found)

    for part in (
        "momentum is better than adam (beta1=0.8) by more than the smallest effect that matters, 0.50 points",
        "Optimizers compared with model mlp (hidden=[8]), 2 epochs, batches of 200.",
        "3 trials over 4 decades around the default, on 1 seed set aside for it, chosen by validation.",
        "digits has no official test set",
        "Validation chose optimizer.lr ",
    ):
        assert part in text
    assert found.verdict.word.capitalize() in text
    assert "<table" in found._repr_html_()


def test_nothing_is_trained_twice(tuned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found, store = tuned
    monkeypatch.setattr(executor, "COMMAND", ("/nowhere/worker",))

    again = rb.compare("momentum", {"adam": {"beta1": 0.8}}, store=store, **SMALL)
    back = rb.compare({"adam": {"beta1": 0.8}}, "momentum", store=store, **SMALL)

    pd.testing.assert_frame_equal(again.table, found.table)
    assert back.verdict.mean == pytest.approx(-found.verdict.mean)


def test_it_is_a_suite_like_any_other(tuned: Any, tmp_path: Path) -> None:
    found, store = tuned

    page = rb.report(found.suite, store=store, out=tmp_path / "report")

    assert "momentum_vs_adam" in page.read_text(encoding="utf-8")


def test_untuned_levels_of_another_factor_on_two_data_sets(tmp_path: Path) -> None:
    found = rb.compare(
        "none",
        {"dropout": {"p": 0.2}},
        factor="regularizer",
        data=["digits", {"synthetic_regression": {"n": 200}}],
        recipe={"optimizer": {"adam": {"lr": 0.01}}, "activation": "tanh"},
        smallest_effect={"digits": 0.02},
        store=tmp_path / "runs",
        **SMALL,
    )

    assert found.verdict.claim.smallest == 1.0  # in smallest effects
    assert found.setting.smallest == {"digits": 0.02, "synthetic_regression": 0.005}
    assert found.verdict.claim.blocks.differences.shape == (2, 3)
    assert "Learning rates as given." in str(found)
    assert set(found.records["activation"]) == {"tanh"}
    assert found.choices.empty
    assert set(found.table["rates"]) == {COMPARED}


OWN = """
from recipebench.plugins import optimizer
import torch

@optimizer
def steps(parameters, lr: float = 0.05):
    "Plain steps."
    return torch.optim.SGD(parameters, lr=lr)
"""


def own_sgd(parameters: Any, lr: float = 0.05) -> Any:
    """Plain steps, of this very module."""
    import torch

    return torch.optim.SGD(parameters, lr=lr)


def test_levels_of_a_function_and_of_a_file_and_a_rate_at_the_edge(tmp_path: Path) -> None:
    path = tmp_path / "my_levels.py"
    path.write_text(OWN)
    low = {"tune": {"low": 1e-3, "high": 0.2, "trials": 3}}

    found = rb.compare(
        {"steps": {"lr": low}},
        own_sgd,
        plugin=path,
        store=tmp_path / "runs",
        **{**SMALL, "model": "mlp", "batch_size": 50, "seeds": 2},
    )

    (written,) = (tmp_path / "runs" / "plugins").iterdir()
    files = found.records.groupby("optimizer")["plugins"].unique().map(list).to_dict()
    assert files["steps"][0].startswith("optimizer steps: my_levels.py, SHA-256 ")
    assert files["own_sgd"][0].startswith(f"optimizer own_sgd: {written.name}, SHA-256 ")
    assert found.choices.set_index("level").loc["steps", "edge"] == "high"
    assert found.verdict.word == "inconclusive"
    assert "is the highest that was tried: a better one may lie outside of the range." in str(found)
    assert "3 trials over 4 decades around the default or the range given" in str(found)


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        ("adm", "sgd", {}, "Unknown optimizer 'adm'. .* Did you mean 'adam'"),
        ("relu", "rleu", {}, "Unknown activation 'rleu'. .* Did you mean 'relu'"),
        ("xxx", "yyy", {}, "Unknown level 'xxx'"),
        (
            "relu",
            "adam",
            {},
            r"Expected two levels of one factor, got relu \(activation\) and adam \(optimizer\)",
        ),
        (
            "none",
            "none",
            {},
            "Levels of several factors: regularizer, augmentation. Say which one",
        ),
        ("adam", "adam", {}, "Expected two levels that differ, got optimizer adam twice"),
        ("adam", {"adam": {"beta1": 0.9}}, {}, "Expected two levels that differ"),
        ("adam", "sgd", {"factor": "optimiser"}, "Unknown factor 'optimiser'. .* Did you mean 'optimizer'"),
        ("adam", "sgd", {"factor": "activation"}, "Unknown activation 'adam'"),
        ("adam", 3, {}, "Expected the name of a level, or a function or class that makes one, got 3"),
        ({"adam": 1, "sgd": 2}, "sgd", {}, "Expected one name with its hyper-parameters"),
        ({"adam": 0.1}, "sgd", {}, "optimizer adam: expected hyper-parameters as a mapping, got 0.1"),
        ({"adam": {"lr": 0.1}}, "sgd", {}, "its learning rate is given, the other's would be tuned"),
        ({"adam": {"speed": 0.1}}, "sgd", {}, "Unknown hyper-parameter 'speed'"),
        ("relu", "tanh", {"model": "softmax_regression"}, "does not respond to activation: both levels give"),
        ("relu", "tanh", {"data": "digts"}, "Unknown data 'digts'"),
        (
            "relu",
            "tanh",
            {"seeds": [0, 1], "tuning_seeds": [1]},
            "seeds that the suite does not report on, got 1",
        ),
        ("relu", "tanh", {"seeds": 0}, "seeds"),
        ("relu", "tanh", {"epochs": 0}, "epochs"),
        ("relu", "tanh", {"trials": 0}, "trials"),
        (
            "relu",
            "tanh",
            {"recipe": {"activation": "relu"}},
            "expected other factors than activation",
        ),
        ("relu", "tanh", {"recipe": {"optimiser": "sgd"}}, "recipe: Unknown factor 'optimiser'"),
        ("relu", "tanh", {"recipe": {"optimizer": "sdg"}}, "Unknown optimizer 'sdg'"),
        (
            "relu",
            "tanh",
            {"recipe": {"optimizer": 3}},
            "optimizer: expected the name of a level, got 3",
        ),
        ("relu", "tanh", {"smallest_effect": -0.1}, "smallest_effect: expected a number of at least 0"),
        ("relu", "tanh", {"smallest_effect": {"mnist": 1}}, "Unknown data of this comparison 'mnist'"),
        ("point", "mlp", {"factor": "model", "data": "saddle"}, "is for classification and regression"),
        (own_sgd, own_sgd, {}, "Expected factor='optimizer' or another"),
        ("sgd", own_sgd, {"plugin": "nowhere.py"}, "plug-in nowhere.py"),
        (lambda parameters: parameters, "sgd", {}, "by %%writefile my_levels.py"),
        ("constant", own_sgd, {"factor": "schedule"}, "schedule: expected the name of a level"),
    ],
)
def test_a_wrong_request_is_refused_and_nothing_is_made(
    first: Any, second: Any, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=message):
        rb.compare(first, second, store=tmp_path / "runs", **{**SMALL, **options})

    assert not (tmp_path / "runs").exists()


def test_a_measure_without_a_default_asks_for_a_smallest_effect(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="distance has no default; expected a number for saddle"):
        rb.compare("sgd", "adam", data="saddle", store=tmp_path / "runs", **{**SMALL, "model": "point"})
