"""Values to try: against NumPy, SciPy and hand-worked numbers; equal seeds, nested boxes, edges."""

from __future__ import annotations

import math
import random as standard
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from recipebench.benchmarks import search
from recipebench.benchmarks.search import RULES, Axis, Space, Trial, coarse_to_fine, edges, ranked, values
from recipebench.errors import RequestError

RATE = Axis(low=1e-4, high=1, scale="log")
BETA = Axis(low=0.9, high=0.999, scale="one_minus_log")
PLANE = Space({"lr": RATE, "eps": Axis(low=1e-9, high=1e-5, scale="log")})


def test_decades_come_out_as_they_are_written() -> None:
    assert values({"log_grid": {"low": 1e-4, "high": 1, "points": 5}}) == (0.0001, 0.001, 0.01, 0.1, 1.0)
    assert values({"one_minus_log_grid": {"low": 0.9, "high": 0.999, "points": 3}}) == (0.9, 0.99, 0.999)
    assert values({"grid": {"low": 0.1, "high": 0.5, "points": 5}}) == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert values({"integers": {"low": 2, "high": 4}}) == (2, 3, 4)
    assert values({"integers": {"low": 50, "high": 100, "points": 6}}) == (50, 60, 70, 80, 90, 100)
    assert values({"log_integers": {"low": 1, "high": 4096, "points": 13}}) == tuple(2**k for k in range(13))


@pytest.mark.parametrize(("low", "high", "points"), [(3e-5, 0.7, 11), (0.013, 2.9, 4), (1e-12, 1e12, 50)])
def test_grids_are_those_of_numpy(low: float, high: float, points: int) -> None:
    np.testing.assert_allclose(
        search.log_grid(low, high, points), np.geomspace(low, high, points), rtol=1e-11
    )
    np.testing.assert_allclose(search.grid(low, high, points), np.linspace(low, high, points), rtol=1e-11)


def test_the_grid_of_one_minus_is_geometric_in_the_distance_from_one() -> None:
    found = search.one_minus_log_grid(0.5, 0.9995, 9)

    np.testing.assert_allclose(1 - np.array(found), np.geomspace(0.5, 0.0005, 9), rtol=1e-9)
    assert found[0] == 0.5
    assert found[-1] == 0.9995


@pytest.mark.parametrize("u", [0.0, 0.013, 0.25, 0.5, 0.9, 1.0])
def test_quantiles_are_those_of_scipy(u: float) -> None:
    assert RATE.at(u) == pytest.approx(stats.loguniform(1e-4, 1).ppf(u), rel=1e-11)
    assert Axis(low=-2, high=3).at(u) == pytest.approx(stats.uniform(-2, 5).ppf(u), rel=1e-11)
    assert 1 - BETA.at(u) == pytest.approx(stats.loguniform(1e-3, 0.1).ppf(1 - u), rel=1e-9)


def test_where_draws_fall_on_the_two_scales() -> None:
    """On a linear scale nine tenths of [1e-4, 1] lie above .1, on a logarithmic one a quarter a decade."""
    linear = np.array(search.random(1e-4, 1, 10_000, seed=3))
    log = np.array(search.log_random(1e-4, 1, 10_000, seed=3))
    beta = np.array(search.one_minus_log_random(0.9, 0.999, 10_000, seed=3))

    assert stats.uniform(1e-4, 1 - 1e-4).sf(0.1) == pytest.approx(0.9, abs=1e-4)
    assert np.mean(linear > 0.1) == pytest.approx(0.9, abs=0.01)
    assert np.histogram(np.log10(log), [-4, -3, -2, -1, 0])[0] / 10_000 == pytest.approx(0.25, abs=0.015)
    assert np.mean(beta > 0.99) == pytest.approx(0.5, abs=0.02)
    assert stats.kstest(log, stats.loguniform(1e-4, 1).cdf).pvalue > 1e-3


def test_whole_numbers_are_equally_likely_or_their_logarithms_are() -> None:
    layers = Axis(low=2, high=4, whole=True).draws(9_000, seed=1)
    assert set(layers) == {2, 3, 4}
    assert all(type(v) is int for v in layers)
    assert [layers.count(v) for v in (2, 3, 4)] == pytest.approx([3_000] * 3, abs=150)

    units = Axis(low=1, high=7, scale="log", whole=True).draws(10_000, seed=1)
    shares = [units.count(v) / 10_000 for v in range(1, 8)]
    assert shares == pytest.approx([math.log((v + 1) / v) / math.log(8) for v in range(1, 8)], abs=0.02)


