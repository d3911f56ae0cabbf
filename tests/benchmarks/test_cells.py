"""Cells: their identity, their JSON and their columns."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipebench.benchmarks.cells import SEMANTICS, Cell, canonical_json, expand
from recipebench.benchmarks.suite import load_suite
from recipebench.datamodules.catalog import data_sha256
from recipebench.errors import RequestError
from recipebench.levels import Choice


def cell(**changes: Any) -> Cell:
    base = Cell(
        data=Choice("digits", {}),
        model=Choice("mlp", {"hidden": (32, 16)}),
        activation=Choice("maxout", {"pieces": 2, "match": "units"}),
        initializer=Choice("he", {}),
        regularizer=Choice("dropout", {"p": 0.5, "scaling": "inverted"}),
        optimizer=Choice("adam", {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
        epochs=10,
        batch_size=32,
        validation=0.1,
        inputs="unit",
        device="cpu",
        seed=0,
        data_sha256="ab" * 32,
        semantics=1,
    )
    return dataclasses.replace(base, **changes)


BATCH_NORM = {"eps": 1e-5, "momentum": 0.1, "position": "before"}

FROZEN = {
    "0": (cell(), "c993e39a991dedba"),
    "1": (
        cell(
            data=Choice("synthetic_regression", {"teacher": "linear", "n": 1000, "noise": 0.01}),
            model=Choice("linear_regression", {}),
            activation=None,
            initializer=Choice("small_gaussian", {"std": 0.01}),
            regularizer=Choice("none", {}),
            optimizer=Choice("sgd", {"lr": 0.1}),
            loss=None,
            validation=100,
            device="gpu:2",
            seed=7,
        ),
        "e54a8947214b3a33",
    ),
    "2": (
        cell(inputs="standardized", regularizer=Choice("batch_norm", BATCH_NORM)),
        "68348078a6df2060",
    ),
}


@pytest.mark.parametrize(("known", "identity"), FROZEN.values(), ids=FROZEN)
def test_known_ids_stay(known: Cell, identity: str) -> None:
    """A change here orphans everybody's results: raise SEMANTICS only if training itself changed."""
    assert known.id == identity


def test_the_version_of_the_semantics_stays() -> None:
    assert SEMANTICS == 1


def test_the_id_is_the_hash_of_canonical_json() -> None:
    text = json.dumps(cell().to_json(), sort_keys=True, separators=(",", ":"))

    assert cell().id == hashlib.sha256(text.encode()).hexdigest()[:16]


CHANGES: list[dict[str, Any]] = [
    {"data": Choice("mnist", {})},
    {"data": Choice("digits", {"n": 1})},
    {"model": Choice("mlp", {"hidden": (32,)})},
    {"model": Choice("mlp", {"hidden": (16, 32)})},
    {"activation": None},
    {"activation": Choice("relu", {})},
    {"activation": Choice("maxout", {"pieces": 3})},
    {"initializer": Choice("xavier", {})},
    {"regularizer": Choice("dropout", {"p": 0.25})},
    {"regularizer": Choice("none", {})},
    {"optimizer": Choice("adamw", dict(cell().optimizer.parameters))},
    {"optimizer": Choice("adam", {**cell().optimizer.parameters, "lr": 1.1e-3})},
    {"optimizer": Choice("adam", {**cell().optimizer.parameters, "eps": 1e-7})},
    {"epochs": 11},
    {"batch_size": 33},
    {"validation": 0.2},
    {"validation": 100},
    {"inputs": "standardized"},
    {"device": "gpu"},
    {"device": "cpu:2"},
    {"seed": 1},
    {"data_sha256": "cd" * 32},
    {"semantics": 2},
    {"activation": Choice("maxout", {"pieces": 2, "match": "flops"})},
    {"regularizer": Choice("dropout", {"p": 0.5, "scaling": "at_test"})},
    {"loss": Choice("bce", {})},
    {"schedule": Choice("cosine", {"minimum": 0.0})},
    {"augmentation": Choice("flip", {"p": 0.5})},
    {"train_samples": 500},
    {"label_noise": 0.2},
    {"last_batch": "drop"},
    {"precision": "64-true"},
    {"sampling": "replacement"},
    {"probes": ("gradients",)},
]


def test_every_field_has_its_change() -> None:
    filled_in = {"plugins"}  # by the levels; see tests/test_plugins.py
    changed = {name for change in CHANGES for name in change}

    assert changed | filled_in == {f.name for f in dataclasses.fields(Cell)}


def test_each_change_of_what_determines_the_result_changes_the_id() -> None:
    ids = [cell().id, *(cell(**change).id for change in CHANGES)]

    assert len(set(ids)) == len(ids)


def test_the_order_of_hyper_parameters_and_the_sign_of_zero_do_not_change_the_id() -> None:
    turned = dict(reversed(list(cell().optimizer.parameters.items())))
    zeros = [cell(regularizer=Choice("dropout", {"p": zero})) for zero in (0.0, -0.0)]

    assert cell(optimizer=Choice("adam", turned)).id == cell().id
    assert zeros[0].id == zeros[1].id


BOTH = ["digits", "synthetic_regression"]


def _suite(**keys: Any) -> dict[str, Any]:
    matrix = {"activation": ["relu", "maxout"], "optimizer": ["sgd", "adam"], "initializer": ["he", "xavier"]}
    return {"name": "t", "data": BOTH, "matrix": matrix, "seeds": 2, **keys}


