"""A deep stack: many equal hidden layers, in which gradients vanish or explode (Saito, initial values)."""

from __future__ import annotations

from typing import Unpack

from recipebench.lightning_modules.mlp import MLP
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.supervised import Recipe, Spec


class DeepStack(MLP):
    """A multilayer perceptron of `depth` hidden layers with `width` units each.

    On its way back through a layer a gradient is multiplied by the weights and by the activation's slope,
    at most 1/4 for the sigmoid: so depth, activation and initializer together decide whether the first
    layers learn.

    Args:
        depth: hidden layers.
        width: units of each; with Maxout, units after the maximum.
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: classes, or 1 for regression.
        activation: a level of the catalog.
        task: `classification` or `regression`.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features).

    Raises:
        RequestError: a level, a hyper-parameter or a size is wrong.

    Example:
        >>> DeepStack(depth=30, width=8).network.linear_30
        Linear(in_features=8, out_features=8, bias=True)

    References:
        Saito, Deep Learning from Scratch, initial values of weights (5 layers of 100 units); Lee, Machine
        Learning, vanishing gradients; Glorot and Bengio, AISTATS 2010.
    """

    def __init__(
        self,
        *,
        depth: int = 5,
        width: int = 100,
        in_features: int = 784,
        out_features: int = 10,
        task: str = "classification",
        activation: Spec = "relu",
        **recipe: Unpack[Recipe],
    ) -> None:
        MODELS.choose({"deep_stack": {"depth": depth, "width": width}})
        super().__init__(
            in_features=in_features,
            hidden=[width] * depth,
            out_features=out_features,
            task=task,
            activation=activation,
            **recipe,
        )
