"""Two levels: one claim over paired blocks, worded with its numbers, and what takes a verdict away."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recipebench.reports.claims import INCONCLUSIVE, REFUTED, SUPPORTED, Claim, judge
from recipebench.reports.statistics.effects import superiority
from recipebench.reports.statistics.inference import Blocks
from recipebench.reports.suite_info import Endpoint
from recipebench.reports.versus import BESIDE, COMPARED, Arm, Comparison, Setting, versus

SEEDS = 8
SETTING = Setting(
    factor="optimizer",
    endpoints={
        "digits": Endpoint(column="test_accuracy_at_best", direction="higher", chance=0.1),
        "line": Endpoint(column="test_mse_at_best", direction="lower", chance=1.0),
    },
    smallest={"digits": 0.005},
    protocol="Optimizers compared with model mlp.",
    test_items={"digits": 359},
    held_out=frozenset({"digits"}),
    tuned=True,
)
NO_CHOICES = pd.DataFrame(columns=["level", "data", "hyper-parameter", "value", "edge"])
NOISE = np.random.default_rng(0).normal(0, 0.002, size=SEEDS)


def records(scores: Any, data: str = "digits") -> pd.DataFrame:
    column = SETTING.endpoints[data].column
    values = np.asarray(scores, dtype=float)
    return pd.DataFrame(
        {"cell_id": "x", "data": data, "seed": range(len(values)), "status": "ok", column: values}
    )


def compared(apart: Any, name: str = "lion", **options: Any) -> Comparison:
    """Compare levels of which the first is `apart` better on each seed."""
    base = 0.95 + NOISE
    setting = dataclasses.replace(SETTING, **options)
    return versus(Arm(name, records(base + apart)), Arm("adam", records(base)), setting, NO_CHOICES, {})


def spread(mean: float, deviation: float = 0.001) -> Any:
    return mean + deviation * np.linspace(-1, 1, SEEDS)


@pytest.mark.parametrize(
    ("apart", "word", "sentence"),
    [
        (spread(0.02), SUPPORTED, "Supported: lion is better than adam by more than the smallest effect"),
        (spread(-0.02), REFUTED, "lies beyond the smallest effect on the other side: adam is better."),
        (spread(0.0), REFUTED, "within the smallest effect on both sides: no difference that matters."),
        (spread(-0.005), REFUTED, "Whether adam is better by as much, the interval leaves open."),
        (spread(0.004, 0.02), INCONCLUSIVE, "Minimum detectable effect: "),
    ],
)
def test_the_verdict_and_what_follows_from_its_interval(apart: Any, word: str, sentence: str) -> None:
    found = compared(apart)

    assert found.verdict.word == word
    assert any(sentence in said for said in found.sentences), found.sentences


def test_the_verdict_is_the_one_of_the_blocks() -> None:
    apart = spread(0.012, 0.004)
    found = compared(apart)

    values = np.asarray(apart)[None, :]
    (expected,) = judge([Claim(name="", blocks=Blocks(values, values, SEEDS, 0, 0), smallest=0.005)])
    np.testing.assert_allclose(
        [found.verdict.mean, found.verdict.low, found.verdict.high, found.verdict.p],
        [expected.mean, expected.low, expected.high, expected.p],
    )
    assert found.verdict.freedom == SEEDS - 1
    row = found.table.iloc[0]
    np.testing.assert_allclose([row["low"], row["high"]], [expected.low, expected.high])
    assert (row["n"], row["better"], row["gaps"]) == (SEEDS, superiority(values), 0)
    assert any("95\xa0% interval" in said and "8 data set × seed blocks" in said for said in found.sentences)


def test_numbers_are_said_with_n_interval_and_method() -> None:
    text = str(compared(spread(0.02)))

    for part in ("2.00 points", "t interval over (data set, seed) blocks", "P(lion better) over blocks 1.00"):
        assert part in text
    assert "digits has no official test set" in text
    assert "take data with an official test set" in text


def test_without_tuning_the_limit_of_held_out_test_sets_is_another() -> None:
    said = compared(spread(0.02), tuned=False).sentences

    assert any("test sets overlap" in sentence for sentence in said)


def test_an_official_test_set_brings_an_error_that_does_not_shrink() -> None:
    said = compared(spread(0.02), held_out=frozenset(), test_items={"digits": 10_000}).sentences

    assert any("The 10,000 test samples of digits are the same for all seeds" in one for one in said)
    assert any("0.22 points of an accuracy" in one for one in said)  # sqrt(.95 · .05 / 10,000)


def test_doubts_take_a_verdict_away() -> None:
    found = compared(spread(0.02), doubts=("The rate is the highest that was tried.",))

    assert found.verdict.word == INCONCLUSIVE
    assert found.verdict.reasons == ("The rate is the highest that was tried.",)
    assert found.sentences[0].startswith("Inconclusive: lion is better")


def test_a_gap_blocks_and_divergence_counts_at_chance() -> None:
    def with_status(status: str) -> Comparison:
        first = records(0.95 + NOISE + spread(0.02))
        first.loc[2, ["status", "test_accuracy_at_best"]] = [status, np.nan]
        return versus(Arm("a", first), Arm("b", records(0.95 + NOISE)), SETTING, NO_CHOICES, {})

    gap, diverged = with_status("missing"), with_status("diverged")

    assert gap.verdict.reasons == ("Gaps: 1 of 8 pairs have no score.",)
    assert (gap.table.loc[0, "n"], gap.table.loc[0, "gaps"]) == (SEEDS - 1, 1)
    assert diverged.table.loc[0, "diverged"] == 1
    assert diverged.table.loc[0, "first"] == pytest.approx(np.append(0.97 + NOISE, 0.1).mean(), abs=0.12)
    assert diverged.verdict.word == INCONCLUSIVE


def test_several_data_sets_are_one_claim_in_smallest_effects() -> None:
    setting = dataclasses.replace(SETTING, smallest={"digits": 0.005, "line": 0.1})
    arms = [
        Arm(name, pd.concat([records(0.95 + NOISE + up), records(0.5 + NOISE - down, "line")]))
        for name, up, down in (("a", spread(0.015), spread(0.2)), ("b", 0.0, 0.0))
    ]

    found = versus(*arms, setting, NO_CHOICES, {})

    assert found.verdict.word == SUPPORTED
    assert found.verdict.mean == pytest.approx((3 + 2) / 2)
    assert "smallest effects" in found.sentences[1]
    assert found.table.set_index("data")["difference"].to_dict() == pytest.approx(
        {"digits": 0.015, "line": 0.2}
    )
    assert found.shown["errors"].tolist()[1] == "–"


def test_rates_of_errors_are_compared_by_their_logarithms() -> None:
    row = compared(0.0 * NOISE).table.iloc[0]
    arms = [Arm(name, records(np.full(SEEDS, score))) for name, score in (("a", 0.98), ("b", 0.96))]
    half = versus(*arms, SETTING, NO_CHOICES, {}).table.iloc[0]

    assert row["errors"] == 1
    assert half["errors"] == pytest.approx((0.02 + 0.5 / 359) / (0.04 + 0.5 / 359))


def test_default_rates_stand_beside_and_are_not_judged() -> None:
    base = 0.95 + NOISE
    first = Arm("a", records(base + spread(0.02)), records(base - 0.1))
    found = versus(first, Arm("b", records(base), records(base)), SETTING, NO_CHOICES, {})

    assert found.table["rates"].tolist() == [COMPARED, BESIDE]
    assert found.verdict.word == SUPPORTED
    assert found.shown["rates"].tolist() == ["tuned", "default rate"]
    assert found.records.groupby(["level", "rates"]).size().to_dict() == {
        (level, rates): SEEDS for level in ("a", "b") for rates in (COMPARED, BESIDE)
    }


def test_the_correlation_is_the_gain_of_pairing() -> None:
    assert compared(spread(0.0, 1e-6)).pairing == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("show", [str, repr, lambda found: found._repr_html_()])
def test_names_are_escaped_where_they_are_markup(show: Callable[[Comparison], str]) -> None:
    text = show(compared(spread(0.02), name="<b>lion</b>"))

    assert ("&lt;b&gt;lion" in text) != ("<b>lion" in text)
    assert "<b>lion" not in text or "<p>" not in text
