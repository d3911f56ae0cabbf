"""The catalog against torch's own defaults, against the code that implements it, and against itself."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping

from recipebench.errors import RequestError
from recipebench.levels import Catalog, Level
from recipebench.lightning_modules import (
    activations,
    initializers,
    losses,
    optimizers,
    regularizers,
    schedules,
)
from recipebench.lightning_modules.catalog import (
    ACTIVATIONS,
    DEFAULT_LOSS,
    DEFAULTS,
    FACTORS,
    INITIALIZERS,
    LOSSES,
    OPTIMIZERS,
    REGULARIZERS,
    SCHEDULES,
)
from recipebench.lightning_modules.model_catalog import MODELS, has_hidden_layers

ALL = {"model": MODELS, **FACTORS}
LEVELS = [(catalog, level) for catalog in ALL.values() for level in catalog.values()]


def _name(value: object) -> str | None:
    return value.name if isinstance(value, Level) else getattr(value, "kind", None)


def _default(function: Callable[..., Any], argument: str) -> Any:
    return inspect.signature(function).parameters[argument].default


def test_importing_the_catalog_loads_neither_torch_nor_lightning() -> None:
    code = (
        "import sys, recipebench.lightning_modules.catalog, recipebench.benchmarks.cells;"
        "print([m for m in ('torch', 'pytorch_lightning', 'numpy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("catalog", "level"), LEVELS, ids=_name)
def test_a_level_is_described_in_single_lines(catalog: Catalog, level: Level) -> None:
    texts = [level.summary, level.source, *(p.summary for p in level.parameters)]

    assert all(text and "\n" not in text and len(text) <= 200 for text in texts)


@pytest.mark.parametrize(("catalog", "level"), LEVELS, ids=_name)
def test_a_level_by_name_is_the_level_with_its_defaults_written_out(catalog: Catalog, level: Level) -> None:
    plain = catalog.choose(level.name)

    assert plain == catalog.choose({level.name: dict(plain.parameters)})
    assert list(plain.parameters) == [p.name for p in level.parameters]


@pytest.mark.parametrize(("catalog", "level"), LEVELS, ids=_name)
def test_every_hyper_parameter_refuses_numbers_out_of_its_range(catalog: Catalog, level: Level) -> None:
    for parameter in level.parameters:
        for wrong in ("x", None, True, -1, float("nan"), float("inf"), [-1], []):
            if wrong == [] and parameter.type is tuple:
                continue  # a list of no widths is refused by the suite, which knows the model
            if parameter.type is bool and wrong is True:
                continue
            with pytest.raises(
                RequestError, match=f"{catalog.kind} {level.name}: {parameter.name}: (expected|Unknown value)"
            ):
                catalog.choose({level.name: {parameter.name: wrong}})


def test_the_levels_of_the_card_are_there() -> None:
    expected = {
        "activation": "step sigmoid tanh relu leaky_relu prelu maxout hardmax",
        "initializer": "xavier xavier_fan_in he small_gaussian constant variance_preserving torch_default",
        "regularizer": "none l1 l2 weight_decay dropout dropout_per_layer early_stopping "
        "convergence_stopping batch_norm",
        "optimizer": "sgd momentum momentum_averaged momentum_velocity nesterov adagrad rmsprop adam adamw",
        "loss": "mse half_mse l1 huber cross_entropy label_smoothing bce one_hot_mse probability_mse "
        "multi_margin perceptron",
        "schedule": "constant inverse_time exponential root staircase manual plateau cosine warmup",
    }

    assert {name: " ".join(FACTORS[name]) for name in expected} == expected
    assert set(MODELS) > {"linear_regression", "softmax_regression", "mlp"}


def test_parameters_that_came_later_rename_no_cell() -> None:
    later = {
        (level.name, p.name, p.default)
        for catalog in FACTORS.values()
        for level in catalog.values()
        for p in level.parameters
        if p.later
    }

    assert later >= {
        ("maxout", "match", "units"),
        ("dropout", "scaling", "inverted"),
        ("batch_norm", "position", "before"),
    }
    for name, catalog in (("maxout", ACTIVATIONS), ("dropout", REGULARIZERS), ("batch_norm", REGULARIZERS)):
        shortened = catalog[name].shortened(catalog.choose(name).parameters)
        assert not {"match", "scaling", "position"} & set(shortened)


@pytest.mark.parametrize(
    ("catalog", "implemented"),
    [
        (ACTIVATIONS, activations.ACTIVATIONS),
        (INITIALIZERS, initializers.INITIALIZERS),
        (OPTIMIZERS, optimizers.OPTIMIZERS),
        (LOSSES, losses.LOSSES),
        (SCHEDULES, schedules.SCHEDULES),
    ],
    ids=_name,
)
def test_every_level_is_implemented_with_the_same_defaults(
    catalog: Catalog, implemented: dict[str, Callable[..., Any]]
) -> None:
    assert set(implemented) == set(catalog)
    for level in catalog.values():
        for parameter in level.parameters:
            assert _default(implemented[level.name], parameter.name) == parameter.default


@pytest.mark.parametrize(
    ("catalog", "level", "parameter", "function", "argument"),
    [
        (ACTIVATIONS, "leaky_relu", "negative_slope", torch.nn.LeakyReLU, "negative_slope"),
        (ACTIVATIONS, "prelu", "init", torch.nn.PReLU, "init"),
        (REGULARIZERS, "dropout", "p", torch.nn.Dropout, "p"),
        (REGULARIZERS, "batch_norm", "eps", torch.nn.BatchNorm1d, "eps"),
        (REGULARIZERS, "batch_norm", "momentum", torch.nn.BatchNorm1d, "momentum"),
        (REGULARIZERS, "early_stopping", "patience", EarlyStopping, "patience"),
        (LOSSES, "huber", "delta", torch.nn.HuberLoss, "delta"),
        (LOSSES, "multi_margin", "margin", torch.nn.MultiMarginLoss, "margin"),
        (SCHEDULES, "manual", "factor", torch.optim.lr_scheduler.MultiStepLR, "gamma"),
        (SCHEDULES, "plateau", "factor", torch.optim.lr_scheduler.ReduceLROnPlateau, "factor"),
        (SCHEDULES, "cosine", "minimum", torch.optim.lr_scheduler.CosineAnnealingLR, "eta_min"),
        (OPTIMIZERS, "adagrad", "lr", torch.optim.Adagrad, "lr"),
        (OPTIMIZERS, "adagrad", "eps", torch.optim.Adagrad, "eps"),
        (OPTIMIZERS, "rmsprop", "alpha", torch.optim.RMSprop, "alpha"),
        (OPTIMIZERS, "rmsprop", "eps", torch.optim.RMSprop, "eps"),
        (OPTIMIZERS, "adam", "lr", torch.optim.Adam, "lr"),
        (OPTIMIZERS, "adam", "eps", torch.optim.Adam, "eps"),
        (OPTIMIZERS, "adamw", "lr", torch.optim.AdamW, "lr"),
        (OPTIMIZERS, "adamw", "eps", torch.optim.AdamW, "eps"),
        (OPTIMIZERS, "adamw", "weight_decay", torch.optim.AdamW, "weight_decay"),
    ],
    ids=str,
)
def test_defaults_that_are_said_to_be_torchs_are(
    catalog: Catalog, level: str, parameter: str, function: Callable[..., Any], argument: str
) -> None:
    assert catalog.choose(level).parameters[parameter] == _default(function, argument)


@pytest.mark.parametrize(("name", "function"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_betas_are_torchs(name: str, function: Callable[..., Any]) -> None:
    chosen = OPTIMIZERS.choose(name).parameters

    assert (chosen["beta1"], chosen["beta2"]) == _default(function, "betas")


def test_documented_rates() -> None:
    rates = {name: OPTIMIZERS.choose(name).parameters["lr"] for name in OPTIMIZERS}

    assert rates == {
        "sgd": 0.1,
        "momentum": 0.05,
        "momentum_averaged": 0.1,
        "momentum_velocity": 0.05,
        "nesterov": 0.05,
        "adagrad": 0.01,
        "rmsprop": 0.001,
        "adam": 0.001,
        "adamw": 0.001,
    }


def test_what_changes_the_layers_is_marked_structural() -> None:
    levels = [level for catalog in FACTORS.values() for level in catalog.values()]
    marked = {level.name for level in levels if level.structural}
    parameters = {(level.name, p.name) for level in levels for p in level.parameters if p.structural}

    assert marked == {"maxout", *regularizers.LAYERS}
    assert parameters == {("maxout", "pieces"), ("maxout", "match")}
    assert [p.structural for p in MODELS["mlp"].parameters] == [True]


def test_losses_and_tasks_belong_together() -> None:
    assert all(len(level.tasks) == 1 for level in LOSSES.values())
    for task in ("classification", "regression"):
        assert LOSSES[DEFAULT_LOSS[task]].tasks == (task,)


def test_models_fit_their_tasks() -> None:
    assert MODELS["linear_regression"].tasks == ("regression",)
    assert MODELS["softmax_regression"].tasks == ("classification",)
    assert MODELS["mlp"].tasks == ("classification", "regression")
    assert has_hidden_layers(MODELS["mlp"])
    assert not has_hidden_layers(MODELS["linear_regression"])
    assert not has_hidden_layers(MODELS["softmax_regression"])


def test_every_factor_has_a_default_level() -> None:
    defaults = {**DEFAULTS, "loss": DEFAULT_LOSS["classification"]}
    chosen = {factor: catalog.choose(defaults[factor]).name for factor, catalog in ALL.items()}

    assert chosen == {
        "model": "mlp",
        "activation": "relu",
        "initializer": "he",
        "regularizer": "none",
        "optimizer": "sgd",
        "loss": "cross_entropy",
        "schedule": "constant",
    }