def test_draws_of_whole_numbers_for_a_list_differ() -> None:
    assert sorted(search.random_integers(5, 9, 5, seed=2)) == [5, 6, 7, 8, 9]
    assert len(set(search.log_random_integers(1, 1000, 30, seed=2))) == 30


def test_equal_seeds_give_equal_trials_whatever_else_is_drawn() -> None:
    state = standard.getstate()

    first = PLANE.random(25, seed=4)

    assert first == PLANE.random(25, seed=4)
    assert first[:10] == PLANE.random(10, seed=4)
    assert first != PLANE.random(25, seed=5)
    assert first != PLANE.random(25, seed=4, stage=1)
    alone = Space({"lr": RATE}).random(25, seed=4)
    assert [trial["lr"] for trial in first] == [trial["lr"] for trial in alone]
    assert standard.getstate() == state


def test_streams_stay_as_they_are() -> None:
    """Values stand in cell ids: another stream would orphan every stored result of a random search."""
    assert search.log_random(1e-4, 1, 3, seed=0) == (0.000139119350832, 0.161132789167, 0.1367629834)


def test_searches_of_different_ranges_stand_at_equal_places() -> None:
    wide, narrow = RATE.draws(9, seed=1), Axis(low=1e-3, high=0.1, scale="log").draws(9, seed=1)

    np.testing.assert_allclose((np.log10(wide) + 4) / 4, (np.log10(narrow) + 3) / 2, atol=1e-11)


def test_random_trials_try_25_rates_where_a_grid_tries_5() -> None:
    grid, drawn = PLANE.grid(5), PLANE.random(25)

    assert len(grid) == len(drawn) == 25
    for name in ("lr", "eps"):
        assert len({trial[name] for trial in grid}) == 5
        assert len({trial[name] for trial in drawn}) == 25
    assert grid[0] == {"lr": 1e-4, "eps": 1e-9}
    assert grid[1] == {"lr": 1e-4, "eps": 1e-8}


def bowl(trials: Sequence[Trial]) -> list[float]:
    """The squared distance from lr = 10^-2.3, in decades."""
    return [(math.log10(trial["lr"]) + 2.3) ** 2 for trial in trials]


def test_three_rounds_by_hand() -> None:
    found = coarse_to_fine(bowl, Space({"lr": RATE}), rounds=3, trials=5, direction="lower", design="grid")

    boxes = [(r.space.axes["lr"].low, r.space.axes["lr"].high) for r in found.rounds]
    # Of 1e-4 … 1 the best is 1e-2 (.3 decades off), of 1e-3 … 1e-1 10^-2.5 (.2), then 10^-2.25 (.05).
    assert boxes == [(1e-4, 1), (1e-3, 0.1), (1e-3, 0.01)]
    assert found.best == {"lr": pytest.approx(10**-2.25, rel=1e-11)}
    assert found.score == pytest.approx(0.05**2)
    assert found.edges == {}
    assert [len(r.trials) for r in found.rounds] == [5, 5, 5]


def test_narrowing_beats_as_many_trials_at_once() -> None:
    """On a narrow bowl in two dimensions, averaged over seeds."""

    def score(trials: Sequence[Trial]) -> list[float]:
        return [-((math.log10(t["lr"]) + 2.3) ** 2) - (math.log10(t["eps"]) + 6.6) ** 2 for t in trials]

    once = [coarse_to_fine(score, PLANE, rounds=1, trials=50, seed=s).score for s in range(40)]
    fine = [coarse_to_fine(score, PLANE, rounds=2, trials=25, seed=s).score for s in range(40)]

    assert np.mean(fine) > 0.6 * np.mean(once)  # both negative: less than 0.6 of the distance is left
    assert np.mean(np.array(fine) > np.array(once)) > 0.6


@pytest.mark.parametrize("design", ["grid", "random"])
@pytest.mark.parametrize(("slope", "edge", "limit"), [(1, "high", 1.0), (-1, "low", 1e-4)])
def test_an_optimum_at_an_edge_is_flagged(design: str, slope: int, edge: str, limit: float) -> None:
    found = coarse_to_fine(
        lambda trials: [slope * t["lr"] for t in trials],
        Space({"lr": RATE}),
        rounds=3,
        trials=10,
        design=design,
    )

    assert found.edges == {"lr": edge}
    assert found.best is not None
    assert abs(math.log10(found.best["lr"] / limit)) < 0.2


