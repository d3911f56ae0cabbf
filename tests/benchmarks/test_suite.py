"""Suites that are right: what they mean, where they come from, and their schema."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.crossing import LevelSpec, Settings
from recipebench.benchmarks.suite import Suite, json_schema, load_suite, shipped, template, validate
from recipebench.benchmarks.suite_file import read
from recipebench.errors import RequestError
from recipebench.levels import Choice

jsonschema: Any = import_module("jsonschema")

EXAMPLE = """\
name: example
data: [synthetic_regression, digits, mnist, fashion_mnist]
model: {mlp: {hidden: [128, 64]}}
matrix:                                   # factors; any hyper-parameter can be one
  activation: [sigmoid, relu, leaky_relu, {maxout: {pieces: 2}}]
  initializer: [xavier, he]
  regularizer: [none, {l1: {strength: 1.0e-5}}, {l2: {strength: 1e-4}}, {dropout: {p: 0.5}}, {early_stopping: {patience: 3}}]
  optimizer: [{sgd: {lr: 0.1}}, {momentum: {lr: 0.05}}, adagrad, rmsprop, {adam: {lr: 1.0e-3}}]
include: []                               # extra cells
exclude: [{activation: maxout, initializer: xavier}]
seeds: 5
device: cpu
protocol: {epochs: 10, batch_size: 128, validation: 0.1, inputs: unit}
endpoint: test_accuracy_at_best
smallest_effect: {mnist: 0.002, fashion_mnist: 0.005}
"""  # noqa: E501


def suite(**keys: Any) -> Suite:
    return load_suite({"name": "t", "data": "digits", "matrix": {"activation": ["relu"]}, **keys})


def test_the_documented_example_is_valid() -> None:
    got = validate(read(EXAMPLE))

    assert got.name == "example"
    assert [spec.name for spec in got.data] == ["synthetic_regression", "digits", "mnist", "fashion_mnist"]
    assert got.model == (LevelSpec("mlp", {"hidden": (128, 64)}),)
    assert got.seeds == (0, 1, 2, 3, 4)
    assert got.device == ("cpu",)
    assert got.smallest_effect == {"mnist": 0.002, "fashion_mnist": 0.005}
    assert sum(1 for _ in expand(got)) == 4 * 5 * (4 * 2 * 5 * 5 - 1 * 1 * 5 * 5)


def test_what_a_suite_leaves_out() -> None:
    got = suite()

    assert got.description == ""
    assert got.model == ()
    assert got.seeds == (0, 1, 2, 3, 4)
    assert got.device == ("cpu",)
    assert got.endpoint == "test_accuracy_at_best"
    assert got.settings_for("digits") == Settings(epochs=10, batch_size=128, validation=0.1, inputs="unit")
    assert got.levels() == {
        "data": (Choice("digits", {}),),
        "model": (Choice("mlp", {"hidden": (128, 64)}),),
        "activation": (Choice("relu", {}),),
        "initializer": (Choice("he", {}),),
        "regularizer": (Choice("none", {}),),
        "optimizer": (Choice("sgd", {"lr": 0.1}),),
        "loss": (Choice("cross_entropy", {}),),
        "schedule": (Choice("constant", {}),),
        "augmentation": (Choice("none", {}),),
    }


def test_the_same_suite_as_name_path_text_and_mapping(tmp_path: Path) -> None:
    path = tmp_path / "copy.yaml"
    path.write_text(shipped()["quick"].read_text())
    by_name = load_suite("quick")

    assert by_name == load_suite(path) == load_suite(str(path)) == load_suite(by_name)
    assert by_name == load_suite(read(path).data)  # type: ignore[arg-type]


def test_a_path_without_ending_needs_a_slash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_text(template())
    monkeypatch.chdir(tmp_path)

    assert load_suite("./mine").name == "my_suite"
    with pytest.raises(RequestError, match=r"^Unknown suite 'mine'"):
        load_suite("mine")


def test_an_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(RequestError) as caught:
        load_suite("quik")

    assert str(caught.value).startswith("Unknown suite 'quik'. Known: ")
    assert str(caught.value).endswith("Did you mean 'quick'?")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RequestError, match=r"^nowhere/mine\.yaml: expected a YAML file, found nothing\.$"):
        load_suite("nowhere/mine.yaml")


def test_seeds_are_a_count_or_a_list() -> None:
    assert suite(seeds=2).seeds == (0, 1)
    assert suite(seeds=[7, 3]).seeds == (7, 3)
    assert suite(seeds=(2**32 - 1,)).seeds == (2**32 - 1,)


@pytest.mark.parametrize(
    ("device", "devices"),
    [
        ("cpu", ("cpu",)),
        ("gpu", ("gpu",)),
        ("cpu:1", ("cpu",)),
        ("gpu:4", ("gpu:4",)),
        (["cpu", "cpu:2", "gpu"], ("cpu", "cpu:2", "gpu")),
    ],
)
def test_devices(device: object, devices: tuple[str, ...]) -> None:
    assert suite(device=device).device == devices


def test_the_protocol_of_one_data_set_replaces_parts_of_the_common_one() -> None:
    got = suite(
        data=["digits", "synthetic_regression"],
        protocol={
            "epochs": 5,
            "validation": 50,
            "per_data": {"synthetic_regression": {"epochs": 20, "inputs": "standardized"}},
        },
    )

    assert got.settings_for("digits") == Settings(5, 128, 50, "unit")
    assert got.settings_for("synthetic_regression") == Settings(20, 128, 50, "standardized")


@pytest.mark.parametrize(
    ("endpoint", "digits", "regression"),
    [
        ("test_accuracy_at_best", "test_accuracy_at_best", "test_mse_at_best"),
        ("test_accuracy", "test_accuracy", "test_mse"),
        ("validation_loss_at_best", "validation_loss_at_best", "validation_loss_at_best"),
        ("train_mse", "train_accuracy", "train_mse"),
        ("test_r2_at_best", "test_accuracy_at_best", "test_r2_at_best"),
    ],
)
def test_accuracy_and_squared_error_stand_for_each_other(endpoint: str, digits: str, regression: str) -> None:
    got = suite(data=["digits", "synthetic_regression"], endpoint=endpoint)

    assert got.endpoint_for("digits") == digits
    assert got.endpoint_for("synthetic_regression") == regression


def test_the_default_endpoint_may_be_written_out_for_regression_alone() -> None:
    got = suite(data="synthetic_regression", endpoint="test_accuracy_at_best")

    assert got.endpoint_for("synthetic_regression") == "test_mse_at_best"


def test_seeds_and_devices_of_the_command_line_replace_those_of_the_suite() -> None:
    base = suite()
    got = base.replaced(seeds=2, device="gpu:1")

    assert (got.seeds, got.device) == ((0, 1), ("gpu",))
    assert base.replaced() == base
    with pytest.raises(RequestError, match=r"^seeds: expected a count from 1 to 10,000 or a list of"):
        base.replaced(seeds=0)
    with pytest.raises(RequestError, match=r"^device: expected cpu, gpu, cpu:N or gpu:N"):
        base.replaced(device="tpu")


def test_a_suite_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        suite().name = "other"


def test_the_template_is_a_valid_suite_that_needs_no_download() -> None:
    got = validate(read(template()))

    assert got.data_names() == ["synthetic_regression", "digits"]
    assert sum(1 for _ in expand(got)) == 5 * (2 * (3 * 2 * 2 * 2 - 4) + 2 * 2)


def test_shipped_suites_are_named_as_their_files() -> None:
    assert [load_suite(name).name for name in shipped()] == list(shipped())
    assert {"quick", "core"} <= set(shipped())


def _texts() -> dict[str, str]:
    return {"example": EXAMPLE, "template": template(), **{n: p.read_text() for n, p in shipped().items()}}


@pytest.mark.parametrize("name", _texts())
def test_the_schema_accepts_valid_suites(name: str) -> None:
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.validate(read(_texts()[name]).data, schema)


@pytest.mark.parametrize(
    "keys",
    [
        {"sed": 3},
        {"name": "../x"},
        {"data": "irises"},
        {"matrix": {"activation": "relu"}},
        {"matrix": {"activation": ["gelu"]}},
        {"matrix": {"optimizer": [{"sgd": {"lr": 0}}]}},
        {"matrix": {"optimizer": [{"sgd": {"momentum": 0.9}}]}},
        {"model": {"mlp": {"hidden": []}}},
        {"seeds": -1},
        {"device": "cuda"},
        {"protocol": {"validation": 1.5}},
        {"protocol": {"per_data": {"digits": {"epoch": 1}}}},
        {"endpoint": "accuracy"},
        {"exclude": [{}]},
    ],
)
def test_the_schema_refuses_what_the_suite_refuses(keys: dict[str, object]) -> None:
    wrong = {"name": "t", "data": "digits", "matrix": {"activation": ["relu"]}, **keys}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, json_schema())
    with pytest.raises(RequestError):
        load_suite(wrong)


def test_the_schema_explains_levels_to_editors() -> None:
    text = json.dumps(json_schema())

    assert "Passes positive inputs, blocks negative ones." in text
    assert "step size, per optimizer step" in text


def test_validation_loads_neither_torch_nor_lightning() -> None:
    code = (
        "import sys; from recipebench.benchmarks.suite import load_suite;"
        "from recipebench.benchmarks.cells import expand; list(expand(load_suite('quick')));"
        "print([m for m in ('torch', 'pytorch_lightning', 'numpy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
