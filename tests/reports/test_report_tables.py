"""The tables against values worked by hand, and against plain loops over the records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats  # type: ignore[import-untyped]

from recipebench.levels import Choice
from recipebench.reports import choice, frames, tables
from recipebench.reports.suite_info import Endpoint, SuiteInfo

ACCURACY = Endpoint(column="test_accuracy", direction="higher", chance=0.1)


@pytest.fixture
def small() -> tuple[pd.DataFrame, SuiteInfo]:
    """Two factors of two levels and two seeds; one cell diverged, one failed."""
    scores = {
        ("a", "x"): (0.5, 0.7),
        ("a", "y"): (0.6, 0.8),
        ("b", "x"): (0.9, None),
        ("b", "y"): (0.7, "gap"),
    }
    rows = []
    for (first, second), seeds in scores.items():
        for seed, score in enumerate(seeds):
            status = (
                {None: "diverged", "gap": "failed"}.get(score, "ok") if not isinstance(score, float) else "ok"
            )
            rows.append(
                {
                    "cell_id": f"{first}{second}{seed}",
                    "data": "d",
                    "model": "mlp",
                    "first": first,
                    "second": second,
                    "seed": seed,
                    "status": status,
                    "reason": None if status == "ok" else f"step {seed}",
                    "epochs": 2,
                    "test_accuracy": score if isinstance(score, float) else None,
                    "validation_accuracy": 1 - score if isinstance(score, float) else None,
                }
            )
    levels = {"first": (Choice("a", {}), Choice("b", {})), "second": (Choice("x", {}), Choice("y", {}))}
    suite = SuiteInfo(
        name="s",
        description="",
        endpoints={"d": ACCURACY},
        factors=levels,
        seeds=(0, 1),
        planned=9,
        protocol="",
    )
    return frames.cells(pd.DataFrame(rows), suite), suite


def test_level_means_by_hand(small: tuple[pd.DataFrame, SuiteInfo]) -> None:
    found = tables.factor_means(small[0]).set_index(["factor", "level"])

    # a: seed means .55 and .75; b: .8 and, diverged at chance with the failed cell a gap, .1
    assert found.loc[("first", "a"), "mean"] == pytest.approx(0.65)
    assert found.loc[("first", "b"), "mean"] == pytest.approx(0.45)
    half = stats.t.ppf(0.975, 1) * np.std([0.55, 0.75], ddof=1) / np.sqrt(2) / (0.65 * 0.35)
    ends = [special.expit(special.logit(0.65) + sign * half) for sign in (-1, 1)]
    assert found.loc[("first", "a"), ["low", "high"]].tolist() == pytest.approx(ends)
    assert list(found.loc[("first", "b"), ["n", "cells", "diverged", "gaps", "partners"]]) == [
        2,
        3,
        1,
        1,
        2,
    ]
    assert found.loc[("second", "y"), "mean"] == pytest.approx((0.65 + 0.8) / 2)


def test_recipes_and_best_by_hand(small: tuple[pd.DataFrame, SuiteInfo]) -> None:
    cells, suite = small

    recipes = choice.with_choice(tables.recipes(cells), cells, {})
    best = tables.best(recipes, suite, count=2)

    assert recipes["mean"].tolist() == pytest.approx([0.6, 0.7, 0.5, 0.7])
    assert recipes["n"].tolist() == [2, 2, 2, 1]  # the last has a gap, so it cannot be among the best
    # Validation, here 1 - test, chooses; b + x diverged once, which counts at chance level.
    assert best[["place", "first", "second"]].values.tolist() == [[1, "a", "x"], [2, "a", "y"]]
    assert best["validation"].tolist() == pytest.approx([0.4, 0.3])


def test_best_follows_the_direction(small: tuple[pd.DataFrame, SuiteInfo]) -> None:
    cells, suite = small
    lower = replace(suite, endpoints={"d": replace(ACCURACY, direction="lower")})

    best = tables.best(choice.with_choice(tables.recipes(cells), cells, {}), lower)

    assert best["validation"].tolist() == pytest.approx([0.1, 0.3, 0.4])


def test_planned_is_the_sum_of_all_outcomes(small: tuple[pd.DataFrame, SuiteInfo]) -> None:
    found = tables.status_counts(*small).set_index("data")

    assert list(found.loc["d"]) == [8, 6, 1, 1, 0]
    assert list(found.loc[tables.UNRECORDED]) == [1, 0, 0, 0, 1]
    assert list(found.loc["all"]) == [9, 6, 1, 1, 1]


def test_outcomes_by_hand(small: tuple[pd.DataFrame, SuiteInfo]) -> None:
    found = tables.outcomes(small[0]).set_index(["factor", "level"])

    assert list(found.loc[("first", "b"), ["cells", "ok", "diverged", "failed", "missing"]]) == [
        4,
        2,
        1,
        1,
        0,
    ]
    assert found.loc[("first", "b"), "diverged_share"] == pytest.approx(1 / 3)


def test_spread_by_hand(small: tuple[pd.DataFrame, SuiteInfo]) -> None:
    found = tables.spreads(tables.factor_means(small[0]))

    assert found[["factor", "lowest", "highest"]].values.tolist() == [
        ["first", "b", "a"],
        ["second", "x", "y"],
    ]
    assert found["spread"].tolist() == pytest.approx([0.2, 0.725 - 0.55])


def test_level_means_equal_a_plain_loop(card: Any) -> None:
    cells = frames.cells(card.records, card.suite)

    found = tables.factor_means(cells)

    assert len(found) == 3 * (4 + 2 + 5 + 5)
    for _, row in found.iterrows():
        here = cells[(cells["data"] == row["data"]) & (cells[row["factor"]] == row["level"])]
        by_seed = [here.loc[here["seed"] == s, "score"].dropna().mean() for s in range(3)]
        mean, log = np.mean(by_seed), row["data"] == "synthetic_regression"
        center, slope = (np.log(mean), 1 / mean) if log else (special.logit(mean), 1 / (mean * (1 - mean)))
        ends = stats.t.interval(0.95, 2, center, slope * stats.sem(by_seed))
        low, high = (np.exp(end) if log else special.expit(end) for end in ends)
        assert row["mean"] == pytest.approx(mean, rel=1e-12)
        assert (row["low"], row["high"]) == (pytest.approx(low, rel=1e-9), pytest.approx(high, rel=1e-9))


def test_pair_means_average_the_same_cells(card: Any) -> None:
    cells = frames.cells(card.records, card.suite)

    found = tables.pair_means(cells, "activation", "initializer")

    assert len(found) == 3 * 4 * 2
    row = found[(found["data"] == "mnist") & (found["first"] == "relu") & (found["second"] == "he")].iloc[0]
    here = cells[
        (cells["data"] == "mnist") & (cells["activation"] == "relu") & (cells["initializer"] == "he")
    ]
    assert row["mean"] == pytest.approx(here.groupby("seed")["score"].mean().mean(), rel=1e-12)


def test_curves_end_at_the_records_last_values(make_card: Callable[..., Any]) -> None:
    card = make_card(data=("mnist",), troubled=False)
    cells = frames.cells(card.records, card.suite)

    values = frames.history_of(card.history, cells, "validation_accuracy")
    found = tables.curves(values, cells, "activation")

    last = found[(found["level"] == "relu") & (found["epoch"] == 10)].iloc[0]
    here = cells[cells["activation"] == "relu"]
    ends = card.history.sort_values("epoch").groupby("cell_id")["validation_accuracy"].last()
    by_seed = here.assign(end=here["cell_id"].map(ends)).groupby("seed")["end"].mean()
    assert last["mean"] == pytest.approx(by_seed.mean(), rel=1e-12)
    assert (last["n"], last["cells"]) == (3, len(here))
    assert found["epoch"].min() == 1


def test_reasons_are_grouped_and_bounded() -> None:
    reasons = (
        [f"step {i}" for i in range(5)] + [f"Traceback\nError {chr(97 + i)}" for i in range(26)] + [None]
    )
    cells = pd.DataFrame({"status": "failed", "reason": reasons})

    found = tables.reasons(cells, count=4)

    assert found["reason"].tolist() == ["step …", "Error a", "Error b", "other reasons"]
    assert found["cells"].tolist() == [5, 1, 1, 25]


def test_unbalanced_names_factors_whose_levels_met_other_partners(card: Any) -> None:
    records = card.records
    left_out = (records["activation"] == "maxout") & (records["initializer"] == "xavier")
    cells = frames.cells(records[~left_out & (records["data"] == "mnist")], card.suite)

    found = tables.unbalanced(cells)

    assert found.values.tolist() == [["mnist", "activation"], ["mnist", "initializer"]]


def test_unbalanced_tells_other_partners_from_as_many(card: Any) -> None:
    records = card.records
    pairs = [("sigmoid", "xavier"), ("relu", "xavier"), ("relu", "he"), ("maxout", "he")]
    kept = pd.Series(zip(records["activation"], records["initializer"], strict=True)).isin(pairs).to_numpy()
    cells = frames.cells(records[kept & (records["data"] == "mnist")], card.suite)

    means = tables.factor_means(cells).set_index("level")

    assert means.loc["xavier", "partners"] == means.loc["he", "partners"]
    assert ["mnist", "initializer"] in tables.unbalanced(cells).values.tolist()


def test_cost_counts_only_cells_that_ran(card: Any) -> None:
    found = tables.cost(frames.cells(card.records, card.suite)).set_index("data")

    ran = card.records[card.records["status"].isin(["ok", "diverged"]) & (card.records["data"] == "digits")]
    assert found.loc["digits", "cells"] == len(ran)
    assert found.loc["digits", "seconds"] == pytest.approx(ran["pack_seconds"].sum())
