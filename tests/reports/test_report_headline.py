"""Every number of the headline stands in a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from recipebench.reports import headline, wording
from recipebench.reports.contents import Contents, contents


@pytest.fixture(scope="module")
def made(card: Any) -> Contents:
    return contents(*card)


def test_first_sentence_counts_every_planned_cell(made: Contents) -> None:
    total = made.counts.iloc[-1]

    expected = (
        f"1,800 training runs (cells) planned on 3 data sets with 3 seeds: {total['ok']:,} ok + "
        f"{total['diverged']} diverged + {total['failed']} failed + {total['missing']} missing."
    )
    assert made.headline[0] == expected


def test_each_data_set_tells_its_best_recipe_and_widest_factor(made: Contents) -> None:
    assert len(made.headline) == 1 + 3

    for label, sentence in zip(made.data, made.headline[1:], strict=True):
        ranked = made.recipes[made.recipes["data"] == label].sort_values("mean", kind="stable")
        top = ranked[ranked["n"] == 3].iloc[0 if label == "synthetic_regression" else -1]
        wide = made.spreads[made.spreads["data"] == label].sort_values("spread").iloc[-1]
        measure = made.suite.endpoints[label].measure
        for part in (
            f"On {label} the",
            wording.with_unit(top["mean"], measure),
            wording.interval(top["low"], top["high"], measure),
            " + ".join(top[factor] for factor in made.factors),
            "each optimizer at its default rate",
            f"the levels of {wide['factor']} lie furthest apart",
            wording.difference(wide["spread"], measure),
        ):
            assert part in sentence


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
