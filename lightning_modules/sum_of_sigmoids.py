"""A sum of sigmoids: the curve that is made of soft steps (Lee, Machine Learning, introduction).

It is a multilayer perceptron with one hidden layer of sigmoids, and is built as one.
"""

from __future__ import annotations

from typing import Unpack

from recipebench.lightning_modules.mlp import MLP
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.supervised import Recipe


class SumOfSigmoids(MLP):
    """y = b + sum_i c_i sigmoid(b_i + sum_j w_ij x_j), i = 1 ... units.

    Each sigmoid is a soft step whose place, width and height are learned; enough of them follow any
    continuous curve. With several outputs each has its own b and c.

    Args:
        units: sigmoids in the sum.
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: classes, or 1 for regression.
        task: `classification` or `regression`.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features).

    Raises:
        RequestError: a level, a hyper-parameter or the number of units is wrong.

    Example:
        >>> SumOfSigmoids(in_features=1, units=3).network.linear_1
        Linear(in_features=1, out_features=3, bias=True)

    References:
        Lee, Machine Learning, introduction; Cybenko, Approximation by Superpositions of a Sigmoidal
        Function, 1989.
    """

    def __init__(
        self,
        *,
        units: int = 16,
        in_features: int = 1,
        out_features: int = 1,
        task: str = "regression",
        **recipe: Unpack[Recipe],
    ) -> None:
        MODELS.choose({"sum_of_sigmoids": {"units": units}})
        super().__init__(
            in_features=in_features,
            hidden=[units],
            out_features=out_features,
            task=task,
            activation="sigmoid",
            **recipe,
        )
