"""The models by name, and how one is built from a recipe."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import get_args

from recipebench.levels import Choice
from recipebench.lightning_modules.cnn import CNN
from recipebench.lightning_modules.deep_cnn import DeepCNN
from recipebench.lightning_modules.deep_linear_net import DeepLinearNet
from recipebench.lightning_modules.deep_stack import DeepStack
from recipebench.lightning_modules.dqn import DQN
from recipebench.lightning_modules.gaussian_classifier import GaussianClassifier
from recipebench.lightning_modules.k_nearest_neighbors import KNearestNeighbors
from recipebench.lightning_modules.least_squares_classifier import LeastSquaresClassifier
from recipebench.lightning_modules.linear_regression import LinearRegression
from recipebench.lightning_modules.linear_regression_closed_form import LinearRegressionClosedForm
from recipebench.lightning_modules.linear_regression_scratch import LinearRegressionScratch
from recipebench.lightning_modules.logistic_regression import LogisticRegression
from recipebench.lightning_modules.logistic_regression_newton import LogisticRegressionNewton
from recipebench.lightning_modules.margin_classifier import MarginClassifier
from recipebench.lightning_modules.maxout_net import MaxoutNet
from recipebench.lightning_modules.mlp import MLP
from recipebench.lightning_modules.mlp_scratch import MLPScratch
from recipebench.lightning_modules.moving_average import MovingAverage
from recipebench.lightning_modules.naive_bayes_bernoulli import NaiveBayesBernoulli
from recipebench.lightning_modules.naive_bayes_gaussian import NaiveBayesGaussian
from recipebench.lightning_modules.one_hot_least_squares import OneHotLeastSquares
from recipebench.lightning_modules.perceptron import Perceptron
from recipebench.lightning_modules.point import Point
from recipebench.lightning_modules.polynomial_regression import PolynomialRegression
from recipebench.lightning_modules.rcnn import RCNN
from recipebench.lightning_modules.recorded import RecordedModule
from recipebench.lightning_modules.softmax_regression import SoftmaxRegression
from recipebench.lightning_modules.softmax_regression_scratch import SoftmaxRegressionScratch
from recipebench.lightning_modules.sum_of_sigmoids import SumOfSigmoids
from recipebench.lightning_modules.transfer import TransferCNN
from recipebench.lightning_modules.two_box_bayes import TwoBoxBayes

MODELS: dict[str, type[RecordedModule]] = {
    "linear_regression": LinearRegression,
    "softmax_regression": SoftmaxRegression,
    "mlp": MLP,
    "cnn": CNN,
    "deep_cnn": DeepCNN,
    "transfer_cnn": TransferCNN,
    "linear_regression_closed_form": LinearRegressionClosedForm,
    "polynomial_regression": PolynomialRegression,
    "least_squares_classifier": LeastSquaresClassifier,
    "one_hot_least_squares": OneHotLeastSquares,
    "two_box_bayes": TwoBoxBayes,
    "gaussian_classifier": GaussianClassifier,
    "naive_bayes_gaussian": NaiveBayesGaussian,
    "naive_bayes_bernoulli": NaiveBayesBernoulli,
    "k_nearest_neighbors": KNearestNeighbors,
    "moving_average": MovingAverage,
    "dqn": DQN,
    "perceptron": Perceptron,
    "linear_regression_scratch": LinearRegressionScratch,
    "softmax_regression_scratch": SoftmaxRegressionScratch,
    "mlp_scratch": MLPScratch,
    "logistic_regression": LogisticRegression,
    "logistic_regression_newton": LogisticRegressionNewton,
    "margin_classifier": MarginClassifier,
    "sum_of_sigmoids": SumOfSigmoids,
    "deep_linear_net": DeepLinearNet,
    "deep_stack": DeepStack,
    "maxout_net": MaxoutNet,
    "point": Point,
    "rcnn": RCNN,
}
"""Every model by name."""


def create(
    model: Choice,
    *,
    task: str,
    in_shape: tuple[int, ...],
    out_features: int,
    init_seed: int,
    **recipe: Choice | None,
) -> RecordedModule:
    """Build the module of a recipe; of all that is known, each model takes its `arguments_of`.

    Args:
        model: name and hyper-parameters of the model.
        task: what is learned.
        in_shape: of one sample: (channels, height, width), or (features,).
        out_features: classes, or 1.
        init_seed: names the streams of the initial draws.
        **recipe: a level for each factor; None where the model does not respond to it.

    Raises:
        KeyError: there is no such model.
        RequestError: the levels do not go together, as dropout without a hidden layer.
    """
    values = {
        "task": task,
        "in_shape": in_shape,
        "in_features": math.prod(in_shape),
        "out_features": out_features,
        "init_seed": init_seed,
        **recipe,
    }
    make: Callable[..., RecordedModule] = MODELS[model.name]
    taken = arguments_of(make)
    named = {name: value for name, value in values.items() if name in taken and value is not None}
    return make(**named, **model.parameters)


def arguments_of(model: Callable[..., object]) -> list[str]:
    """Return the names of all that a class takes: of its own arguments, and of the recipe it passes on.

    Example:
        >>> arguments_of(LinearRegression)[:3]
        ['in_features', 'initializer', 'regularizer']
    """
    names: list[str] = []
    for name, parameter in inspect.signature(model, eval_str=True).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:  # **recipe: Unpack[Recipe]
            (recipe,) = get_args(parameter.annotation)
            names += recipe.__annotations__
        else:
            names.append(name)
    return names
