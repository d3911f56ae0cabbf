"""The models by name, and how one is built from a recipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from recipebench.levels import Choice
from recipebench.lightning_modules.linear_regression import LinearRegression
from recipebench.lightning_modules.mlp import MLP
from recipebench.lightning_modules.softmax_regression import SoftmaxRegression
from recipebench.lightning_modules.supervised import SupervisedModule

MODELS: dict[str, type[SupervisedModule]] = {
    "linear_regression": LinearRegression,
    "softmax_regression": SoftmaxRegression,
    "mlp": MLP,
}
"""Every model by name."""


def create(
    model: Choice,
    *,
    task: str,
    in_features: int,
    out_features: int,
    activation: Choice | None,
    initializer: Choice,
    regularizer: Choice,
    optimizer: Choice,
    init_seed: int,
) -> SupervisedModule:
    """Build a model for a task of given sizes with the levels of a recipe.

    A model gets those of these values that its signature names; a suite is refused earlier if it asks
    a model for something that the model does not have.

    Args:
        model: name and hyper-parameters of the model.
        task: `classification` or `regression`.
        in_features: numbers in one input.
        out_features: classes, or 1.
        activation: what follows each hidden layer; None for models without hidden layers.
        initializer: how linear layers start.
        regularizer: what is added to the loss, the layers, the optimizer or the run.
        optimizer: how the weights move.
        init_seed: names the streams of the initial draws.

    Raises:
        KeyError: there is no such model.
        RequestError: the levels do not go together, as dropout without a hidden layer.
    """
    values = {
        "task": task,
        "in_features": in_features,
        "out_features": out_features,
        "activation": activation,
        "initializer": initializer,
        "regularizer": regularizer,
        "optimizer": optimizer,
        "init_seed": init_seed,
    }
    make: Callable[..., SupervisedModule] = MODELS[model.name]
    taken = inspect.signature(make).parameters
    return make(**{name: value for name, value in values.items() if name in taken}, **model.parameters)