def _ids(suite: dict[str, Any]) -> set[str]:
    return {c.id for c in expand(load_suite(suite))}


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "other"},
        {"description": "Other."},
        {"data": ["synthetic_regression", "digits"]},
        {"data": [{"synthetic_regression": {"n": 1000}}, {"digits": None}]},
        {"model": {"mlp": {"hidden": [128, 64]}}},
        {"seeds": [1, 0]},
        {"device": "cpu:1"},
        {"endpoint": "test_loss"},
        {"smallest_effect": {"digits": 0.1}},
        {"protocol": {"epochs": 10, "batch_size": 128, "validation": 0.1, "inputs": "unit"}},
        {
            "protocol": {
                "epochs": 3,
                "per_data": {n: {"epochs": 10} for n in ("digits", "synthetic_regression")},
            }
        },
        {"include": [{"activation": "relu"}]},
    ],
)
def test_what_does_not_determine_a_result_does_not_change_ids(keys: dict[str, Any]) -> None:
    assert _ids(_suite(**keys)) == _ids(_suite())


@pytest.mark.parametrize("rate", [0.1, "crossed"])
def test_defaults_and_spellings_of_numbers_do_not_change_ids(rate: float | str) -> None:
    matrix = _suite()["matrix"]
    written: dict[str, Any] = {"optimizer": [{"sgd": {"lr": rate}}, "adam"]}
    if rate == "crossed":
        written = {"optimizer": ["sgd"], "optimizer.lr": [0.1]}

    assert _ids(_suite(matrix={**matrix, **written})) <= _ids(_suite())


def test_whole_numbers_are_the_floats_that_they_equal() -> None:
    matrices = [{"optimizer": [{"sgd": {"lr": one}}]} for one in (1, 1.0)]

    assert _ids(_suite(matrix=matrices[0])) == _ids(_suite(matrix=matrices[1]))


@given(st.randoms(use_true_random=False))
def test_the_order_in_the_file_does_not_change_ids(rng: random.Random) -> None:
    suite = _suite()
    turned = {key: rng.sample(values, len(values)) for key, values in suite["matrix"].items()}
    matrix = dict(rng.sample(list(turned.items()), len(turned)))
    keys = {**suite, "matrix": matrix, "data": rng.sample(suite["data"], 2)}

    assert _ids(dict(rng.sample(list(keys.items()), len(keys)))) == _ids(suite)


def test_cells_carry_the_hash_of_their_data() -> None:
    for c in expand(load_suite(_suite())):
        assert c.data_sha256 == data_sha256(c.data)
        assert c.semantics == SEMANTICS


@pytest.mark.parametrize("suite", ["quick", "core"])
def test_json_is_an_exact_inverse(suite: str) -> None:
    for c in expand(load_suite(suite)):
        back = Cell.from_json(json.loads(json.dumps(c.to_json())))
        assert back == c
        assert back.id == c.id


@pytest.mark.parametrize("known", [known for known, _ in FROZEN.values()])
def test_json_keeps_types(known: Cell) -> None:
    back = Cell.from_json(json.loads(json.dumps(known.to_json())))

    assert back == known
    assert type(back.validation) is type(known.validation)
    assert repr(back) == repr(known)


def test_broken_json_is_refused() -> None:
    good = cell().to_json()

    with pytest.raises(RequestError, match=r"^cell: expected the keys activation, augmentation, "):
        Cell.from_json({k: v for k, v in good.items() if k != "seed"})
    with pytest.raises(RequestError, match=r"^cell: expected the keys activation, augmentation, "):
        Cell.from_json({**good, "more": 1})
    with pytest.raises(RequestError, match=r"^cell: optimizer: expected name and parameters, got 'adam'"):
        Cell.from_json({**good, "optimizer": "adam"})
    with pytest.raises(RequestError, match=r"^cell: model: expected name and parameters, got None"):
        Cell.from_json({**good, "model": None})


def test_columns_are_flat() -> None:
    assert cell(data=Choice("synthetic_regression", {"teacher": "linear"}), loss=None).columns() == {
        "data": "synthetic_regression",
        "model": "mlp",
        "activation": "maxout",
        "initializer": "he",
        "regularizer": "dropout",
        "optimizer": "adam",
        "loss": "mse",
        "schedule": "constant",
        "augmentation": "none",
        "data.teacher": "linear",
        "model.hidden": "32-16",
        "activation.pieces": 2,
        "activation.match": "units",
        "regularizer.p": 0.5,
        "regularizer.scaling": "inverted",
        "optimizer.lr": 0.001,
        "optimizer.beta1": 0.9,
        "optimizer.beta2": 0.999,
        "optimizer.eps": 1e-8,
        "batch_size": 32,
        "validation": 0.1,
        "epochs": 10,
        "inputs": "unit",
        "train_samples": 720,
        "label_noise": 0.0,
        "last_batch": "keep",
        "sampling": "shuffled",
        "device": "cpu",
        "seed": 0,
    }


def test_a_model_without_hidden_layers_has_an_empty_activation_column() -> None:
    columns = cell(activation=None).columns()

    assert columns["activation"] is None
    assert not [name for name in columns if name.startswith("activation.")]


def test_cells_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell().seed = 3  # type: ignore[misc]


def test_infinite_numbers_have_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"lr": float("inf")})
