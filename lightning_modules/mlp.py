"""Multilayer perceptron: linear layers with an activation between them, of any depth and widths.

Source: Ng, Improving Deep Neural Networks, 1 (z = W a + b, a = g(z)); Saito, Deep Learning from
Scratch, neural networks. Order in a hidden layer: linear, batch norm, activation, dropout; batch norm
comes after the activation where its `position` says so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Unpack

from torch import nn

from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules import regularizers
from recipebench.lightning_modules.activations import ACTIVATIONS
from recipebench.lightning_modules.catalog import ACTIVATIONS as ACTIVATION_CATALOG
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.shapes import hidden_widths
from recipebench.lightning_modules.supervised import Recipe, Spec, SupervisedModule, regularizer_of


class MLP(SupervisedModule):
    """A multilayer perceptron for classification (logits) or regression (one output).

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        hidden: units of each hidden layer; with Maxout, units after the maximum, or those of the network
            without it that has as many parameters (`match`).
        out_features: classes, or 1 for regression.
        activation: a level of the catalog.
        task: `classification` or `regression`.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features).

    Raises:
        RequestError: a level, a hyper-parameter or a width is wrong, regression has several outputs, or
            `dropout_per_layer` has not one probability for the input and for each hidden layer.

    Example:
        >>> MLP(hidden=[5], activation={"maxout": {"pieces": 3}}).network.linear_1
        Linear(in_features=784, out_features=15, bias=True)
    """

    def __init__(
        self,
        *,
        in_features: int = 784,
        hidden: Sequence[int] = (128, 64),
        out_features: int = 10,
        task: str = "classification",
        activation: Spec = "relu",
        **recipe: Unpack[Recipe],
    ) -> None:
        if task == "regression" and out_features != 1:
            raise RequestError(f"mlp: out_features: expected 1 for regression, got {out_features!r}.")
        MODELS.choose({"mlp": {"hidden": hidden}})
        network = build_network(
            in_features,
            hidden,
            out_features,
            ACTIVATION_CATALOG.choose(activation),
            regularizer_of(recipe),
        )
        super().__init__(network, task=task, **recipe)


def build_network(
    in_features: int, hidden: Sequence[int], out_features: int, activation: Choice, regularizer: Choice
) -> nn.Sequential:
    """Return the layers by name: flatten, linear_1, norm_1, activation_1, dropout_1, ..., output.

    Args:
        in_features: numbers in one input.
        hidden: units of each hidden layer; a linear layer before Maxout is `pieces` times as wide.
        out_features: outputs of the last layer, which nothing follows.
        activation: what follows each hidden linear layer.
        regularizer: adds `norm_i` (batch_norm) or `dropout_i` (dropout, dropout_per_layer: also
            `dropout_0` on the input) to each hidden layer, else nothing.

    Returns:
        (batch, ...) to (batch, out_features), with torch's own initial values.

    Raises:
        RequestError: `dropout_per_layer` has a wrong number of probabilities.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    dropouts = regularizers.dropouts(regularizer, hidden)
    options: dict[str, Any] = dict(regularizer.parameters)
    position = options.get("position")  # of batch norm
    if 0 in dropouts:
        layers["dropout_0"] = dropouts[0]
    for i, width in enumerate(hidden_widths(in_features, hidden, out_features, activation), start=1):
        function = ACTIVATIONS[activation.name](**activation.parameters)
        pieces = getattr(function, "pieces", 1)
        layers[f"linear_{i}"] = nn.Linear(in_features, width * pieces)
        if position == "before":
            layers[f"norm_{i}"] = regularizers.batch_norm(width * pieces, **options)
        layers[f"activation_{i}"] = function
        if position == "after":
            layers[f"norm_{i}"] = regularizers.batch_norm(width, **options)
        if i in dropouts:
            layers[f"dropout_{i}"] = dropouts[i]
        in_features = width
    layers["output"] = nn.Linear(in_features, out_features)
    return nn.Sequential(layers)
