"""Searches that favor a level are refused, and simulations show what would come of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit  # type: ignore[import-untyped]

from recipebench import reports
from recipebench.errors import RequestError
from recipebench.levels import Tuned
from recipebench.reports.contents import contents
from recipebench.reports.fairness import check_fair
from recipebench.reports.suite_info import Endpoint, Range, Space, Targets, Tuning

FIRST = "0000000000000001"  # sgd on digits


def _check(records: pd.DataFrame, tuning: Tuning) -> None:
    trial = records["role"] == "trial"
    check_fair(records[trial], records[~trial], tuning)


def _of(records: pd.DataFrame, search: str = FIRST, role: str = "trial") -> pd.Series[bool]:
    return (records["search"] == search) & (records["role"] == role)


def test_fair_searches_pass_finished_or_not(tuned: Any, make_tuned: Callable[..., Any]) -> None:
    half = make_tuned(unfinished=2)

    assert half.records["chosen"].isna().sum() > tuned.records["chosen"].isna().sum()
    for made in (tuned, half):
        _check(made.records, made.suite.tuning)


def fewer_trials(records: pd.DataFrame) -> pd.DataFrame:
    return records[~(_of(records) & (records["trial"] >= 4))]


def a_seed_less(records: pd.DataFrame) -> pd.DataFrame:
    return records[~(_of(records) & (records["seed"] == 1001))]


def fewer_than_declared(records: pd.DataFrame) -> pd.DataFrame:
    return records[~(records["trial"].fillna(0) == 8)]


def another_seed(records: pd.DataFrame) -> pd.DataFrame:
    return records.assign(seed=records["seed"].where(records["seed"] != 1001, 1002))


def shared_seeds(records: pd.DataFrame) -> pd.DataFrame:
    return records.assign(seed=records["seed"].where(records["seed"] != 2, 1000))


def another_grid(records: pd.DataFrame) -> pd.DataFrame:
    moved = _of(records) & (records["trial"] == 1)
    return records.assign(**{"optimizer.lr": records["optimizer.lr"].where(~moved, 0.0002)})


def another_space(records: pd.DataFrame) -> pd.DataFrame:
    moved = _of(records) & (records["trial"] == 0)
    return records.assign(**{"optimizer.lr": records["optimizer.lr"].where(~moved, 0.00005)})


def another_choice(records: pd.DataFrame) -> pd.DataFrame:
    return _chosen(records, {5})


def a_choice_by_test_data(records: pd.DataFrame) -> pd.DataFrame:
    best = _of(records) & (records["trial"] == 7)
    return _chosen(
        records.assign(test_accuracy_at_best=records["test_accuracy_at_best"].mask(best, 0.99)), {7}
    )


def two_choices(records: pd.DataFrame) -> pd.DataFrame:
    return _chosen(records, {5, 6})


def no_choice(records: pd.DataFrame) -> pd.DataFrame:
    return _chosen(records, set())


def a_diverged_choice(records: pd.DataFrame) -> pd.DataFrame:
    return _chosen(records, {8})


def a_choice_too_early(records: pd.DataFrame) -> pd.DataFrame:
    gap = _of(records) & (records["trial"] == 0)
    return records.assign(status=records["status"].mask(gap, "failed"))


def a_report_of_another_value(records: pd.DataFrame) -> pd.DataFrame:
    moved = _of(records, role="report")
    return records.assign(**{"optimizer.lr": records["optimizer.lr"].where(~moved, 0.01)})


def a_report_without_trials(records: pd.DataFrame) -> pd.DataFrame:
    own = _of(records, role="report")
    return records.assign(search=records["search"].mask(own, "ffff"))


def a_report_too_early(records: pd.DataFrame) -> pd.DataFrame:
    early = a_choice_too_early(records)
    return early.assign(chosen=early["chosen"].mask(_of(early), None))


def _chosen(records: pd.DataFrame, trials: set[int]) -> pd.DataFrame:
    mine = _of(records)
    changed = records["chosen"].astype(object)
    changed[mine] = records.loc[mine, "trial"].isin(trials)
    return records.assign(chosen=changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            fewer_trials,
            r"as many trials for every search, got 4 trials \(8 cells\) of sgd \(lr tuned\) on digits",
        ),
        (
            a_seed_less,
            r"as many trials for every search, got 9 trials \(9 cells\).* and 9 trials \(18 cells\)",
        ),
        (fewer_than_declared, "expected 9 trials on 2 seeds each, got 8 trials"),
        (another_seed, "once on each of the seeds 1000, 1001"),
        (shared_seeds, "seeds that no reported cell uses.* got 1000 in both"),
        (another_grid, "sgd: lr: expected the same values in all searches of the level"),
        (
            another_space,
            "sgd: lr: expected values from one space on all data sets, 0.0001 to 1, got 5e-05 on digits",
        ),
        (another_choice, r"expected the choice of trial 6 \(0.953\), .* got 5 \(0.9405\)"),
        (a_choice_by_test_data, r"choice of trial 6 .* best mean validation_accuracy_at_best .* got 7"),
        (two_choices, "expected the choice of trial 6 .* got 5 .*, 6 "),
        (no_choice, "expected the choice of trial 6 .* got none"),
        (a_diverged_choice, r"expected the choice of trial 6 .* got 8 \(0.1\)"),
        (a_choice_too_early, "expected no choice before all trials are done"),
        (a_report_of_another_value, r"expected the chosen optimizer.lr, 0.1, in its report, got 0.01"),
        (a_report_without_trials, "expected the trials of its search, got none"),
        (a_report_too_early, "expected no report before its search has chosen"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_unfair_searches_are_refused(
    tuned: Any, change: Callable[[pd.DataFrame], pd.DataFrame], message: str, tmp_path: Path
) -> None:
    records = change(tuned.records)

    with pytest.raises(RequestError, match=message):
        _check(records, tuned.suite.tuning)
    with pytest.raises(RequestError, match=message):
        reports.write(records, tuned.history, tuned.suite, tmp_path / "out", [])
    assert not list(tmp_path.iterdir())


def test_the_earlier_of_equals_is_the_choice_whatever_the_order_of_the_seeds(tuned: Any) -> None:
    equal = tuned.records.copy()
    parts = {5: {1000: 0.7, 1001: 0.3}, 6: {1000: 0.3, 1001: 0.7}}
    for trial, seeds in parts.items():
        for seed, value in seeds.items():
            at = _of(equal) & (equal["trial"] == trial) & (equal["seed"] == seed)
            equal.loc[at, "validation_accuracy_at_best"] = value + 0.453
    equal.loc[_of(equal, role="report"), "optimizer.lr"] = equal.loc[
        _of(equal) & (equal["trial"] == 5), "optimizer.lr"
    ].iloc[0]

    _check(_chosen(equal, {5}), tuned.suite.tuning)
    with pytest.raises(RequestError, match="choice of trial 5"):
        _check(_chosen(equal, {6}), tuned.suite.tuning)


def test_a_score_that_is_no_number_counts_at_chance(tuned: Any) -> None:
    lost = tuned.records.copy()
    at = _of(lost) & (lost["trial"] == 6)
    lost.loc[at, "validation_accuracy_at_best"] = [np.nan, np.inf]

    with pytest.raises(RequestError, match=r"expected the choice of trial 5 \(0.9405\), .* got 6 \(0.1\)"):
        _check(lost, tuned.suite.tuning)


def test_a_level_without_a_declared_space_is_refused(tuned: Any) -> None:
    (_, adam) = tuned.suite.tuning.spaces

    with pytest.raises(RequestError, match="declared space for lr of sgd, got none"):
        _check(tuned.records, replace(tuned.suite.tuning, spaces=(adam,)))


def test_test_data_choose_nothing(tuned: Any) -> None:
    draw = np.random.default_rng(5)
    noisy = tuned.records.copy()
    trial = noisy["role"] == "trial"
    noisy.loc[trial, "test_accuracy_at_best"] = draw.random(int(trial.sum()))

    _check(noisy, tuned.suite.tuning)
    found, changed = (contents(r, tuned.history, tuned.suite, []) for r in (tuned.records, noisy))

    assert found.headline.lines == changed.headline.lines
    pd.testing.assert_frame_equal(found.means, changed.means)
    for name in ("against_default", "chosen", "sensitivity", "best_of_k", "ranks", "cost"):
        pd.testing.assert_frame_equal(getattr(found.searches, name), getattr(changed.searches, name))
    by_test = {"digits": Endpoint(column="test_accuracy", direction="higher", chance=0.1)}
    with pytest.raises(RequestError, match="test data choose nothing"):
        replace(tuned.suite.tuning, criterion=by_test)
    with pytest.raises(RequestError, match="test data choose nothing"):
        Targets(criterion=by_test)


def test_a_plan_must_make_sense(tuned: Any) -> None:
    limits = Range(low=1e-4, high=1.0, scale="log")

    with pytest.raises(RequestError, match="expected low below high"):
        Range(low=1.0, high=1.0, scale="log")
    with pytest.raises(RequestError, match="Unknown scale 'lgo'"):
        Range(low=0.1, high=1.0, scale="lgo")
    with pytest.raises(RequestError, match="expected ranges of 'beta1, lr', got lr"):
        Space(factor="optimizer", level="adam", tuned="beta1, lr", ranges={"lr": limits})
    with pytest.raises(RequestError, match="at least 1 of seeds, got 0"):
        replace(tuned.suite.tuning, seeds=())
    assert Tuned("adam", {}, {"lr": limits, "beta1": limits}).tuned == "beta1, lr"


def _false_positives(n: int, *, fresh: bool) -> float:
    """How often best of 5 looks better than an equal at nominal 5 %: paired one-sided t test over n seeds."""
    draw, repeats = np.random.default_rng(n), 10_000
    trials, untuned = draw.normal(size=(repeats, n, 5)), draw.normal(size=(repeats, n))
    best = trials.mean(axis=1).argmax(axis=1)
    tuned = np.take_along_axis(trials, best[:, None, None], axis=2)[..., 0]
    if fresh:
        tuned, untuned = draw.normal(size=(2, repeats, n))
    apart = tuned - untuned
    t = apart.mean(axis=1) / (apart.std(axis=1, ddof=1) / np.sqrt(n))
    return float((t > stdtrit(n - 1, 0.95)).mean())


@pytest.mark.parametrize(("n", "expected"), [(3, 0.13), (5, 0.15), (10, 0.16)])
def test_tuning_on_the_reported_seeds_finds_differences_that_are_not_there(n: int, expected: float) -> None:
    # 10,000 repeats: a share of .15 has a standard error of .0036, one of .05 of .0022.
    assert _false_positives(n, fresh=False) == pytest.approx(expected, abs=0.015)
    assert _false_positives(n, fresh=True) == pytest.approx(0.05, abs=0.009)


def _reported(trials: int, draw: np.random.Generator, repeats: int) -> np.ndarray[Any, Any]:
    """The score on fresh seeds of the trial that validation chose, for an optimizer like any other."""
    quality = draw.normal(size=(repeats, trials))
    validation = quality + 0.3 * draw.normal(size=quality.shape)
    return quality[np.arange(repeats), validation.argmax(axis=1)] + 0.3 * draw.normal(size=repeats)


def test_more_trials_favor_one_of_two_equal_optimizers_and_equal_trials_do_not() -> None:
    draw, repeats = np.random.default_rng(4), 10_000

    more = _reported(16, draw, repeats) - _reported(4, draw, repeats)
    equal = _reported(16, draw, repeats) - _reported(16, draw, repeats)

    assert more.mean() > 0.6  # of a standard deviation between trials; its standard error is .01
    assert (more > 0).mean() > 0.7
    assert abs(equal.mean()) < 0.04
    assert (equal > 0).mean() == pytest.approx(0.5, abs=0.02)
