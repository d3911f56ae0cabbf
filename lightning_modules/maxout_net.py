"""A Maxout network: a multilayer perceptron whose hidden units are the largest of several linear pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from recipebench.lightning_modules.mlp import MLP
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.supervised import Recipe


class MaxoutNet(MLP):
    """h_i = max over k of (w_ik . x + b_ik), k = 1 ... pieces, in every hidden layer.

    Args:
        hidden: units of each hidden layer after the maximum.
        pieces: linear pieces of each unit.
        match: what is kept equal to a network with `hidden` plain units: `units`, or `parameters`, for
            which there are fewer units; see the activation `maxout`.
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: classes, or 1 for regression.
        task: `classification` or `regression`.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features).

    Raises:
        RequestError: a level, a hyper-parameter or a width is wrong.

    Example:
        >>> MaxoutNet(hidden=[5], pieces=3).network.linear_1
        Linear(in_features=784, out_features=15, bias=True)

    References:
        Goodfellow et al., Maxout Networks, ICML 2013; Lee, Machine Learning, recipe of deep learning.
    """

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (128, 64),
        pieces: int = 2,
        match: str = "units",
        in_features: int = 784,
        out_features: int = 10,
        task: str = "classification",
        **recipe: Unpack[Recipe],
    ) -> None:
        MODELS.choose({"maxout_net": {"hidden": hidden, "pieces": pieces, "match": match}})
        super().__init__(
            in_features=in_features,
            hidden=hidden,
            out_features=out_features,
            task=task,
            activation={"maxout": {"pieces": pieces, "match": match}},
            **recipe,
        )
