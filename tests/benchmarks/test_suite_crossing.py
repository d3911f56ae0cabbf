"""Matrix, include and exclude: which combinations are planned."""

from __future__ import annotations

from typing import Any

import pytest

from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.suite import load_suite
from recipebench.errors import RequestError


def rows(*columns: str, **keys: Any) -> list[Any]:
    """Return some columns of all cells of a suite of one seed, bare where there is one column."""
    suite = load_suite({"name": "t", "data": "digits", "seeds": 1, **keys})
    found = [tuple(cell.columns().get(column) for column in columns) for cell in expand(suite)]
    return [row[0] for row in found] if len(columns) == 1 else found


def test_the_last_factor_turns_fastest_and_seeds_are_innermost() -> None:
    got = rows(
        "optimizer",
        "activation",
        "device",
        "seed",
        matrix={"optimizer": ["sgd", "adam"], "activation": ["tanh", "relu"]},
        seeds=[3, 1],
        device=["cpu", "gpu"],
    )

    assert got[:5] == [
        ("sgd", "tanh", "cpu", 3),
        ("sgd", "tanh", "cpu", 1),
        ("sgd", "tanh", "gpu", 3),
        ("sgd", "tanh", "gpu", 1),
        ("adam", "tanh", "cpu", 3),
    ]
    assert len(got) == 16


def test_a_hyper_parameter_is_crossed_with_the_levels_that_have_it() -> None:
    got = rows(
        "regularizer",
        "regularizer.p",
        "regularizer.strength",
        matrix={
            "regularizer": ["none", "dropout", "l1", "l2"],
            "regularizer.p": [0.2, 0.5],
            "regularizer.strength": [0, 1],
        },
    )

    assert got == [
        ("none", None, None),
        ("dropout", 0.2, None),
        ("dropout", 0.5, None),
        ("l1", None, 0.0),
        ("l1", None, 1.0),
        ("l2", None, 0.0),
        ("l2", None, 1.0),
    ]


def test_model_widths_data_parameters_and_the_protocol_can_be_factors() -> None:
    got = rows(
        "model.hidden",
        "data.noise",
        "batch_size",
        "epochs",
        "inputs",
        data="synthetic_regression",
        matrix={
            "model.hidden": [[8], [8, 4]],
            "data.noise": [0.1, 1],
            "batch_size": [4, 8],
            "epochs": [1, 2],
            "inputs": ["unit", "standardized"],
        },
    )

    assert len(got) == len(set(got)) == 32
    assert got[0] == ("8", 0.1, 4, 1, "unit")
    assert got[-1] == ("8-4", 1.0, 8, 2, "standardized")


def test_exclude_drops_what_matches_all_keys() -> None:
    matrix = {"activation": ["tanh", "maxout"], "initializer": ["xavier", "he"], "optimizer.lr": [0.1, 0.2]}

    rule = {"activation": "maxout", "initializer": "xavier"}

    kept = rows("activation", "initializer", matrix=matrix, exclude=[rule])

    assert kept == [("tanh", "xavier")] * 2 + [("tanh", "he")] * 2 + [("maxout", "he")] * 2


@pytest.mark.parametrize(
    ("rule", "dropped"),
    [
        ({"activation": "leaky_relu"}, {0.0, 0.1, 0.2}),
        ({"activation": {"leaky_relu": {"negative_slope": 0.1}}}, {0.1}),
        ({"activation": {"leaky_relu": {"negative_slope": 0}}}, {0.0}),
        ({"activation.negative_slope": [0.1, 0.2]}, {0.1, 0.2}),
        ({"activation": ["leaky_relu", "relu"], "activation.negative_slope": 0.2}, {0.2}),
    ],
)
def test_a_bare_name_matches_any_hyper_parameters(rule: dict[str, Any], dropped: set[float]) -> None:
    matrix = {"activation": ["relu", *({"leaky_relu": {"negative_slope": s}} for s in (0, 0.1, 0.2))]}

    kept = rows("activation.negative_slope", matrix=matrix, exclude=[rule])

    assert set(kept) == {None, 0.0, 0.1, 0.2} - dropped


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({"batch_size": 4}, [8, 16]),
        ({"batch_size": [4, 8]}, [16]),
        ({"data": "digits", "batch_size": 16}, [4, 8]),
    ],
)
def test_exclude_by_protocol(rule: dict[str, Any], kept: list[int]) -> None:
    assert rows("batch_size", matrix={"batch_size": [4, 8, 16]}, exclude=[rule]) == kept


def test_include_takes_every_level_that_it_leaves_out() -> None:
    got = rows(
        "data",
        "activation",
        "optimizer",
        matrix={"activation": ["relu", "tanh"], "optimizer": ["sgd"]},
        include=[{"data": "synthetic_regression", "optimizer": "adam"}],
    )

    assert got == [
        ("digits", "relu", "sgd"),
        ("digits", "tanh", "sgd"),
        ("synthetic_regression", "relu", "adam"),
        ("synthetic_regression", "tanh", "adam"),
    ]


