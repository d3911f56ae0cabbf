"""What the catalog describes is what the code offers: names, hyper-parameters and defaults, both ways."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from recipebench.levels import Catalog, Level
from recipebench.lightning_modules import SupervisedModule, catalog, model_catalog
from recipebench.lightning_modules.activations import ACTIVATIONS
from recipebench.lightning_modules.catalog import DEFAULT_LOSS, DEFAULTS, FACTORS
from recipebench.lightning_modules.initializers import DRAWS_BIASES, INITIALIZERS
from recipebench.lightning_modules.losses import LOSSES
from recipebench.lightning_modules.models import MODELS, arguments_of, create
from recipebench.lightning_modules.optimizers import OPTIMIZERS
from recipebench.lightning_modules.regularizers import CALLBACKS, LAYERS, OPTIMIZER_OPTIONS, PENALTIES
from recipebench.lightning_modules.schedules import SCHEDULES

REGULARIZERS: dict[str, Callable[..., Any]] = {**PENALTIES, **LAYERS, **CALLBACKS}
GIVEN = {
    *("weights", "width", "u", "fans", "parameters"),
    *("outputs", "targets", "epoch", "total", "rate", "losses"),
}
"""Arguments that the module hands over: what is penalized, normalized, drawn, trained, scored or timed."""
OF_MODELS = {"in_features", "in_shape", "out_features", "task", "init_seed", "features", *FACTORS}
"""Arguments of models that data, recipe or an earlier training decide."""
UNNAMED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""Kinds of arguments that are no hyper-parameters: those of `nn.Module`."""
PAIRS: list[tuple[Catalog, Mapping[str, Callable[..., Any]]]] = [
    (catalog.ACTIVATIONS, ACTIVATIONS),
    (catalog.INITIALIZERS, INITIALIZERS),
    (catalog.REGULARIZERS, REGULARIZERS),
    (catalog.OPTIMIZERS, OPTIMIZERS),
    (catalog.LOSSES, LOSSES),
    (catalog.SCHEDULES, SCHEDULES),
    (model_catalog.MODELS, MODELS),
]
LEVELS = [
    pytest.param(level, factories[level.name], id=f"{levels.kind} {level.name}")
    for levels, factories in PAIRS
    for level in levels.values()
    if level.name in factories
]


def options_of(level: Level, factory: Callable[..., Any]) -> dict[str, Any]:
    """Return the hyper-parameters that a factory takes, with their defaults."""
    left_out = OF_MODELS if isinstance(level, model_catalog.ModelLevel) else GIVEN
    if level.name in OPTIMIZERS and level.name != "adamw":
        left_out = left_out | {"weight_decay"}  # a regularizer of its own; AdamW's is part of the method
    named = {n: p for n, p in inspect.signature(factory).parameters.items() if p.kind not in UNNAMED}
    return {name: p.default for name, p in named.items() if name not in left_out}


@pytest.mark.parametrize(("levels", "factories"), PAIRS, ids=lambda pair: getattr(pair, "kind", ""))
def test_every_described_level_has_a_factory_and_every_factory_a_description(
    levels: Catalog, factories: Mapping[str, Callable[..., Any]]
) -> None:
    elsewhere = {"none", *OPTIMIZER_OPTIONS} if levels is catalog.REGULARIZERS else set()

    assert set(levels) - elsewhere == set(factories)
    assert elsewhere <= set(levels)


@pytest.mark.parametrize(("level", "factory"), LEVELS)
def test_names_order_and_defaults_of_hyper_parameters_are_equal(
    level: Level, factory: Callable[..., Any]
) -> None:
    described = {p.name: p.default for p in level.parameters}

    assert list(options_of(level, factory).items()) == list(described.items())


@pytest.mark.parametrize(("level", "factory"), LEVELS)
def test_types_are_those_of_the_annotations(level: Level, factory: Callable[..., Any]) -> None:
    annotated = {n: p.annotation for n, p in inspect.signature(factory).parameters.items()}
    words = {float: "float", int: "int", str: "str", bool: "bool"}

    for p in level.parameters:
        word = f"Sequence[{p.element.__name__}]" if p.type is tuple else words[p.type]
        assert annotated[p.name] == word


def test_a_regularizer_acts_in_one_place() -> None:
    places = [*PENALTIES, *LAYERS, *CALLBACKS, *OPTIMIZER_OPTIONS]

    assert len(places) == len(set(places))


def test_the_option_of_every_optimizer_is_named_like_its_regularizer() -> None:
    for regularizer, parameter in OPTIMIZER_OPTIONS.items():
        assert [p.name for p in catalog.REGULARIZERS[regularizer].parameters] == [parameter]
        for make in OPTIMIZERS.values():
            assert regularizer in inspect.signature(make).parameters


def test_initializers_that_draw_biases_exist() -> None:
    assert set(INITIALIZERS) > DRAWS_BIASES


def test_the_default_recipe_is_the_default_of_every_model() -> None:
    # outside of the matrix, other models may have an optimizer that suits them
    supervised = [model for model in MODELS.values() if issubclass(model, SupervisedModule)]
    for model in (SupervisedModule, *supervised):
        parameters = inspect.signature(model).parameters
        for factor in FACTORS:
            if factor in parameters and factor != "loss":
                assert parameters[factor].default == DEFAULTS[factor], (model, factor)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_takes_the_factors_that_it_responds_to(name: str) -> None:
    taken = arguments_of(MODELS[name])

    assert len(taken) == len(set(taken))
    assert set(taken) & set(FACTORS) == set(model_catalog.MODELS[name].factors) & set(FACTORS)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_refuses_what_it_does_not_know(name: str) -> None:
    make: Callable[..., object] = MODELS[name]
    for option in {"learning_rate", "network", "task", *FACTORS} - set(arguments_of(make)):
        with pytest.raises(TypeError, match=option):
            make(**{option: "sgd"})


@pytest.mark.parametrize(("level", "factory"), LEVELS)
def test_the_documentation_begins_with_one_line_and_names_its_parameters(
    level: Level, factory: Callable[..., Any]
) -> None:
    text = inspect.getdoc(factory) or ""
    first, *rest = text.splitlines()

    assert first
    assert not rest or not rest[0]
    for name in options_of(level, factory):
        assert f"{name}:" in text or f"{name} " in text


def test_every_level_can_be_built_by_name_alone() -> None:
    for factor, levels in FACTORS.items():
        for name, level in levels.items():
            task = level.tasks[0]
            names = {**DEFAULTS, "loss": DEFAULT_LOSS[task], factor: name}
            chosen: dict[str, Any] = {f: FACTORS[f].choose(names[f]) for f in FACTORS}
            model: Any = create(
                model_catalog.MODELS.choose("mlp"),
                task=task,
                in_shape=(4,),
                out_features=3 if task == "classification" else 1,
                init_seed=0,
                **chosen,
            )

            assert len(model.weights()) == 3
            if factor == "activation":
                layer = model.network.get_submodule("activation_2")
                assert type(layer) is type(ACTIVATIONS[name]())
            else:
                assert getattr(model, factor) == chosen[factor]
