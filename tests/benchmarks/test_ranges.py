"""Ranges of hyper-parameters: what a suite may say of them, how they are searched, what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from recipebench.benchmarks import ranges
from recipebench.benchmarks.combinations import CATALOGS
from recipebench.benchmarks.suite import json_schema, load_suite
from recipebench.errors import RequestError
from recipebench.levels import Parameter, Tuned

RATE = {"tune": {"low": 1e-4, "high": 1, "trials": 16}}
SUITE: dict[str, Any] = {
    "name": "t",
    "data": ["digits"],
    "model": {"mlp": {"hidden": [8]}},
    "matrix": {"optimizer": ["sgd", {"sgd": {"lr": RATE}}]},
    "seeds": 2,
}


def parameter(factor: str, level: str, name: str) -> Parameter:
    return next(p for p in CATALOGS[factor][level].parameters if p.name == name)


def tune(**given: object) -> dict[str, object]:
    return {"tune": {"low": 0.5, "high": 0.9, "trials": 8, **given}}


def parse(given: object, factor: str = "optimizer", level: str = "adam", name: str = "lr") -> ranges.Tune:
    return ranges.parse(parameter(factor, level, name), given, f"{factor} {level}")


@pytest.mark.parametrize(
    ("factor", "level", "name", "search", "scale"),
    [
        ("optimizer", "adam", "lr", "log_random", "log"),
        ("optimizer", "adam", "beta1", "log_grid", "one_minus_log"),
        ("optimizer", "momentum", "momentum", "coarse_to_fine", "one_minus_log"),
        ("optimizer", "rmsprop", "alpha", "latin_hypercube", "one_minus_log"),
        ("regularizer", "dropout", "p", "random", "linear"),
        ("regularizer", "l2", "strength", "grid", "linear"),
    ],
)
def test_a_decay_rate_is_searched_by_its_distance_from_one(
    factor: str, level: str, name: str, search: str, scale: str
) -> None:
    assert parse(tune(search=search), factor, level, name).axis.scale == scale


def test_the_scale_of_a_hypercube_can_be_given() -> None:
    assert parse(tune(scale="linear")).axis.scale == "linear"
    assert parse(tune(scale="log"), name="beta2").axis.scale == "one_minus_log"


def test_rounds_share_the_trials() -> None:
    assert parse(tune(search="coarse_to_fine")).effort == (8, "coarse_to_fine", 2)
    assert parse(tune(search="coarse_to_fine", rounds=4)).effort == (8, "coarse_to_fine", 4)
    assert parse(tune()).effort == (8, "latin_hypercube", 1)


def test_whole_numbers_are_tried_for_whole_hyper_parameters() -> None:
    found = parse({"tune": {"low": 1, "high": 9, "trials": 3}}, "regularizer", "early_stopping", "patience")

    assert found.axis.whole
    with pytest.raises(RequestError, match=r"patience: expected a whole number .*got 1\.5"):
        parse({"tune": {"low": 1.5, "high": 9, "trials": 3}}, "regularizer", "early_stopping", "patience")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tun": {}}, "optimizer adam: lr: expected a value, or {tune: {low: …, high: …, trials: …}}"),
        ({"tune": 3}, "expected a value, or {tune:"),
        ({"tune": {"low": 0.1, "high": 1}}, "expected low, high, trials, got no trials"),
        (
            tune(hgih=1),
            "Unknown key 'hgih'. Known: high, low, rounds, scale, search, trials. Did you mean 'high'?",
        ),
        (tune(search="log_gird"), "Did you mean 'log_grid'?"),
        (tune(low=0.9, high=0.5), "expected a number above low, 0.9, got 0.5"),
        (tune(low=-1), "optimizer adam, tune low: lr: expected a number above 0, got -1"),
        (tune(trials=1), "trials: expected a whole number from 2 to 10,000, got 1"),
        (tune(trials=True), "trials: expected a whole number from 2 to 10,000, got True"),
        (tune(rounds=2), "expected rounds with the search coarse_to_fine only"),
        (tune(search="coarse_to_fine", rounds=3), "expected a whole number that divides the 8 trials, got 3"),
        (tune(search="log_grid", scale="log"), "the other names say it"),
        (tune(scale="cubic"), "Unknown scale 'cubic'. Known: linear, log."),
    ],
)
def test_what_no_range_is_gets_one_message(given: object, message: str) -> None:
    with pytest.raises(RequestError, match=re.escape(message)):
        parse(given)


def test_names_and_lists_cannot_be_tuned() -> None:
    with pytest.raises(RequestError, match="position: expected a number to tune, but it is none"):
        parse(tune(), "regularizer", "batch_norm", "position")


def test_a_level_with_ranges_keeps_its_other_hyper_parameters() -> None:
    level = ranges.choose(CATALOGS["optimizer"], "adam", {"lr": parse(RATE), "eps": 1e-6})

    assert isinstance(level, Tuned)
    assert level.parameters == {"beta1": 0.9, "beta2": 0.999, "eps": 1e-6}
    assert level.tuned == "lr"
    assert ranges.value_of(level, "lr") == parse(RATE)
    assert ranges.value_of(level, "eps") == 1e-6
    assert ranges.value_of(level, "momentum") is None


# In a suite


def refusal(**changes: object) -> str:
    with pytest.raises(RequestError) as refused:
        load_suite({**SUITE, **changes})
    return str(refused.value)


def optimizers(*levels: object) -> dict[str, object]:
    return {"matrix": {"optimizer": list(levels)}}


def adam(**given: object) -> dict[str, object]:
    return {"adam": {"lr": {"tune": {"low": 1e-5, "high": 0.1, "trials": 16, **given}}}}


def test_default_and_tuned_stand_side_by_side() -> None:
    first, second = load_suite(SUITE).levels()["optimizer"]

    assert (first.name, first.parameters) == ("sgd", {"lr": 0.1})
    assert isinstance(second, Tuned)
    assert load_suite(SUITE).tuning.seeds == (1_000_000, 1_000_001, 1_000_002)


def test_an_axis_of_the_matrix_can_be_a_range_for_all_levels_that_have_it() -> None:
    suite = load_suite({**SUITE, "matrix": {"optimizer": ["sgd", "adam"], "optimizer.lr": RATE}})

    assert [level.tuned for level in suite.levels()["optimizer"] if isinstance(level, Tuned)] == ["lr", "lr"]


def test_a_search_in_which_one_gets_more_trials_is_refused() -> None:
    sgd = {"sgd": {"lr": RATE}}

    message = refusal(**optimizers(sgd, adam(trials=64)))

    assert "matrix.optimizer[1].adam.lr" in message
    assert "expected as many trials, searched alike, as for optimizer sgd: lr (16 by latin" in message
    assert "got 64 by latin_hypercube: whoever may try more looks better" in message
    assert "got 16 by log_grid" in refusal(**optimizers(sgd, adam(search="log_grid")))
    assert "got 16 by coarse_to_fine in 2 rounds" in refusal(**optimizers(sgd, adam(search="coarse_to_fine")))


def test_shared_seeds_are_refused_in_the_file_and_on_the_command_line() -> None:
    message = refusal(seeds=[0, 7], tuning={"seeds": [7, 8]})

    assert "tuning.seeds: expected seeds that the suite does not report on, got 7: what is tuned" in message
    with pytest.raises(
        RequestError, match=r"tuning\.seeds: expected seeds that the suite does not report on"
    ):
        load_suite({**SUITE, "tuning": {"seeds": [4]}}).replaced(seeds=5)


def test_one_level_has_one_range_on_all_data_sets() -> None:
    other = {"data": "digits", "optimizer": adam(low=1e-6), "activation": "tanh"}

    message = refusal(**optimizers(adam()), include=[other])

    assert "expected one range of optimizer adam: lr for the whole suite, got two" in message


def test_what_is_tuned_together_must_make_a_grid() -> None:
    both = {"search": "log_grid", "trials": 10}
    levels = {"adam": {"lr": tune(low=1e-4, **both), "eps": tune(low=1e-8, **both)}}

    message = refusal(matrix={"optimizer": [levels]})

    assert "a whole number to the power of the 2 axes for a grid, got 10" in message


def test_seeds_for_tuning_without_anything_to_tune_are_refused() -> None:
    assert "tuning: expected a hyper-parameter to tune" in refusal(**optimizers("sgd"), tuning={"seeds": 2})
    assert "Unknown key 'sedes'. Known: seeds. Did you mean 'seeds'?" in refusal(tuning={"sedes": 2})


def test_data_and_models_are_not_tuned() -> None:
    data = [{"synthetic_regression": {"noise": {"tune": {"low": 0.1, "high": 1, "trials": 4}}}}]

    assert "noise: expected a value: only factors of a recipe are tuned" in refusal(data=data)


def test_ranges_count_as_levels_when_cells_are_excluded() -> None:
    named = load_suite({**SUITE, "exclude": [{"optimizer": "sgd", "activation": "relu"}], **_two()})
    assert all(c.name != "relu" for c in named.levels()["activation"])
    by_value = load_suite({**SUITE, "exclude": [{"optimizer.lr": [0.1]}]})
    assert [type(level) for level in by_value.levels()["optimizer"]] == [Tuned]


def _two() -> dict[str, object]:
    return {"matrix": {"activation": ["relu", "tanh"], **SUITE["matrix"]}}


def test_targets_are_numbers_of_data_sets_or_a_share() -> None:
    assert load_suite({**SUITE, "time_to_target": {"digits": 0.9, "share": 0.5}}).time_to_target == {
        "digits": 0.9,
        "share": 0.5,
    }
    assert "Unknown data" in refusal(time_to_target={"digit": 0.9})
    assert "Unknown data of this suite 'mnist'" in refusal(time_to_target={"mnist": 0.9})
    assert "expected a share strictly between 0 and 1, got 1" in refusal(time_to_target={"share": 1})


def test_the_schema_for_editors_knows_ranges() -> None:
    levels = json_schema()["properties"]["matrix"]["anyOf"][0]["properties"]["optimizer"]

    text = yaml.safe_dump(levels)

    assert "latin_hypercube" in text
    assert "coarse_to_fine" in text