def test_the_edge_of_one_axis_is_told_apart() -> None:
    tried = [{"lr": 0.1, "beta": 0.9}, {"lr": 0.1, "beta": 0.99}, {"lr": 0.01, "beta": 0.95}]

    assert edges(tried, best={"lr": 0.1, "beta": 0.95}) == {"lr": "high"}
    assert edges(tried, best={"lr": 0.01, "beta": 0.9}) == {"lr": "low", "beta": "low"}
    assert edges(tried[:1], best=tried[0]) == {"lr": "both", "beta": "both"}


def test_what_diverged_is_never_chosen() -> None:
    def score(trials: Sequence[Trial]) -> list[float]:
        return [math.nan if t["lr"] > 0.05 else -math.inf if t["lr"] < 1e-3 else t["lr"] for t in trials]

    found = coarse_to_fine(score, Space({"lr": RATE}), rounds=2, trials=20)

    assert found.best is not None
    assert 0.01 < found.best["lr"] <= 0.05
    assert found.edges == {}


def test_where_all_diverged_nothing_is_chosen() -> None:
    space = Space({"lr": RATE})

    found = coarse_to_fine(lambda trials: [math.inf] * len(trials), space, rounds=2, trials=4)

    assert found.best is None
    assert math.isnan(found.score)
    assert [r.space for r in found.rounds] == [space, space]
    assert found.rounds[0].trials != found.rounds[1].trials


@settings(max_examples=60, deadline=None)
@given(st.floats(-4, 0), st.integers(3, 9), st.integers(1, 4))
def test_a_grid_in_one_dimension_keeps_the_bottom_of_a_valley(at: float, trials: int, rounds: int) -> None:
    found = coarse_to_fine(
        lambda tried: [abs(math.log10(t["lr"]) - at) for t in tried],
        Space({"lr": RATE}),
        rounds=rounds,
        trials=trials,
        direction="lower",
        keep=1,
        design="grid",
    )

    for one in found.rounds:
        assert one.space.axes["lr"].low * (1 - 1e-9) <= 10**at <= one.space.axes["lr"].high * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 12), st.integers(1, 4))
def test_boxes_are_nested_and_hold_the_best(chance: standard.Random, trials: int, keep: int) -> None:
    space = Space({"lr": RATE, "beta": BETA, "layers": Axis(low=2, high=4, whole=True)})
    calls = []

    def score(tried: Sequence[Trial]) -> list[float]:
        calls.append(len(tried))
        return [chance.random() for _ in tried]

    found = coarse_to_fine(score, space, rounds=4, trials=trials, keep=keep)

    assert calls == [trials] * 4
    so_far: list[tuple[float, Trial]] = []
    for before, after in zip(found.rounds, found.rounds[1:], strict=False):
        so_far += zip(before.scores, before.trials, strict=True)
        assert all(before.space.holds(trial) for trial in before.trials)
        assert after.space.holds(max(so_far, key=lambda pair: pair[0])[1])
        for name, axis in after.space.axes.items():
            outer = before.space.axes[name]
            assert outer.low <= axis.low < axis.high <= outer.high
    assert found.score == max(s for r in found.rounds for s in r.scores)


def test_ranking_knows_both_directions() -> None:
    scores = [0.2, math.nan, 0.1, 0.2]

    assert ranked(scores) == [0, 3, 2]
    assert ranked(scores, "lower") == [2, 0, 3]


