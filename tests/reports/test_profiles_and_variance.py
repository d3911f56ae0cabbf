"""Profiles, tuning and variance shares against worked numbers, order statistics and planted variances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate  # type: ignore[import-untyped]
from statsmodels.formula.api import ols  # type: ignore[import-untyped]
from statsmodels.stats.anova import anova_lm  # type: ignore[import-untyped]

from recipebench.errors import RequestError
from recipebench.reports.statistics import profiles
from recipebench.reports.statistics.variance import variance_shares

COSTS = [[1.0, 2.0, np.inf], [2.0, 1.0, 3.0]]


def test_published_profile_areas() -> None:
    np.testing.assert_allclose(profiles.profile_area(COSTS, 4.0), [5 / 9, 8 / 9], rtol=1e-12)
    np.testing.assert_allclose(
        profiles.performance_profile(COSTS, [1.0, 1.9, 2.0, 99.0]),
        [[1 / 3, 1 / 3, 2 / 3, 2 / 3], [2 / 3, 2 / 3, 1, 1]],
    )


def test_areas_are_integrals_of_profiles() -> None:
    costs = np.random.default_rng(0).uniform(1, 5, size=(3, 6))
    grid = np.linspace(1, 6, 50_001)

    drawn = integrate.trapezoid(profiles.performance_profile(costs, grid), grid, axis=1) / 5

    np.testing.assert_allclose(profiles.profile_area(costs, 6.0), drawn, atol=1e-3)


@pytest.mark.parametrize(
    ("costs", "message"), [([[0.0, 1.0]], "positive"), ([[np.inf]], "some level"), ([[np.nan]], "positive")]
)
def test_costs_are_checked(costs: list[list[float]], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        profiles.performance_ratios(costs)
    with pytest.raises(RequestError, match="above 1"):
        profiles.profile_area(COSTS, 1.0)


def crossing(draw: np.random.Generator, seeds: int, a: float = 0.0, noise: float = 1.0) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([range(4), range(3), range(seeds)], names=["a", "b", "seed"])
    frame = index.to_frame(index=False)
    main = np.array([-1.0, 1.0, -1.0, 1.0])[frame["a"]] * a
    return frame.assign(score=main + draw.normal(0, noise, size=len(frame)))


def test_squares_of_a_balanced_crossing_by_group_means() -> None:
    frame = crossing(np.random.default_rng(0), 5, a=1.0)

    found = variance_shares(frame, ["a", "b"])

    grand = frame["score"].mean()
    squares = {f: 60 * ((frame.groupby(f)["score"].mean() - grand) ** 2).mean() for f in ("a", "b")}
    both = 60 * ((frame.groupby(["a", "b"])["score"].mean() - grand) ** 2).mean()
    total = ((frame["score"] - grand) ** 2).sum()
    assert found.loc["a", "squares"] == pytest.approx(squares["a"], rel=1e-10)
    assert found.loc["a × b", "squares"] == pytest.approx(both - squares["a"] - squares["b"], rel=1e-10)
    assert found["squares"].sum() == pytest.approx(total, rel=1e-10)
    noise = (total - both) / 48
    assert found.loc["a", "omega2"] == pytest.approx((squares["a"] - 3 * noise) / (total + noise), rel=1e-10)
    assert found["eta2"].sum() == pytest.approx(1.0)


def test_squares_are_those_of_statsmodels() -> None:
    index = pd.MultiIndex.from_product(
        [range(4), range(3), range(2), range(5)], names=["a", "b", "c", "seed"]
    )
    frame = index.to_frame(index=False)
    frame["score"] = np.random.default_rng(0).normal(size=len(frame)) + frame["a"] * (1 + frame["b"])

    found = variance_shares(frame, ["a", "b", "c"], block="seed")

    terms = "C(a) + C(b) + C(c) + C(seed) + C(a):C(b) + C(a):C(c) + C(b):C(c)"
    theirs = anova_lm(ols(f"score ~ {terms}", frame).fit(), typ=1)
    for ours, column in {"freedom": "df", "squares": "sum_sq", "p": "PR(>F)"}.items():
        np.testing.assert_allclose(found[ours], theirs[column], rtol=1e-8)


def test_omega_finds_planted_shares_and_nothing_where_nothing_is() -> None:
    draw = np.random.default_rng(0)
    tables = [variance_shares(crossing(draw, 3, a=1.0), ["a", "b"], interactions=False) for _ in range(60)]

    mean = sum(t[["eta2", "omega2"]] for t in tables) / 60

    assert mean.loc["a", "omega2"] == pytest.approx(0.5, abs=0.04)
    assert mean.loc["b", "omega2"] == pytest.approx(0.0, abs=0.01)
    assert mean.loc["b", "eta2"] > 0.02


def test_a_block_takes_what_the_seeds_share_out_of_the_residual() -> None:
    frame = crossing(np.random.default_rng(0), 4, a=1.0, noise=0.1)
    frame["score"] += 3.0 * frame["seed"]

    with_block = variance_shares(frame, ["a", "b"], block="seed")
    without = variance_shares(frame, ["a", "b"])

    assert with_block.loc["residual", "squares"] < 0.01 * without.loc["residual", "squares"]


def test_what_is_not_balanced_is_refused() -> None:
    frame = crossing(np.random.default_rng(0), 2)

    with pytest.raises(RequestError, match="12 combinations of a, b equally often"):
        variance_shares(frame.iloc[1:], ["a", "b"])
    with pytest.raises(RequestError, match="no gaps"):
        variance_shares(frame.assign(score=np.nan), ["a", "b"])
    with pytest.raises(RequestError, match="got the same everywhere"):
        variance_shares(frame.assign(score=1.0), ["a", "b"])
    with pytest.raises(RequestError, match="no freedom"):
        variance_shares(crossing(np.random.default_rng(0), 1), ["a", "b"])
    with pytest.raises(RequestError, match="Unknown column 'c'"):
        variance_shares(frame, ["a", "c"])
