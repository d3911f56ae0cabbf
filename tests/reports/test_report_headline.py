"""Every number of the headline stands in a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats  # type: ignore[import-untyped]

from recipebench.reports import headline, tables, verdict_words, wording
from recipebench.reports.contents import Contents, contents
from recipebench.reports.statistics.variance import variance_shares


@pytest.fixture(scope="module")
def made(card: Any) -> Contents:
    return contents(*card)


def test_first_sentence_counts_every_planned_cell(made: Contents) -> None:
    total = made.counts.iloc[-1]

    expected = (
        f"1,800 training runs (cells) planned on 3 data sets with 3 seeds: {total['ok']:,} ok + "
        f"{total['diverged']} diverged + {total['failed']} failed + {total['missing']} missing."
    )
    assert made.headline.lines[0] == expected


def test_each_data_set_tells_what_validation_chose_its_lead_and_what_mattered(made: Contents) -> None:
    assert len(made.headline.lines) == 2 + 3 + 1

    for label, sentence in zip(made.data, made.headline.lines[2:5], strict=True):
        known = made.recipes[(made.recipes["data"] == label) & (made.recipes["n"] == 3)]
        first, second = known.sort_values("validation", ascending=label == "synthetic_regression").index[:2]
        top, next_best = made.recipes.loc[first], made.recipes.loc[second]
        measure = made.suite.endpoints[label].measure
        ahead = top["mean"] - next_best["mean"]
        for part in (
            f"On {label} validation chooses ",
            wording.with_unit(top["mean"], measure),
            wording.interval(top["low"], top["high"], measure),
            " + ".join(wording.level_name(f, top[f]) for f in made.factors),
            "each optimizer at its default rate",
            " + ".join(wording.level_name(f, next_best[f]) for f in made.factors),
            wording.difference(-ahead if label == "synthetic_regression" else ahead, measure),
            "put to no registered test",
        ):
            assert part in sentence
    assert "chosen by its validation score and reported on the same seeds" in made.headline.lines[1]
    assert made.headline.lines[-1] == verdict_words.NONE_REGISTERED


def test_what_was_chosen_with_a_blemish_is_told_with_it(made: Contents) -> None:
    ranked = tables.ranked(made.recipes, made.suite)
    mine = ranked[ranked["data"] == "mnist"].reset_index(drop=True)
    diverged = mine.assign(diverged=[2, *[0] * (len(mine) - 1)])
    alike = mine.assign(validation=mine["validation"].where(mine.index > 2, mine["validation"][0]))
    fewer = made.recipes.assign(n=[1, 1, *[3] * (len(made.recipes) - 2)])

    plain, lost, tied = (headline.what_won(x, made.factors, made.suite) for x in (mine, diverged, alike))

    assert len(plain) == 2
    assert lost[1] == "2 runs of it diverged and count at chance level."
    assert tied[1] == "3 recipes share the best validation score; this is the first of them as declared."
    assert headline.left_out(fewer) == ["2 recipes with fewer seeds could not be chosen."]
    assert headline.left_out(mine) == []


def test_the_lead_is_a_paired_interval_over_seeds(made: Contents) -> None:
    ranked = tables.ranked(made.recipes, made.suite)
    one, two = (ranked[ranked["data"] == "mnist"].iloc[i] for i in (0, 1))
    cells = made.cells[made.cells["data"] == "mnist"]

    def scores(recipe: Any) -> Any:
        here = cells[(cells[made.factors] == recipe[made.factors]).all(axis=1)]
        return here.sort_values("seed")["score"].to_numpy()

    mean, low, high = headline.lead(two, made.suite)

    found = stats.ttest_1samp(scores(one) - scores(two), 0.0).confidence_interval(0.95)
    assert (low, high) == (pytest.approx(found.low), pytest.approx(found.high))
    assert mean == pytest.approx((found.low + found.high) / 2)


def test_the_test_endpoint_chooses_nothing(card: Any) -> None:
    records = card.records.copy()
    records["test_accuracy_at_best"] = 1 - records["test_accuracy_at_best"]
    records["test_mse_at_best"] = 1 / records["test_mse_at_best"]

    ours, other = (contents(frame, card.history, card.suite, []) for frame in (card.records, records))

    columns = ["data", "place", *ours.factors, "validation"]
    pd.testing.assert_frame_equal(other.best[columns], ours.best[columns])
    assert not np.allclose(other.best["mean"], ours.best["mean"])


def test_gaps_leave_the_spread_of_level_means_and_balance_gives_shares(make_card: Any) -> None:
    whole = contents(*make_card(data=("mnist",), troubled=False))
    sentence = whole.headline.lines[2]

    shares = variance_shares(whole.cells, whole.factors, block="seed")["omega2"]

    assert "What mattered most, by the share of variance that it explains (ω²): " in sentence
    factors = shares[whole.factors].sort_values(ascending=False)
    assert f"(ω²): {factors.index[0]} {100 * factors.iloc[0]:.0f}\N{NO-BREAK SPACE}%, then" in sentence
    assert f"optimizer with its untuned rate {100 * shares['optimizer']:.0f}\N{NO-BREAK SPACE}%" in sentence
    gappy = contents(*make_card(data=("mnist",)))
    assert gappy.cells["score"].isna().any()
    assert "lie furthest apart there" in gappy.headline.lines[2]


def test_optimizers_at_default_rates_are_not_ordered(made: Contents) -> None:
    row = made.spreads[made.spreads["factor"] == "optimizer"].iloc[0]

    untuned = headline.widest_factor(row, made.suite)
    tuned = headline.widest_factor(row, replace(made.suite, rates_tuned=True))

    assert row["highest"] not in untuned
    assert "their default rates" in untuned
    assert f"between {row['lowest']} (lowest) and {row['highest']} (highest)" in tuned


def test_one_seed_has_no_interval(made: Contents) -> None:
    row = made.best.iloc[0].copy()
    row["low"], row["high"], row["n"] = float("nan"), float("nan"), 1

    assert "(no interval, 1 seed)" in headline.best_recipe(row, made.factors, made.suite)
