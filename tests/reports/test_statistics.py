"""Intervals against SciPy's own, and what gaps do to them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats  # type: ignore[import-untyped]

from recipebench.errors import RequestError
from recipebench.reports.statistics.intervals import mean_intervals, t_intervals


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_intervals_equal_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(0.9, 0.02, size=(50, n))

    found = t_intervals(values)

    low, high = stats.t.interval(0.95, n - 1, values.mean(axis=1), stats.sem(values, axis=1))
    np.testing.assert_allclose(found.mean, values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.low, low, rtol=1e-12)
    np.testing.assert_allclose(found.high, high, rtol=1e-12)
    assert found.n.tolist() == [n] * 50


def test_gaps_are_left_out_and_counted() -> None:
    found = t_intervals([[1.0, np.nan, 3.0], [np.nan, 2.0, np.nan], [np.nan, np.nan, np.nan]])

    whole = t_intervals([[1.0, 3.0]])
    assert found.n.tolist() == [2, 1, 0]
    assert (found.mean[0], found.low[0], found.high[0]) == (whole.mean[0], whole.low[0], whole.high[0])
    assert found.mean[1] == 2.0
    assert np.isnan([found.low[1], found.high[1], found.mean[2], found.low[2]]).all()


def test_equal_values_give_an_interval_without_width() -> None:
    found = t_intervals([[0.5, 0.5, 0.5]])

    assert (found.low[0], found.high[0]) == (0.5, 0.5)


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    values = np.random.default_rng(0).normal(size=(20_000, 3))

    found = t_intervals(values)

    covered = ((found.low < 0) & (found.high > 0)).mean()
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 20_000)


def test_intervals_on_a_scale_equal_scipys_by_the_delta_method() -> None:
    values = np.random.default_rng(2).uniform(0.8, 1.0, size=(40, 5))
    mean, error = values.mean(axis=1), stats.sem(values, axis=1)

    shares, losses = mean_intervals(values, "logit"), mean_intervals(values, "log")

    ends = stats.t.interval(0.95, 4, special.logit(mean), error / (mean * (1 - mean)))
    np.testing.assert_allclose([shares.low, shares.high], special.expit(ends), rtol=1e-10)
    ends = stats.t.interval(0.95, 4, np.log(mean), error / mean)
    np.testing.assert_allclose([losses.low, losses.high], np.exp(ends), rtol=1e-10)
    np.testing.assert_array_equal(shares.mean, t_intervals(values).mean)


def test_every_row_has_its_scale_and_stays_inside_of_it_around_its_mean() -> None:
    values = [[0.98, 0.97, 0.1], [0.001, 0.002, 1.0], [-1.0, 0.5, 3.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]

    found = mean_intervals(values, ["logit", "log", "raw", "logit", "log"])

    assert 0 < found.low[0] < found.mean[0] < found.high[0] < 1
    assert 0 < found.low[1] < found.mean[1] < found.high[1]
    assert t_intervals(values).low[1] < 0
    assert found.low[2] == t_intervals(values).low[2]
    assert (found.low[3], found.high[3], found.low[4], found.high[4]) == (1.0, 1.0, 0.0, 0.0)
    assert np.isnan(mean_intervals([[0.5, np.nan]], "logit").low[0])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_of_skewed_shares_cover_better_than_raw_ones(n: int) -> None:
    errors = np.minimum(np.random.default_rng(n).exponential(0.02, size=(20_000, n)), 1)

    def coverage(scale: str) -> float:
        found = mean_intervals(1 - errors, scale)
        return float(((found.low < 0.98) & (found.high > 0.98)).mean())

    assert coverage("logit") > max(coverage("raw") + 0.02, 0.925)


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(RequestError, match=r"Unknown scale 'logti'. Known: log, logit, raw. Did you mean"):
        mean_intervals([[0.5, 0.6]], "logti")
