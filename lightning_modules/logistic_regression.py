"""Logistic regression for two classes: one linear layer with one score (Lee, Machine Learning)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Unpack

from torch import nn

from recipebench.errors import RequestError
from recipebench.lightning_modules.supervised import Recipe, SupervisedModule
from recipebench.lightning_modules.two_columns import TwoColumns


class LogisticRegression(SupervisedModule):
    """P(class 1 | x) = sigmoid(s), s = w . x + b, trained on -[y log f + (1 - y) log(1 - f)], f = sigmoid(s).

    The outputs are the columns (-s / 2, s / 2), whose cross-entropy is that binary cross-entropy, and whose
    `probability_mse` is the squared loss (f - y)². A score of exactly 0 is answered with class 0.

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: 2; another number of classes is refused.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, 2).

    Raises:
        RequestError: there are not two classes, a level or one of its hyper-parameters is not known, or
            needs a hidden layer.

    Example:
        >>> LogisticRegression(in_features=3).network.output
        Linear(in_features=3, out_features=1, bias=True)

    References:
        Lee, Machine Learning, logistic regression; Ng, Improving Deep Neural Networks, 1.4.
    """

    def __init__(
        self,
        *,
        in_features: int = 2,
        out_features: int = 2,
        **recipe: Unpack[Recipe],
    ) -> None:
        check_two_classes("logistic_regression", out_features)
        layers = OrderedDict(flatten=nn.Flatten(), output=nn.Linear(in_features, 1), columns=TwoColumns())
        super().__init__(nn.Sequential(layers), task="classification", **recipe)


def check_two_classes(model: str, classes: int) -> None:
    """Refuse what is not two classes.

    Raises:
        RequestError: naming the model that has one score only.
    """
    if classes != 2:
        raise RequestError(
            f"{model}: expected two classes, got {classes!r}; softmax_regression takes any number."
        )