def test_include_lists_the_cells_when_the_matrix_is_empty() -> None:
    got = rows(
        "model",
        "activation",
        "optimizer.lr",
        matrix={},
        include=[
            {"model": "softmax_regression", "optimizer": {"sgd": {"lr": 1}}},
            {"activation": ["relu", "tanh"]},
        ],
    )

    assert got == [("softmax_regression", None, 1.0), ("mlp", "relu", 0.1), ("mlp", "tanh", 0.1)]


def test_exclude_holds_for_included_cells_too() -> None:
    got = rows(
        "activation",
        "optimizer",
        matrix={"activation": ["relu", "tanh"]},
        include=[{"optimizer": "adam"}],
        exclude=[{"activation": "tanh", "optimizer": "adam"}],
    )

    assert got == [("relu", "sgd"), ("tanh", "sgd"), ("relu", "adam")]


def test_what_an_entry_of_include_says_wins_over_the_matrix_and_the_protocol() -> None:
    got = rows(
        "optimizer",
        "optimizer.lr",
        "epochs",
        matrix={"optimizer": [{"sgd": {"lr": 1}}, "adam"], "optimizer.eps": [1e-8]},
        protocol={"epochs": 3},
        include=[{"optimizer.lr": 0.5, "epochs": 7}, {"optimizer": {"adam": {"eps": 1e-4}}}],
    )

    assert got == [
        ("sgd", 1.0, 3),
        ("adam", 0.001, 3),
        ("sgd", 0.5, 7),
        ("adam", 0.5, 7),
        ("adam", 0.001, 3),
    ]


def test_an_inherited_hyper_parameter_does_not_trouble_a_level_without_it() -> None:
    got = rows(
        "optimizer",
        "optimizer.momentum",
        matrix={"optimizer": ["momentum"], "optimizer.momentum": [0.5, 0.9]},
        include=[{"optimizer": "sgd"}],
    )

    assert got == [("momentum", 0.5), ("momentum", 0.9), ("sgd", None)]


def test_what_is_included_twice_is_planned_once() -> None:
    got = rows("activation", matrix={"activation": ["relu"]}, include=[{"activation": ["relu", "tanh"]}])

    assert got == ["relu", "tanh"]


def test_models_without_hidden_layers_have_no_activation_and_no_duplicates() -> None:
    got = rows(
        "model",
        "activation",
        "regularizer",
        model=["softmax_regression", "mlp"],
        matrix={"activation": ["relu", "tanh"], "regularizer": ["none", "dropout", "batch_norm"]},
    )

    assert got[0] == ("softmax_regression", None, "none")
    assert len(got) == 1 + 2 * 3
    assert {row[0] for row in got[1:]} == {"mlp"}


def test_a_single_model_without_hidden_layers_drops_the_duplicates() -> None:
    got = rows("activation", "optimizer", model="softmax_regression", matrix={
        "activation": ["relu", "tanh"], "optimizer": ["sgd", "adam"],
    })  # fmt: skip

    assert got == [(None, "sgd"), (None, "adam")]


def test_an_included_model_without_hidden_layers_takes_the_regularizers_that_fit() -> None:
    matrix = {"regularizer": ["none", "l2", "dropout"]}

    got = rows("model", "regularizer", matrix=matrix, include=[{"model": "softmax_regression"}])

    assert got[3:] == [("softmax_regression", "none"), ("softmax_regression", "l2")]
    with pytest.raises(RequestError, match="dropout needs a hidden layer"):
        rows(matrix=matrix, include=[{"model": "softmax_regression", "regularizer": "dropout"}])


def test_models_of_two_tasks_meet_their_data_by_exclusion() -> None:
    got = rows(
        "data",
        "model",
        data=["synthetic_regression", "digits"],
        model=["linear_regression", "softmax_regression"],
        matrix={"optimizer": ["sgd"]},
        exclude=[
            {"model": "linear_regression", "data": "digits"},
            {"model": "softmax_regression", "data": "synthetic_regression"},
        ],
    )

    assert got == [("synthetic_regression", "linear_regression"), ("digits", "softmax_regression")]


def test_the_protocol_of_a_data_set_reaches_its_cells() -> None:
    got = rows(
        "data",
        "epochs",
        "batch_size",
        data=["synthetic_regression", "digits"],
        matrix={"optimizer": ["sgd"]},
        protocol={"epochs": 5, "per_data": {"synthetic_regression": {"epochs": 20, "batch_size": 10}}},
    )

    assert got == [("synthetic_regression", 20, 10), ("digits", 5, 128)]
