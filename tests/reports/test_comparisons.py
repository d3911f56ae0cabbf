"""Paired effects, ranks, shares and profiles of frames of cells, against worked numbers and other routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats  # type: ignore[import-untyped]
from vega_lite_schema import valid

from recipebench.levels import Choice
from recipebench.reports import comparison_charts, comparison_views, comparisons, pairs, tables
from recipebench.reports.contents import Contents, contents
from recipebench.reports.statistics import inference
from recipebench.reports.statistics.ranks import rank
from recipebench.reports.suite_info import Endpoint, Targets

ACTIVATIONS = tuple(Choice(name, {}) for name in ("sigmoid", "relu", "tanh"))
FACTORS = {"activation": ACTIVATIONS, "initializer": (Choice("xavier", {}), Choice("he", {}))}
CRITERION = {
    "digits": Endpoint(column="validation_accuracy_at_best", direction="higher", chance=0.1),
    "synthetic_regression": Endpoint(column="validation_mse_at_best", direction="lower", chance=1.0),
}


@pytest.fixture(scope="module")
def troubled(card: Any) -> Contents:
    return contents(*card)


def _small(make_card: Callable[..., Any], **more: Any) -> Any:
    return make_card(
        **{"data": ("synthetic_regression", "digits"), "factors": FACTORS, "epochs": 6, "troubled": False}
        | more
    )


def test_effects_are_those_of_the_pairs_of_every_two_levels(troubled: Contents) -> None:
    found, cells = troubled.comparisons.effects, troubled.cells
    assert len(found) == 3 * (3 + 1 + 4 + 4)

    for _, row in found[found["factor"] == "regularizer"].iterrows():
        here = cells[cells["data"] == row["data"]]
        both = pairs.pairs(here, "regularizer", row["level"], row["reference"])
        blocks = both.blocks({row["data"]: "raw"})
        estimate = inference.over_seeds(blocks.differences)
        low, high = inference.interval(estimate)
        ours = row[["mean", "low", "high", "p"]].astype(float)
        theirs = [estimate.mean, low, high, inference.p_values(estimate)]
        np.testing.assert_allclose(ours, np.array(theirs, dtype=float), rtol=1e-10)
        counts = row[["pairs", "gaps", "diverged", "unpaired", "n"]].tolist()
        assert counts == [blocks.pairs, blocks.gaps, blocks.diverged, both.unpaired, 3]


def test_the_better_level_is_the_lower_one_where_lower_is_better(make_card: Callable[..., Any]) -> None:
    found = contents(*_small(make_card)).comparisons.effects

    relu = found[found["level"] == "relu"].set_index("data")
    assert relu.loc["digits", "mean"] > 0 > relu.loc["synthetic_regression", "mean"]
    assert relu["better"].tolist() == [1.0, 1.0]
    assert set(found["reference"]) == {"sigmoid", "xavier"}
    adjusted = stats.false_discovery_control(found["p"].astype(float))
    np.testing.assert_allclose(found["p_adjusted"], adjusted, atol=1e-12)


def test_a_level_that_meets_no_partner_of_the_reference_has_no_effect(make_card: Callable[..., Any]) -> None:
    card = _small(make_card)
    apart = (card.records["activation"] == "sigmoid") == (card.records["initializer"] == "he")
    records = card.records[apart].reset_index(drop=True)
    history = card.history[card.history["cell_id"].isin(records["cell_id"])]
    suite = replace(card.suite, planned=len(records))

    found = contents(records, history, suite, [])

    effects = found.comparisons.effects
    assert effects.loc[effects["level"] == "relu", "n"].tolist() == [0, 0]
    assert effects.loc[effects["level"] == "relu", "unpaired"].tolist() == [6, 6]
    assert effects.loc[effects["level"] == "relu", "mean"].isna().all()
    view = comparison_views.effects(found, "digits")
    assert view.rows[0].texts[:3] == ["relu", "–", "–"]
    told = comparison_views.unshared(found)
    assert [text.partition(" of the ")[0] for text in told] == [
        f"{label}: expected each" for label in ("synthetic_regression", "digits")
    ]
    ranked = {one.factor: one.reason for one in found.comparisons.rankings}
    assert "0 blocks in which all levels met the same partners" in ranked["activation"]


def test_ranks_over_blocks_by_another_route(make_card: Callable[..., Any]) -> None:
    found = contents(*_small(make_card))

    (activation,) = comparison_views.ranked(found)
    blocks = found.cells.groupby(["data", "seed", "activation"], observed=True)["score"].mean().unstack()
    signed = blocks * np.where(blocks.index.get_level_values("data") == "digits", 1, -1)[:, None]
    placed = rank(signed[list(activation.levels)].to_numpy())
    np.testing.assert_allclose(activation.ranks, placed.mean(axis=0), rtol=1e-12)
    assert activation.blocks == 6
    assert activation.data == ("synthetic_regression", "digits")
    assert comparison_views.unranked(found) == [
        "initializer (2 levels, of which ranks would say no more than paired effects)"
    ]


def test_optimizers_at_default_rates_and_too_few_blocks_are_not_ranked(
    troubled: Contents, make_card: Callable[..., Any]
) -> None:
    reasons = {one.factor: one.reason for one in troubled.comparisons.rankings}
    few = contents(*_small(make_card, seeds=2)).comparisons.rankings

    assert reasons["optimizer"] == "all at default rates"
    assert reasons["activation"] == ""
    assert few[0].reason.startswith("4 blocks in which all levels met the same partners; at least 5")


def test_shares_add_up_and_gaps_are_told_instead(troubled: Contents, make_card: Callable[..., Any]) -> None:
    whole = contents(*_small(make_card))

    shares = whole.comparisons.shares
    assert shares.groupby("data", sort=False)["omega2"].sum().tolist() == pytest.approx([1.0, 1.0])
    terms = ["activation", "initializer", "seed", "activation × initializer", "residual"]
    assert shares.loc[shares["data"] == "digits", "term"].tolist() == terms
    assert comparison_views.shares(whole).columns == ["term", "synthetic_regression", "digits"]
    assert "ω² = " in comparison_views.share_of_pair(whole, "digits", ("activation", "initializer"))
    assert troubled.comparisons.shares["omega2"].isna().all()
    assert all("without a value" in text for text in comparison_views.unshared(troubled))
    assert comparison_views.share_of_pair(troubled, "digits", ("activation", "initializer")) == ""


def test_profiles_count_every_problem_once(make_card: Callable[..., Any]) -> None:
    card = make_card(factors=FACTORS, data=tuple(CRITERION), epochs=6, seeds=8)
    suite = replace(card.suite, targets=Targets(share=0.95, criterion=CRITERION))

    found = contents(card.records, card.history, suite, [])

    activation, initializer = found.comparisons.profiles
    for one, partners in ((activation, 2), (initializer, 3)):
        assert one.costs.shape[1] + one.unsolved + one.incomplete == 2 * 8 * partners
        assert one.incomplete > 0
        rows = comparison_charts.profile_rows(one)
        solved = np.isfinite(one.costs).mean(axis=1)
        last = {row["level"]: row["share"] for row in rows}  # the last row of each level stays
        assert list(last.values()) == pytest.approx(solved.tolist(), rel=1e-4)
    reached = found.reached
    assert reached is not None
    sigmoid = reached[(reached["factor"] == "activation") & (reached["level"] == "sigmoid")]["reached"].sum()
    assert np.isfinite(activation.costs[0]).sum() <= sigmoid


def test_a_profile_of_worked_numbers() -> None:
    cells = pd.DataFrame({"seed": [0, 1, 2] * 2, "status": "ok"})
    cells["data"] = pd.Categorical(["digits"] * 6, ordered=True)
    cells["activation"] = pd.Categorical(["a"] * 3 + ["b"] * 3, ordered=True)
    epochs = pd.Series([1.0, 2.0, np.inf, 2.0, 1.0, 3.0])

    (found,) = comparisons.performance_profiles(cells, epochs)

    assert found.costs.tolist() == [[1.0, 2.0, np.inf], [2.0, 1.0, 3.0]]
    assert (found.unsolved, found.incomplete, found.last) == (0, 0, 2.0)
    np.testing.assert_allclose(found.areas, [1 / 3, 2 / 3])


def test_an_interaction_is_what_the_two_levels_do_not_explain(make_card: Callable[..., Any]) -> None:
    found = contents(*_small(make_card))
    means = found.pairs[("activation", "initializer")]
    here = means[means["data"] == "digits"]

    apart = comparisons.interaction(here)

    assert apart is not None
    wide = apart.astype({"first": object, "second": object}).pivot(
        index="first", columns="second", values="departure"
    )
    np.testing.assert_allclose(wide.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(wide.sum(axis=1), 0, atol=1e-12)
    assert comparisons.interaction(here.iloc[1:]) is None
    additive = tables.pair_means(found.cells.assign(score=1.0), "activation", "initializer")
    flat = comparisons.interaction(additive[additive["data"] == "digits"])
    assert flat is not None
    assert flat["departure"].abs().max() < 1e-12


def test_chart_definitions_are_valid_vega_lite() -> None:
    for chart in (
        comparison_charts.effects(["a"], "difference", (-1.0, 1.0)),
        comparison_charts.critical_difference(4),
        comparison_charts.variance(["a", "b"]),
        comparison_charts.profile(["a", "b"], 8.0),
        comparison_charts.departures(["a"], ["b"], ("first", "second")),
    ):
        assert valid(chart)["layer"]


def test_a_critical_difference_wider_than_all_ranks_says_so(make_card: Callable[..., Any]) -> None:
    (found,) = comparison_views.ranked(contents(*_small(make_card)))

    first = comparison_charts.critical_rows(found._replace(difference=9.0))[0]

    assert first["end"] == 3.0
    assert first["text"].endswith("9.00, more than all ranks")
