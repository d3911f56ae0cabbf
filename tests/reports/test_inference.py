"""Block differences, intervals, p-values and power against SciPy, statsmodels and worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]
from statsmodels.stats.power import TTestPower  # type: ignore[import-untyped]
from statsmodels.stats.weightstats import ttost_paired  # type: ignore[import-untyped]

from recipebench.errors import RequestError
from recipebench.reports.statistics import inference
from recipebench.reports.statistics.inference import Estimate


def test_pairs_are_averaged_inside_each_block() -> None:
    first = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 0.1]]])
    second = np.array([[[0.0, 0.0], [1.0, 1.0]], [[2.0, 2.0], [7.0, 7.0]]])
    lost = np.zeros((2, 2, 2), dtype=bool)
    lost[1, 1, 1] = True

    found = inference.block_differences(first, second, first_diverged=lost)

    np.testing.assert_allclose(found.differences, [[1.5, 2.5], [3.5, -3.45]])
    np.testing.assert_allclose(found.without_diverged, [[1.5, 2.5], [3.5, 0.0]])
    assert found[2:] == (8, 0, 1)


def test_gaps_are_counted_and_what_was_not_planned_is_none() -> None:
    first = np.array([[[1.0, np.nan, np.nan]]])
    planned = np.array([[[True, True, False]]])

    found = inference.block_differences(first, np.zeros((1, 1, 3)), planned=planned)

    assert found.differences.tolist() == [[1.0]]
    assert (found.pairs, found.gaps) == (2, 1)


@pytest.mark.parametrize(("first", "second"), [((1, 2, 3), (1, 2, 2)), ((2, 3), (2, 3))])
def test_shapes_are_checked(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="data sets, seeds, others"):
        inference.block_differences(np.zeros(first), np.zeros(second))


def test_rates_of_divergence_are_differences_over_blocks() -> None:
    found = inference.divergence_rates([[[True, True], [True, False]]], [[[False, True], [False, False]]])

    assert found.differences.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("n", [2, 3, 10])
def test_one_data_set_is_the_paired_t_test(n: int) -> None:
    values = np.random.default_rng(n).normal(0.3, 1.0, size=(20, 1, n))

    estimate = inference.over_seeds(values)
    low, high = inference.interval(estimate, 0.99)

    for i in range(20):
        theirs = stats.ttest_1samp(values[i, 0], 0.1)
        assert float(inference.p_values(estimate, 0.1)[i]) == pytest.approx(theirs.pvalue, abs=1e-10)
        for side in ("greater", "less"):
            one = stats.ttest_1samp(values[i, 0], 0.1, alternative=side).pvalue
            assert float(inference.p_values(estimate, 0.1, side)[i]) == pytest.approx(one, abs=1e-10)
        ends = theirs.confidence_interval(0.99)
        assert (float(low[i]), float(high[i])) == pytest.approx((ends.low, ends.high), rel=1e-10)


def test_two_data_sets_are_welchs_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "SPREADS_DIFFER", 1e-12)
    one, two = np.random.default_rng(1).normal(size=(2, 6))
    values = np.full((2, 6), np.nan)
    values[0], values[1, :4] = one, two[:4]

    found = inference.over_seeds(values)

    welch = stats.ttest_ind(one, -two[:4], equal_var=False)
    assert float(inference.p_values(found)) == pytest.approx(welch.pvalue, abs=1e-10)
    assert float(found.freedom) == pytest.approx(welch.df, rel=1e-10)
    assert float(found.mean) == pytest.approx((one.mean() + two[:4].mean()) / 2, rel=1e-12)


def test_freedom_is_that_of_a_data_set_where_spreads_differ_much() -> None:
    even = np.tile([-1.0, 0.0, 1.0, 0.0], (3, 1))
    wide = even * np.array([[1.0], [1.0], [50.0]])

    assert float(inference.over_seeds(even).freedom) == pytest.approx(9.0)
    assert float(inference.over_seeds(wide).freedom) == 3.0


@pytest.mark.parametrize(("n", "count", "critical"), [(10, 2, 0.8010), (5, 3, 0.7457), (3, 4, 0.7679)])
def test_cochrans_critical_values(
    monkeypatch: pytest.MonkeyPatch, n: int, count: int, critical: float
) -> None:
    monkeypatch.setattr(inference, "SPREADS_DIFFER", 0.05)

    found = inference._largest_share(np.array(n - 1.0), count)

    assert float(found) == pytest.approx(critical, abs=1e-4)


def test_new_data_sets_are_a_t_test_of_their_means() -> None:
    values = np.random.default_rng(2).normal(size=(7, 5))

    found = inference.over_data_sets(values)

    theirs = stats.ttest_1samp(values.mean(axis=1), 0.0)
    assert float(inference.p_values(found)) == pytest.approx(theirs.pvalue, abs=1e-10)
    assert float(found.freedom) == 6


def test_too_few_blocks_have_no_error() -> None:
    assert np.isnan(inference.over_seeds([[1.0]]).error)
    assert np.isnan(inference.over_seeds([[1.0, 2.0], [np.nan, np.nan]]).mean)


def test_values_that_are_equal_up_to_rounding_have_no_spread() -> None:
    found = inference.over_seeds([[0.1 + 0.2, 0.3, 0.3]])

    assert float(found.error) == 0.0
    assert float(inference.p_values(found)) == 0.0
    assert float(inference.p_values(inference.over_seeds([[0.0, 0.0]]))) == 1.0


def test_equivalence_is_the_test_of_statsmodels() -> None:
    draw = np.random.default_rng(3)
    one, two = draw.normal(size=(2, 9))

    found = inference.equivalence_p(inference.over_seeds((one - two)[None]), 0.7)

    assert float(found) == pytest.approx(ttost_paired(one, two, -0.7, 0.7)[0], abs=1e-10)


def test_equivalence_needs_a_margin() -> None:
    with pytest.raises(RequestError, match=r"margin: expected a positive difference, got 0\."):
        inference.equivalence_p(inference.over_seeds([[1.0, 2.0]]), 0.0)


@pytest.mark.parametrize("n", [3, 5, 20])
@pytest.mark.parametrize("effect", [0.0, 0.5, 3.0])
def test_power_is_that_of_statsmodels(n: int, effect: float) -> None:
    found = inference.power(effect, inference.planned([2.0], n), 0.99)

    assert float(found) == pytest.approx(TTestPower().power(effect / 2, n, 0.01), abs=1e-10)


def test_power_is_a_probability_that_grows_with_the_effect() -> None:
    effects = np.linspace(0, 120, 400)
    for n in (2, 3, 5, 10, 81, 1001):
        for level in (0.95, 1 - 0.05 / 15):
            found = inference.power(effects, inference.planned([1.0], n), level)
            assert (np.diff(found) >= -1e-9).all()
            assert found.min() == pytest.approx(1 - level, abs=1e-9)
            assert found.max() <= 1.0


@pytest.mark.parametrize("level", [0.95, 0.99, 1 - 0.05 / 15])
@pytest.mark.parametrize("n", [3, 10])
def test_the_detectable_effect_is_detected_in_four_of_five_runs(level: float, n: int) -> None:
    plan = inference.planned([1.0, 2.0], n)

    found = inference.detectable(plan, level)

    assert float(inference.power(found, plan, level)) == pytest.approx(0.8, abs=1e-5)


def test_seeds_needed_are_the_fewest() -> None:
    for distance in (0.3, 1.0, 4.0):
        n = int(inference.seeds_needed(distance, [1.0, 1.5], 0.99))
        reached = [
            float(inference.power(distance, inference.planned([1.0, 1.5], k), 0.99)) for k in (n, n - 1)
        ]
        assert reached[0] >= 0.8 > reached[1]
    assert inference.seeds_needed(0.0, [1.0]) == math.inf
    assert math.isnan(inference.seeds_needed(1.0, [np.nan]))
    assert inference.seeds_needed(1.0, [0.0]) == 2.0


def test_seeds_for_equivalence_succeed() -> None:
    n = int(inference.seeds_for_equivalence(0.5, [1.0]))

    p = inference.equivalence_p(
        inference.over_seeds(np.random.default_rng(0).normal(0.5, 1.0, size=(20_000, 1, n))), 1.0
    )
    assert (p <= 0.05).mean() == pytest.approx(0.8, abs=0.02)
    assert inference.seeds_for_equivalence(-0.1, [1.0]) == math.inf


def test_power_with_no_error_is_one() -> None:
    sure = Estimate(np.zeros(()), np.zeros(()), np.asarray(2.0))

    assert float(inference.power(0.1, sure)) == 1.0
    assert float(inference.power(3.0, inference.planned([1e-9], 5))) == pytest.approx(1.0)


def test_relative_differences_are_in_smallest_effects() -> None:
    blocks = inference.block_differences(np.full((2, 1, 1), 0.02), np.zeros((2, 1, 1)))

    found = inference.relative(blocks, [0.01, 0.04])

    np.testing.assert_allclose(found.differences, [[2.0], [0.5]])
    with pytest.raises(RequestError, match="2 positive effects"):
        inference.relative(blocks, [0.01, 0.0])


def test_a_family_lowers_the_freedom_where_one_spread_dominates() -> None:
    rows = np.random.default_rng(0).normal(size=(2, 15, 4, 3)) * np.array([1, 1, 1, 30.0])[:, None]

    found = inference.family_freedom(rows)

    assert found.shape == (2, 15)
    assert ((found >= 2) & (found < 2.3)).all()
    np.testing.assert_allclose(found[1], inference.family_freedom(rows[1]))


def test_an_unknown_alternative_is_named() -> None:
    with pytest.raises(RequestError, match="Did you mean 'greater'"):
        inference.p_values(inference.over_seeds([[1.0, 2.0]]), 0.0, "greter")
