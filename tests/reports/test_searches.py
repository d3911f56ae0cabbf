"""The tables of tuning against a planted optimum and values worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recipebench.levels import Choice, Tuned
from recipebench.reports import frames, searches
from recipebench.reports.contents import contents
from recipebench.reports.suite_info import Endpoint, Range, Space

JOINT = (Tuned("adam", {"beta1": 0.9}, {"lr": None}), Tuned("adam", {}, {"beta1": None, "lr": None}))


def _found(made: Any) -> searches.Searches:
    found = contents(*made).searches
    assert found is not None
    return found


def _mirrored(made: Any) -> Any:
    """The same suite judged by the error, of which less is better."""
    records = made.records.copy()
    for split in ("validation", "test"):
        records[f"{split}_mse_at_best"] = 1 - records.pop(f"{split}_accuracy_at_best")
    history = made.history.assign(
        **{f"{s}_mse": 1 - made.history[f"{s}_accuracy"] for s in ("train", "validation")}
    )
    goal = Endpoint(column="test_mse_at_best", direction="lower", chance=0.9)
    by = replace(goal, column="validation_mse_at_best")
    data = list(made.suite.endpoints)
    tuning = replace(made.suite.tuning, criterion=dict.fromkeys(data, by))
    suite = replace(made.suite, endpoints=dict.fromkeys(data, goal), tuning=tuning)
    return made._replace(records=records, history=history, suite=suite)


def test_tuned_levels_are_labels_of_their_own(tuned: Any) -> None:
    cells = frames.cells(tuned.records, tuned.suite)

    assert frames.levels(cells, "optimizer") == ["sgd", "sgd (tuned lr)", "adam", "adam (tuned lr)"]
    assert frames.tuned_factors(cells) == ["optimizer"]
    assert frames.untuned_optimizers(frames.reported(cells), tuned.suite) == {"sgd", "adam"}
    assert frames.rates(frames.reported(cells), tuned.suite) == "mixed"


def test_other_hyper_parameters_stay_in_the_label_of_a_tuned_level() -> None:
    records = pd.DataFrame(
        {
            "role": "report",
            "o": ["sgd"] * 4,
            "o.lr": [0.1, 0.2, 0.3, 0.1],
            "o.momentum": [0.0, 0.0, 0.9, 0.0],
            "o.tuned": ["lr", "lr", "lr", None],
        }
    )

    found = frames.labels(records, "o", [Tuned("sgd", {"momentum": 0.9}, {"lr": None})])

    plain, heavy = "sgd (tuned lr; momentum=0)", "sgd (tuned lr; momentum=0.9)"
    assert list(found) == [plain, plain, heavy, "sgd (momentum=0)"]
    assert next(iter(found.cat.categories)) == heavy
    assert frames.named(records, "o", [])[plain] == ("sgd", {"momentum": 0.0}, "lr")


def test_only_reported_cells_have_scores_and_are_counted_in_the_means(tuned: Any) -> None:
    found = contents(*tuned)

    trials = found.everything[found.everything["role"] == "trial"]
    assert trials["score"].isna().all()
    assert len(found.everything) == 192
    assert len(found.cells) == 2 * 2 * 4 * 3
    assert found.counts.iloc[-1]["planned"] == 192
    assert found.means.loc[found.means["factor"] == "optimizer", "cells"].tolist() == [6] * 8
    assert "192 training runs (cells)" in found.headline.lines[0]
    assert "144 of them trials of 8 searches on 2 seeds of their own" in found.headline.lines[0]


def test_tuned_and_default_are_compared_pair_by_pair(tuned: Any) -> None:
    records = tuned.records.copy()
    mine = (records["search"] == "0000000000000001") & (records["role"] == "report")
    records.loc[mine, "test_accuracy_at_best"] = [0.84, 0.95, 1.05]  # .1, .209 and .308 above the default's

    found = _found(tuned._replace(records=records)).against_default
    row = found.iloc[0]

    # relu and sigmoid are averaged inside a seed: (.1 + .2)/2, (.209 + .2)/2, (.308 + .2)/2, then over seeds.
    default = np.array([0.74, 0.741, 0.742]) - 0.005
    gains = np.array([(0.1 + 0.2) / 2, (0.209 + 0.2) / 2, (0.308 + 0.2) / 2])
    half = 4.302653 * gains.std(ddof=1) / np.sqrt(3)
    assert row[["data", "level", "default"]].tolist() == ["digits", "sgd (tuned lr)", "sgd"]
    assert row["difference_mean"] == pytest.approx(gains.mean())
    assert row["difference_low"] == pytest.approx(gains.mean() - half, abs=1e-6)
    assert row["default_mean"] == pytest.approx(default.mean())
    assert row["tuned_mean"] == pytest.approx(default.mean() + gains.mean())
    assert row[["n", "pairs", "lacking"]].tolist() == [3, 6, 0]
    assert found["level"].tolist() == ["sgd (tuned lr)", "adam (tuned lr)"] * 2
    assert found["difference_mean"].iloc[[1, 3]].tolist() == [0, 0]  # adam's default is its optimum


def test_a_pair_of_which_a_cell_is_lacking_counts_in_neither_mean(make_tuned: Callable[..., Any]) -> None:
    found = _found(make_tuned(unfinished=1)).against_default.iloc[0]

    assert found[["n", "pairs", "lacking"]].tolist() == [3, 3, 3]
    assert found["default_mean"] == pytest.approx(0.741 - 0.01)  # sigmoid's cells alone
    assert found["difference_mean"] == pytest.approx(0.2)


def test_levels_are_compared_with_defaults_of_the_same_other_hyper_parameters(
    make_tuned: Callable[..., Any],
) -> None:
    levels = (
        Choice("adam", {"lr": 0.001, "beta1": 0.9}),
        Choice("adam", {"lr": 0.1, "beta1": 0.9}),
        Choice("adam", {"lr": 0.001, "beta1": 0.5}),
        *JOINT,
    )
    made = make_tuned(levels=levels, betas=(0.8, 0.9, 0.95), data=("digits",))

    found = _found(made).against_default

    nine, rate, five = "adam (lr=0.001, beta1=0.9)", "adam (lr=0.1, beta1=0.9)", "adam (lr=0.001, beta1=0.5)"
    assert found.loc[found["level"] == "adam (tuned lr; beta1=0.9)", "default"].tolist() == [nine, rate]
    assert found.loc[found["level"] == "adam (tuned beta1, lr)", "default"].tolist() == [nine, rate, five]


def test_the_planted_optimum_and_its_width_are_found(tuned: Any) -> None:
    found = _found(tuned).chosen.set_index("search")

    assert found["value"].tolist() == [0.1, 0.001] * 4
    assert found["edge"].tolist() == ["none"] * 8
    # Half a decade away .0125 is lost; the tolerance is reached at that share of it, on both sides.
    digits, mnist = found.loc["0000000000000001"], found.loc["0000000000000005"]
    assert digits["tolerance"] == pytest.approx(0.01 * (0.9535 - 0.1), abs=1e-5)
    assert digits["width"] == pytest.approx(digits["tolerance"] / 0.0125)
    assert mnist["tolerance"] == 0.002  # declared
    assert mnist["width"] == pytest.approx(0.002 / 0.0125)
    assert mnist["share"] == pytest.approx(0.16 / 4)
    assert mnist[["unit", "open"]].tolist() == ["decades", False]
    assert digits["diverged"] == pytest.approx(1 / 9)
    assert found.loc["0000000000000002", "diverged"] == 0


def test_optima_at_an_edge_and_unfinished_searches_are_told(make_tuned: Callable[..., Any]) -> None:
    made = make_tuned(optima={"sgd": 1e-5, "adam": 10.0}, unfinished=1)

    found = _found(made).chosen

    assert found["edge"].tolist() == ["", "high", *["low", "high"] * 3]
    assert np.isnan(found["value"].iloc[0])
    assert found["open"].tolist()[1:] == [True] * 7
    assert searches.edge(pd.Series([0.1, 0.1]), 0.1) == "both"


def test_several_hyper_parameters_have_edges_of_their_own_and_no_width(
    make_tuned: Callable[..., Any],
) -> None:
    made = make_tuned(levels=JOINT, betas=(0.9, 0.95, 0.99), data=("digits",), activations=("relu",))

    found = _found(made)
    joint = found.chosen[found.chosen["level"] == "adam (tuned beta1, lr)"].set_index("hyper_parameter")

    assert joint.loc["optimizer.beta1", ["value", "edge"]].tolist() == [0.9, "low"]
    assert joint.loc["optimizer.lr", ["value", "edge"]].tolist() == [0.001, "none"]
    assert joint["width"].isna().all()
    both = found.sensitivity[found.sensitivity["dimensions"] == 2]
    assert both.groupby("hyper_parameter").size().to_dict() == {"optimizer.beta1": 27, "optimizer.lr": 27}
    curves = searches.sensitivity_curves(found.sensitivity)
    assert not curves.loc[curves["level"] == "adam (tuned beta1, lr)", "line"].any()
    assert curves.loc[curves["level"] == "adam (tuned lr)", "line"].all()


def test_the_width_of_decay_rates_is_told_in_decades_of_their_distance_from_one(tuned: Any) -> None:
    space = Space(
        factor="o",
        level="ema",
        tuned="decay",
        ranges={"decay": Range(low=0.9, high=0.999, scale="one_minus_log")},
    )
    trials = pd.DataFrame(
        {"data": "digits", "search": "a", "factor": "o", "level": "ema (tuned decay)"}, index=range(3)
    )
    trials["o"] = pd.Categorical(["ema (tuned decay)"] * 3)
    trials = trials.assign(tuned=[("o.decay",)] * 3, finished=True, diverged=0, chosen=[False, True, False])
    trials = trials.assign(**{"o.decay": [0.9, 0.99, 0.999]}, score=[0.7, 0.9, 0.8])
    levels = {"o": {"ema (tuned decay)": frames.Named("ema", {}, "decay")}}
    suite = replace(tuned.suite, smallest_effect={"digits": 0.1})

    found = searches.chosen_values(trials, levels, replace(tuned.suite.tuning, spaces=(space,)), suite).iloc[
        0
    ]

    assert found["width"] == pytest.approx(0.5 + 1)  # half of the decade up to .9, all of it up to .999
    assert found[["unit", "open"]].tolist() == ["decades of 1 - x", True]


def test_sensitivity_holds_every_trial_and_averages_over_searches(tuned: Any) -> None:
    found = _found(tuned).sensitivity

    assert len(found) == 8 * 9
    first = found[found["search"] == "0000000000000001"]
    assert first["score"].tolist()[:3] == pytest.approx([0.503, 0.6405, 0.753])
    assert first[["n", "diverged"]].iloc[-1].tolist() == [2, 2]
    assert first["score"].iloc[-1] == 0.1  # chance
    curves = searches.sensitivity_curves(found)
    top = curves[(curves["data"] == "digits") & (curves["level"] == "sgd (tuned lr)")]
    assert top["mean"].iloc[6] == pytest.approx(0.9535 - 0.005 - 0.0005)
    assert top[["searches", "trials", "diverged"]].iloc[-1].tolist() == [2, 2, 2]


def test_values_that_not_every_search_tried_are_single_points(make_tuned: Callable[..., Any]) -> None:
    curves = searches.sensitivity_curves(_found(make_tuned(unfinished=1, data=("digits",))).sensitivity)

    single = curves[~curves["line"]]
    assert single[["level", "value", "searches"]].to_numpy().tolist() == [["sgd (tuned lr)", 1.0, 1]]


def test_expected_best_is_the_mean_over_subsets_averaged_over_searches(tuned: Any) -> None:
    found = _found(tuned)
    best = found.best_of_k
    scores = found.trials[(found.trials["data"] == "mnist") & (found.trials["level"] == "adam (tuned lr)")]

    subsets = [
        np.mean([max(s) for s in combinations(group["score"], 3)]) for _, group in scores.groupby("search")
    ]
    mine = best[(best["data"] == "mnist") & (best["level"] == "adam (tuned lr)")].set_index("k")
    assert mine.loc[3, "expected_best"] == pytest.approx(np.mean(subsets))
    assert mine.loc[9, "expected_best"] == pytest.approx(scores.groupby("search")["score"].max().mean())
    assert mine["searches"].tolist() == [2] * 9


def test_ranks_are_over_data_sets_on_which_all_levels_have_as_many_searches(
    tuned: Any, make_tuned: Callable[..., Any]
) -> None:
    found = _found(tuned).ranks

    assert found.loc[found["k"] == 1, "mean_rank"].tolist() == [2, 1]  # sgd has a diverged trial
    assert found.loc[found["k"] == 9, "mean_rank"].tolist() == [1.5, 1.5]  # both reach the same height
    assert set(found["data_sets"]) == {2}
    assert set(_found(make_tuned(unfinished=1)).ranks["data_sets"]) == {1}
    assert _found(make_tuned(levels=(Tuned("sgd", {}, {"lr": None}),))).ranks.empty


def test_less_is_better_gives_the_same_choices_and_ranks(tuned: Any) -> None:
    found, mirrored = _found(tuned), _found(_mirrored(tuned))

    pd.testing.assert_frame_equal(found.ranks, mirrored.ranks)
    names = ["value", "edge", "width", "share", "open"]
    pd.testing.assert_frame_equal(found.chosen[names], mirrored.chosen[names])
    assert mirrored.best_of_k["expected_best"].tolist() == pytest.approx(1 - found.best_of_k["expected_best"])
    apart = mirrored.against_default["difference_mean"]
    assert apart.tolist() == pytest.approx(-found.against_default["difference_mean"])


def test_the_cost_adds_up_and_counts_shared_cells_once(make_tuned: Callable[..., Any]) -> None:
    made = make_tuned(
        levels=(Choice("adam", {"lr": 0.001, "beta1": 0.9}), *JOINT), betas=(0.9,), data=("digits",)
    )
    cost = _found(made).cost.set_index("level")

    # One value of beta1: both levels try the same 9 rates for 2 activations on 2 seeds, of 2 s each.
    assert made.records["cell_id"].duplicated().any()
    for level in ("adam (tuned lr)", "adam (tuned beta1, lr)"):
        assert cost.loc[level, ["searches", "trials", "cells", "seconds"]].tolist() == [2, 18, 36, 72]
    assert cost.loc["all searches", ["searches", "trials", "cells", "seconds"]].tolist() == [4, 36, 36, 72]
    reported = cost.loc["reported cells"]
    assert reported[["searches", "trials", "cells", "seconds"]].tolist() == [
        0,
        0,
        6,
        12,
    ]  # three times the same
    assert cost.loc["all searches", "share"] + reported["share"] == pytest.approx(1)


def test_the_order_of_the_records_leaves_no_trace(tuned: Any) -> None:
    shuffled = tuned._replace(records=tuned.records.sample(frac=1, random_state=2))

    first, second = _found(tuned), _found(shuffled)

    for name in ("trials", "against_default", "chosen", "sensitivity", "best_of_k", "ranks", "cost"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