@pytest.mark.parametrize("name", RULES)
def test_every_rule_can_stand_in_a_suite(name: str) -> None:
    low, high = (1, 40) if "integers" in name else (0.25, 0.75)
    count = {"trials": 6, "seed": 3} if "random" in name else {"points": 6}

    found = values({name: {"low": low, "high": high, **count}})

    assert len(set(found)) == 6
    assert all(low <= value <= high for value in found)
    assert all(type(value) is (int if "integers" in name else float) for value in found)
    assert found == values({name: {"low": low, "high": high, **count}})


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ([0.1], r"expected one rule with its range, such as \{log_grid: .*got \[0.1\]"),
        ({}, "expected one rule with its range"),
        ({"grid": {}, "random": {}}, "expected one rule"),
        ({"log_gird": {}}, "Unknown rule 'log_gird'.*Did you mean 'log_grid'?"),
        ({"grid": 3}, "grid: expected low, high, points as a mapping, got 3"),
        ({"grid": {"low": 0, "high": 1}}, "grid: expected low, high, points, got no points"),
        ({"random": {"low": 0, "high": 1}}, "random: expected low, high, trials, seed, got no trials"),
        ({"grid": {"low": 0, "hgih": 1}}, "grid: Unknown key 'hgih'.*Did you mean 'high'?"),
        (
            {"grid": {"low": 0, "high": 1, "points": 1}},
            "points: expected a whole number from 2 to 10,000, got 1",
        ),
        ({"grid": {"low": 0, "high": 1, "points": 2.0}}, "points: expected a whole number .* got 2.0"),
        ({"grid": {"low": 1, "high": 1, "points": 3}}, "high: expected a number above low, 1, got 1"),
        ({"grid": {"low": "0.1", "high": 1, "points": 3}}, "low: expected a number .* got '0.1'"),
        ({"grid": {"low": True, "high": 2, "points": 3}}, "low: expected a number .* got True"),
        ({"grid": {"low": 0, "high": math.inf, "points": 3}}, "high: expected a number .* got inf"),
        ({"grid": {"low": 0, "high": 10**400, "points": 3}}, "high: expected a number .* got 1000"),
        ({"grid": {"low": math.nan, "high": 1, "points": 3}}, "low: expected a number .* got nan"),
        (
            {"log_grid": {"low": 0, "high": 1, "points": 3}},
            "log_grid: low: expected a number above 0 for a log",
        ),
        ({"one_minus_log_grid": {"low": 0.9, "high": 1, "points": 3}}, "high: expected a number below 1"),
        ({"integers": {"low": 1.5, "high": 3}}, "integers: low: expected a whole number, got 1.5"),
        ({"integers": {"low": 1, "high": 3, "points": 4}}, "points: expected at most 3, got 4"),
        (
            {"log_integers": {"low": 1, "high": 8, "points": 8}},
            "no two round to one whole number, got 8 .* 6 differ",
        ),
        (
            {"random": {"low": 0, "high": 1, "trials": 0}},
            "trials: expected a whole number from 1 to 10,000, got 0",
        ),
        (
            {"random": {"low": 0, "high": 1, "trials": 3, "seed": -1}},
            "seed: expected a whole number of at least 0",
        ),
        (
            {"random_integers": {"low": 1, "high": 3, "trials": 4}},
            "random_integers: trials: expected at most 3, got 4",
        ),
    ],
)
def test_what_is_wrong_is_said(spec: dict[str, object], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        values(spec)


def test_a_search_refuses_what_does_not_fit_before_it_evaluates() -> None:
    def score(trials: Sequence[Trial]) -> list[float]:
        raise AssertionError("must not be called")

    for text, options in (
        (r"Unknown direction 'up'\. Known: higher, lower", {"direction": "up"}),
        ("Unknown design 'gird'.*Did you mean 'grid'", {"design": "gird"}),
        ("keep: expected a whole number from 1", {"keep": 0}),
        ("trials: expected a whole number to the power of the 2 axes for a grid, got 5", {"design": "grid"}),
    ):
        with pytest.raises(RequestError, match=text):
            coarse_to_fine(score, PLANE, rounds=1, trials=5, **options)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="rounds: expected a whole number from 1 to 10,000, got 0"):
        coarse_to_fine(score, PLANE, rounds=0, trials=5)
    with pytest.raises(RequestError, match="evaluate: expected 5 scores, got 4"):
        coarse_to_fine(lambda trials: [0.0] * 4, PLANE, rounds=1, trials=5)
    with pytest.raises(RequestError, match="points: expected one count for each of lr, eps, got"):
        PLANE.grid({"lr": 5})
    with pytest.raises(RequestError, match="space: expected at least one axis"):
        Space({})
    with pytest.raises(RequestError, match=r"Unknown scale 'logg'.*Did you mean 'log'"):
        Axis(low=1, high=2, scale="logg")


def test_no_torch_is_imported() -> None:
    code = "import sys, recipebench.benchmarks.search; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
