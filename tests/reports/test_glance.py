"""The picture on top of a report: its dots stand where the means of the levels are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from recipebench.reports import page, wording
from recipebench.reports.contents import Contents, contents
from recipebench.reports.frames import endpoint
from recipebench.reports.glance import Glance, glance


@pytest.fixture(scope="module")
def made(card: Any) -> Contents:
    return contents(*card)


def _span(strip: Any) -> float:
    places = [dot.place for dot in strip.dots]
    return max(places) - min(places)


def test_every_dot_stands_where_its_mean_is(made: Contents) -> None:
    for label in made.data:
        found, measure = glance(made, label), endpoint(label, made.suite).measure
        means = made.means[(made.means["data"] == label) & made.means["factor"].isin(made.compared)]
        low, high = means["mean"].min(), means["mean"].max()

        told = {
            f"{r['level']} {wording.with_unit(r['mean'], measure)}": 100 * (r["mean"] - low) / (high - low)
            for _, r in means.iterrows()
        }
        dots = [dot for strip in found.strips for dot in strip.dots]
        assert len(dots) == len(means)
        assert all(dot.place == pytest.approx(told[dot.told], abs=0.006) for dot in dots)
        assert found.ends == (wording.with_unit(low, measure), wording.with_unit(high, measure))


def test_the_factor_that_spreads_most_comes_first(made: Contents) -> None:
    for label in made.data:
        spans = [_span(strip) for strip in glance(made, label).strips]
        assert spans == sorted(spans, reverse=True)


def test_the_best_level_is_the_best_whichever_way_is_better(made: Contents) -> None:
    assert {endpoint(label, made.suite).direction for label in made.data} == {"higher", "lower"}
    for label in made.data:
        higher = endpoint(label, made.suite).direction == "higher"
        for strip in glance(made, label).strips:
            ordered = sorted(strip.dots, key=lambda dot: dot.place if higher else -dot.place)
            if strip.heading != "optimizer":
                assert [dot.best for dot in strip.dots] == [False] * (len(strip.dots) - 1) + [True]
                assert strip.dots[-1].place == ordered[-1].place
                assert strip.best == strip.dots[-1].told


def test_optimizers_are_ranked_only_if_all_were_tuned(made: Contents) -> None:
    def optimizers(found: Glance) -> Any:
        return next(strip for strip in found.strips if strip.heading == "optimizer")

    untuned = optimizers(glance(made, "mnist"))
    tuned = optimizers(glance(replace(made, suite=replace(made.suite, rates_tuned=True)), "mnist"))

    assert untuned.best == "at default rates, not ranked"
    assert not any(dot.best for dot in untuned.dots)
    assert tuned.best == tuned.dots[-1].told


def test_a_data_set_without_any_score_has_no_picture(make_card: Callable[..., Any]) -> None:
    card = make_card(data=("digits", "mnist"), seeds=2, epochs=2, troubled=False)
    lost = card.records["data"] == "mnist"
    card.records.loc[lost, "status"] = "failed"
    card.records.loc[lost, [c for c in card.records if c.startswith("test_")]] = None
    found = contents(card.records, card.history, card.suite, [])

    html = page.render(found, {}, "")

    assert glance(found, "mnist").strips == []
    assert glance(found, "digits").strips != []
    assert html.count('class="glance"') == 1
