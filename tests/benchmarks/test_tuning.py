"""Searches: which trials follow which scores, what is chosen, what a search's id depends on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from recipebench.benchmarks.agenda import agenda
from recipebench.benchmarks.search import Axis, Space, coarse_to_fine
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.tuning import Course, Search

RATE: dict[str, Any] = {"low": 1e-4, "high": 1, "trials": 9, "search": "log_grid"}


def suite_of(given: dict[str, Any] | None = None, **changes: object) -> dict[str, Any]:
    return {
        "name": "t",
        "data": ["digits"],
        "model": {"mlp": {"hidden": [8]}},
        "matrix": {"optimizer": [{"sgd": {"lr": {"tune": {**RATE, **(given or {})}}}}]},
        "seeds": 2,
        "tuning": {"seeds": 2},
        **changes,
    }


def search_of(given: dict[str, Any] | None = None, **changes: object) -> Search:
    (course,) = agenda(load_suite(suite_of(given, **changes))).courses
    return course.search


def followed(search: Search, score: Callable[[float, int], float]) -> Course:
    """Follow a search to its end; `score` is of a rate and a seed."""
    scores: dict[str, float] = {}
    course = search.follow(scores)
    while not course.complete:
        for trial in course.trials:
            for cell in trial.cells:
                scores[cell.id] = score(trial.values["optimizer.lr"], cell.seed)
        course = search.follow(scores)
    return course


def test_every_trial_is_trained_on_every_tuning_seed() -> None:
    course = search_of().follow({})

    assert len(course.trials) == 9
    assert [cell.seed for cell in course.trials[0].cells] == [1_000_000, 1_000_001]
    rates = [cell.optimizer.parameters["lr"] for t in course.trials for cell in t.cells[:1] if cell.optimizer]
    assert rates == [t.values["optimizer.lr"] for t in course.trials]
    assert (course.complete, course.best, course.missing) == (False, None, 18)


def test_the_best_mean_over_seeds_is_chosen_and_of_equals_the_first() -> None:
    steady = followed(search_of(), lambda lr, seed: -abs(math.log10(lr) + 1))
    assert steady.trials[steady.best or 0].values == {"optimizer.lr": 0.1}
    lucky = followed(search_of(), lambda lr, seed: 3.0 if (lr, seed) == (1.0, 1_000_000) else lr == 0.01)
    assert lucky.trials[lucky.best or 0].values == {"optimizer.lr": 1.0}
    equal = followed(search_of(), lambda lr, seed: min(lr, 0.01))
    assert equal.trials[equal.best or 0].values == {"optimizer.lr": 0.01}


def test_where_less_is_better_the_lowest_is_chosen() -> None:
    changes = {"data": [{"synthetic_regression": {"n": 100}}], "protocol": {"batch_size": 10}}
    search = search_of(**changes)

    assert (search.criterion.column, search.criterion.direction) == ("validation_mse_at_best", "lower")
    course = followed(search, lambda lr, seed: abs(math.log10(lr) + 2))
    assert course.choice()["chosen"] == {"optimizer.lr": 0.01}


def test_an_optimum_at_the_end_of_its_range_is_told() -> None:
    assert followed(search_of(), lambda lr, seed: lr).choice()["edges"] == {"optimizer.lr": "high"}
    assert followed(search_of(), lambda lr, seed: -abs(lr - 0.01)).choice()["edges"] == {}


def test_a_search_without_one_finite_score_takes_its_first_trial() -> None:
    course = followed(search_of(), lambda lr, seed: math.nan)

    assert course.best == 0
    assert course.choice()["trials"][0]["score"] is None


def test_rounds_narrow_as_the_search_rules_do() -> None:
    given = {"search": "coarse_to_fine", "trials": 12, "rounds": 3}

    course = followed(search_of(given), lambda lr, seed: -abs(math.log10(lr) + 1.7))

    space = Space({"optimizer.lr": Axis(low=1e-4, high=1, scale="log")})
    alone = coarse_to_fine(
        lambda trials: [-abs(math.log10(t["optimizer.lr"]) + 1.7) for t in trials],
        space,
        rounds=3,
        trials=4,
        design="latin",
    )
    assert [t.values for t in course.trials] == [t for one in alone.rounds for t in one.trials]
    assert course.trials[course.best or 0].values == alone.best


def test_later_rounds_are_planned_before_they_are_known() -> None:
    suite = load_suite(suite_of({"search": "coarse_to_fine", "trials": 12, "rounds": 3}))

    found = agenda(suite)

    assert len(found.planned) == 12 * 2 + 2
    assert found.to_come == 8 * 2 + 2
    assert len({row.id for row in found.planned}) == len(found.planned)
    assert len(found.cells) == 4 * 2


def test_all_optimizers_stand_at_equal_places_of_their_ranges() -> None:
    levels = [
        {"sgd": {"lr": {"tune": {"low": 1e-3, "high": 10, "trials": 8}}}},
        {"adam": {"lr": {"tune": {"low": 1e-5, "high": 0.1, "trials": 8}}}},
    ]
    courses = agenda(load_suite(suite_of() | {"matrix": {"optimizer": levels}})).courses

    sgd, adam = ([t.values["optimizer.lr"] for t in course.trials] for course in courses)

    assert [a / 100 for a in sgd] == pytest.approx(adam, rel=1e-10)


def test_the_id_names_what_determines_the_choice_and_nothing_else() -> None:
    first = search_of().id

    assert search_of(seeds=5, description="other words", smallest_effect={"digits": 0.01}).id == first
    others = [
        search_of({"high": 2}).id,
        search_of({"trials": 10}).id,
        search_of(tuning={"seeds": 3}).id,
        search_of(protocol={"epochs": 3}).id,
        search_of(endpoint="test_loss_at_best").id,
        search_of(model={"mlp": {"hidden": [9]}}).id,
    ]
    assert len({first, *others}) == 1 + len(others)


def test_a_hypercube_has_a_trial_in_every_part_of_every_axis() -> None:
    space = Space({"a": Axis(low=0, high=1), "b": Axis(low=1e-4, high=1, scale="log")})

    trials = space.latin(20, seed=3)

    assert sorted(int(t["a"] * 20) for t in trials) == list(range(20))
    assert sorted(int((math.log10(t["b"]) + 4) * 5) for t in trials) == list(range(20))
    assert trials == space.latin(20, seed=3) != space.latin(20, seed=4)
    assert [t["a"] for t in Space({"a": space.axes["a"]}).latin(20, seed=3)] == [t["a"] for t in trials]
