"""Verdicts: the interval decides, and each rule can only take a verdict away."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from recipebench.errors import RequestError
from recipebench.reports.claims import Claim, Verdict, decide, judge
from recipebench.reports.statistics import inference
from recipebench.reports.statistics.inference import Blocks


def blocks(differences: Any, **more: Any) -> Blocks:
    values = np.atleast_2d(np.asarray(differences, dtype=float))
    return Blocks(values, values, values.size, 0, 0)._replace(**more)


def verdict(differences: Any, smallest: float = 0.5, /, *, more: Any = None, **options: Any) -> Verdict:
    return judge([Claim(name="c", blocks=blocks(differences, **(more or {})), smallest=smallest, **options)])[
        0
    ]


NEAR_2 = [1.9, 2.0, 2.1, 2.0, 2.05]
NEAR_0 = [-0.1, 0.0, 0.1, 0.05, -0.02]


def test_three_words() -> None:
    assert [verdict(x).word for x in (NEAR_2, NEAR_0, [0.0, 1.2, 0.4])] == [
        "supported",
        "refuted",
        "inconclusive",
    ]
    assert verdict([0.0, 1.2, 0.4]).reasons == ("The interval reaches to both sides of the smallest effect.",)


def test_equivalence_is_a_claim_of_its_own() -> None:
    found = [verdict(x, 0.5, kind="equivalent").word for x in (NEAR_0, NEAR_2, [0.0, 1.2, 0.4])]

    assert found == ["supported", "refuted", "inconclusive"]


def test_equivalence_is_supported_exactly_where_both_one_sided_tests_reject() -> None:
    for seed in range(60):
        values = np.random.default_rng(seed).normal(0.1, 0.5, size=8)
        found = verdict(values, 0.5, kind="equivalent")
        assert (found.word == "supported") == (found.p < 0.05)


def test_an_inconclusive_verdict_says_what_would_settle_it() -> None:
    found = verdict([0.0, 1.2, 0.4, 0.9, 0.8])

    assert found.word == "inconclusive"
    assert 0 < found.detectable < math.inf
    spread = np.std([0.0, 1.2, 0.4, 0.9, 0.8], ddof=1)
    n = int(found.to_settle)
    reached = inference.power(found.mean - 0.5, inference.planned([spread], n))
    assert n > 5
    assert float(reached) >= 0.8


@pytest.mark.parametrize("kind", ["greater", "equivalent"])
@pytest.mark.parametrize("scope", ["these", "new"])
def test_every_inconclusive_verdict_has_reasons_and_numbers(kind: str, scope: str) -> None:
    draw = np.random.default_rng(0)
    for _ in range(40):
        found = verdict(draw.normal(0.3, 1.0, size=(7, 3)), 0.4, kind=kind, scope=scope)
        if found.word == "inconclusive":
            assert found.reasons
            assert 0 < found.detectable < math.inf
            assert found.to_settle >= 2


def test_gaps_block_the_verdict() -> None:
    found = verdict(NEAR_2, more={"gaps": 2, "pairs": 10})

    assert found.word == "inconclusive"
    assert found.reasons == ("Gaps: 2 of 10 pairs have no score.",)


def test_a_verdict_that_hangs_on_divergence_is_none() -> None:
    lost = {"diverged": 3, "without_diverged": np.atleast_2d(NEAR_0)}

    assert verdict(NEAR_2, more={"diverged": 3}).word == "supported"
    assert verdict(NEAR_2, more=lost).word == "inconclusive"
    assert "without the 3 pairs" in verdict(NEAR_2, more=lost).reasons[0]
    assert "refuted" in verdict(NEAR_2, more=lost).reasons[0]


def test_where_more_seeds_would_not_help_it_is_said() -> None:
    lost = {"diverged": 3, "without_diverged": np.atleast_2d(NEAR_0)}
    few = np.random.default_rng(0).normal(5.0, 0.1, size=(5, 3))
    flips = [np.add(NEAR_2, 3), np.subtract(NEAR_2, 3)]

    gaps, diverged, flipped = (
        verdict(NEAR_2, more={"gaps": 2, "pairs": 10}),
        verdict(NEAR_2, more=lost),
        verdict(flips, 0.5),
    )
    open_still = (verdict(NEAR_0, 0.01), verdict(few, scope="new"), verdict(NEAR_2, 0.5))

    assert [each.blocked for each in (gaps, diverged, flipped)] == [True, True, True]
    assert [each.blocked for each in open_still] == [False, False, False]


def test_dropping_pairs_cannot_make_a_verdict() -> None:
    found = verdict([0.0, 1.2, 0.4], more={"diverged": 1, "without_diverged": np.atleast_2d(NEAR_2)})

    assert found.word == "inconclusive"


def test_a_data_set_of_which_all_pairs_diverged_has_no_verdict_without_them() -> None:
    rows = [NEAR_2, NEAR_2]
    left = np.array([NEAR_2, [np.nan] * 5])

    assert verdict(rows, more={"diverged": 5, "without_diverged": left}).word == "inconclusive"


def test_a_sign_that_flips_bars_a_global_claim() -> None:
    rows = [np.add(NEAR_2, 3), np.subtract(NEAR_2, 3)]

    found = verdict(rows, 0.5)
    hidden = verdict([NEAR_2, np.negative(NEAR_2)], 0.5, kind="equivalent")

    assert found.word == hidden.word == "inconclusive"
    assert "flips" in found.reasons[0]
    assert "flips" in hidden.reasons[0]
    assert hidden.p < 0.05


def test_signs_around_zero_do_not_bar_what_is_below_the_smallest_effect() -> None:
    rows = [NEAR_0, np.negative(NEAR_0)]

    assert verdict(rows).word == "refuted"
    assert verdict(rows, 0.5, kind="equivalent").word == "supported"


def test_new_data_sets_need_six() -> None:
    rows = np.random.default_rng(0).normal(5.0, 0.1, size=(6, 3))

    few, enough = verdict(rows[:5], scope="new"), verdict(rows, scope="new")

    assert (few.word, enough.word) == ("inconclusive", "supported")
    assert few.reasons == ("New data sets: 5 data sets are fewer than 6.",)
    assert few.to_settle == 6


def test_blocks_without_spread_have_no_verdict_unless_they_are_all_equal() -> None:
    same, zero = verdict([2.0, 2.0, 2.0]), verdict([0.0, 0.0, 0.0])

    assert same.word == "inconclusive"
    assert "spread" in same.reasons[0]
    assert zero.word == "refuted"
    assert verdict([0.0, 0.0], 0.5, kind="equivalent").word == "supported"


def test_one_seed_has_no_verdict() -> None:
    found = verdict([[2.0], [3.0]])

    assert found.word == "inconclusive"
    assert found.detectable == math.inf
    assert "at least 2 are needed" in found.reasons[0]


def test_each_claim_of_a_family_widens_the_intervals_but_moves_no_raw_p() -> None:
    draw = np.random.default_rng(1)
    claims = [
        Claim(name=str(i), blocks=blocks(draw.normal(1, 1, size=(3, 5))), smallest=0.0) for i in range(6)
    ]

    alone, family = judge(claims[:1])[0], judge(claims)[0]

    assert alone.p == family.p
    assert alone.p_holm == alone.p
    assert family.p_holm > family.p
    assert (alone.level, family.level) == (0.95, 1 - 0.05 / 6)
    assert family.low < alone.low < alone.high < family.high


def test_a_claim_that_gaps_block_counts_in_the_family() -> None:
    gap = Claim(name="gap", blocks=blocks([[np.nan, np.nan]], gaps=2), smallest=0.0)
    one = Claim(name="one", blocks=blocks(NEAR_2), smallest=0.0)

    found = judge([one, gap])

    assert found[0].p_holm == pytest.approx(2 * found[0].p)
    assert [v.word for v in found] == ["supported", "inconclusive"]
    assert judge([]) == []


def test_power_is_to_tell_the_smallest_effect_from_none() -> None:
    found = verdict(NEAR_2, 0.5)

    spread = np.std(NEAR_2, ddof=1)
    assert found.power == pytest.approx(float(inference.power(0.5, inference.planned([spread], 5))))


def test_decide_treats_what_is_unknown_as_inconclusive() -> None:
    assert decide([np.nan], [np.nan], 0.0).tolist() == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "greatest"}, "Did you mean 'greater'"),
        ({"scope": "all"}, "Unknown scope 'all'"),
        ({"smallest": -1.0}, "at least 0"),
        ({"smallest": 0.0, "kind": "equivalent"}, "above 0 for equivalence"),
    ],
)
def test_a_claim_is_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Claim(**({"name": "c", "blocks": blocks(NEAR_0), "smallest": 0.1} | options))
