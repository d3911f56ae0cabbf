"""What tuning gives, against subsets, order statistics and values worked by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import integrate, stats  # type: ignore[import-untyped]

from recipebench.errors import RequestError
from recipebench.reports.statistics import tuning


def test_expected_best_is_the_mean_over_all_subsets() -> None:
    scores = np.random.default_rng(0).normal(size=7)

    found = tuning.expected_best(scores)

    subsets = [np.mean([max(s) for s in combinations(scores, k)]) for k in range(1, 8)]
    np.testing.assert_allclose(found, subsets, atol=1e-10)
    np.testing.assert_allclose(tuning.expected_best(-scores, "lower"), np.negative(subsets), atol=1e-10)


def test_expected_best_is_unbiased_where_drawing_with_replacement_is_not() -> None:
    scores = np.sort(np.random.default_rng(1).normal(size=(20_000, 10)), axis=1)

    best = tuning.expected_best(scores)[:, -1].mean()
    i = np.arange(1, 11)
    dodge = (scores @ ((i / 10) ** 10 - ((i - 1) / 10) ** 10)).mean()

    expected, _ = integrate.quad(lambda x: 10 * x * stats.norm.pdf(x) * stats.norm.cdf(x) ** 9, -9, 9)
    assert expected == pytest.approx(1.539, abs=1e-3)
    assert best == pytest.approx(expected, abs=0.02)
    assert dodge == pytest.approx(1.31, abs=0.02)


def test_a_large_number_of_trials_stays_finite() -> None:
    found = tuning.expected_best(np.arange(2000.0))

    assert found[0] == pytest.approx(999.5)
    assert found[-1] == pytest.approx(1999.0)
    assert (np.diff(found) >= -1e-6).all()


def test_choice_and_edge() -> None:
    assert tuning.choose([[0.1], [0.2], [0.3]]) == (2, True)
    assert tuning.choose([[0.3], [0.1], [0.3]], "lower") == (1, False)


def test_width_of_a_near_optimum_by_hand() -> None:
    rates, scores = [0.001, 0.01, 0.1, 1.0], [0.1, 0.8, 0.9, 0.4]

    found = tuning.near_optimal(rates, scores, 0.1)

    assert found.width == pytest.approx(1 + 0.2)
    assert found.share == pytest.approx(0.4)
    assert not found.edge
    assert tuning.near_optimal(rates, [1.0, 1.0, 1.0, 1.0], 0.1) == (3.0, 1.0, True)
    assert tuning.near_optimal([0, 1, 2], [2, 0, 2], 1.0, direction="lower", scale="linear").width == 1.0


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0, 0.5], {}, "rising"),
        ([0.0, 1.0], {}, "rising"),
        ([1.0, 2.0], {"scale": "lin"}, "Did you mean 'linear'"),
        ([1.0, 2.0], {"direction": "up"}, "Unknown direction"),
    ],
)
def test_sensitivity_curves_are_checked(values: list[float], options: dict[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        tuning.near_optimal(values, [1.0, 2.0], 0.1, **options)
    with pytest.raises(RequestError, match="tolerance"):
        tuning.near_optimal([1.0, 2.0], [1.0, 2.0], 0.0)
    with pytest.raises(RequestError, match="no gaps"):
        tuning.expected_best([np.nan])


def test_rank_against_budget_crosses_where_the_tuned_level_overtakes() -> None:
    steady, wild = [0.7, 0.7, 0.7], [0.1, 0.2, 0.9]

    found = tuning.rank_by_budget([[steady, wild], [steady, wild]])

    assert found.tolist() == [[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]]
    with pytest.raises(RequestError, match="data sets, levels, trials"):
        tuning.rank_by_budget([steady, wild])
