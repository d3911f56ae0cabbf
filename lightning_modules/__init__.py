"""What is trained: an ordinary LightningModule for each documented model, and the levels compared."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipebench.lightning_modules.activations import ACTIVATIONS as ACTIVATIONS
    from recipebench.lightning_modules.averages import ewma as ewma
    from recipebench.lightning_modules.closed_form import ClosedFormModule as ClosedFormModule
    from recipebench.lightning_modules.cnn import CNN as CNN
    from recipebench.lightning_modules.convolution import Im2colConv2d as Im2colConv2d
    from recipebench.lightning_modules.curvature import critical_point as critical_point
    from recipebench.lightning_modules.curvature import loss_spectrum as loss_spectrum
    from recipebench.lightning_modules.curvature import spectrum as spectrum
    from recipebench.lightning_modules.deep_cnn import DeepCNN as DeepCNN
    from recipebench.lightning_modules.deep_linear_net import DeepLinearNet as DeepLinearNet
    from recipebench.lightning_modules.deep_stack import DeepStack as DeepStack
    from recipebench.lightning_modules.detection_scores import MeanAveragePrecision as MeanAveragePrecision
    from recipebench.lightning_modules.dqn import DQN as DQN
    from recipebench.lightning_modules.gaussian_classifier import GaussianClassifier as GaussianClassifier
    from recipebench.lightning_modules.gradient_checking import GradientReport as GradientReport
    from recipebench.lightning_modules.gradient_checking import gradient_check as gradient_check
    from recipebench.lightning_modules.initializers import INITIALIZERS as INITIALIZERS
    from recipebench.lightning_modules.k_nearest_neighbors import KNearestNeighbors as KNearestNeighbors
    from recipebench.lightning_modules.least_squares_classifier import (
        LeastSquaresClassifier as LeastSquaresClassifier,
    )
    from recipebench.lightning_modules.linear_regression import LinearRegression as LinearRegression
    from recipebench.lightning_modules.linear_regression_closed_form import (
        LinearRegressionClosedForm as LinearRegressionClosedForm,
    )
    from recipebench.lightning_modules.linear_regression_scratch import (
        LinearRegressionScratch as LinearRegressionScratch,
    )
    from recipebench.lightning_modules.logistic_regression import LogisticRegression as LogisticRegression
    from recipebench.lightning_modules.logistic_regression_newton import (
        LogisticRegressionNewton as LogisticRegressionNewton,
    )
    from recipebench.lightning_modules.losses import LOSSES as LOSSES
    from recipebench.lightning_modules.margin_classifier import MarginClassifier as MarginClassifier
    from recipebench.lightning_modules.maxout_net import MaxoutNet as MaxoutNet
    from recipebench.lightning_modules.mlp import MLP as MLP
    from recipebench.lightning_modules.mlp_scratch import MLPScratch as MLPScratch
    from recipebench.lightning_modules.models import MODELS as MODELS
    from recipebench.lightning_modules.models import create as create
    from recipebench.lightning_modules.moving_average import MovingAverage as MovingAverage
    from recipebench.lightning_modules.naive_bayes_bernoulli import NaiveBayesBernoulli as NaiveBayesBernoulli
    from recipebench.lightning_modules.naive_bayes_gaussian import NaiveBayesGaussian as NaiveBayesGaussian
    from recipebench.lightning_modules.one_hot_least_squares import OneHotLeastSquares as OneHotLeastSquares
    from recipebench.lightning_modules.optimizers import OPTIMIZERS as OPTIMIZERS
    from recipebench.lightning_modules.perceptron import Perceptron as Perceptron
    from recipebench.lightning_modules.perceptron import XorGate as XorGate
    from recipebench.lightning_modules.perceptron import xor as xor
    from recipebench.lightning_modules.point import Point as Point
    from recipebench.lightning_modules.polynomial_regression import (
        PolynomialRegression as PolynomialRegression,
    )
    from recipebench.lightning_modules.probes import gradient_flow as gradient_flow
    from recipebench.lightning_modules.probes import probe as probe
    from recipebench.lightning_modules.rcnn import RCNN as RCNN
    from recipebench.lightning_modules.recorded import RecordedModule as RecordedModule
    from recipebench.lightning_modules.replay_buffer import ReplayBuffer as ReplayBuffer
    from recipebench.lightning_modules.schedules import SCHEDULES as SCHEDULES
    from recipebench.lightning_modules.scored import ScoredModule as ScoredModule
    from recipebench.lightning_modules.softmax_regression import SoftmaxRegression as SoftmaxRegression
    from recipebench.lightning_modules.softmax_regression_scratch import (
        SoftmaxRegressionScratch as SoftmaxRegressionScratch,
    )
    from recipebench.lightning_modules.sum_of_sigmoids import SumOfSigmoids as SumOfSigmoids
    from recipebench.lightning_modules.supervised import SupervisedModule as SupervisedModule
    from recipebench.lightning_modules.transfer import TransferCNN as TransferCNN
    from recipebench.lightning_modules.two_box_bayes import TwoBoxBayes as TwoBoxBayes

_HOMES = {
    "TransferCNN": "transfer",
    "DeepCNN": "deep_cnn",
    "Im2colConv2d": "convolution",
    "CNN": "cnn",
    "LinearRegression": "linear_regression",
    "MLP": "mlp",
    "SoftmaxRegression": "softmax_regression",
    "RecordedModule": "recorded",
    "ScoredModule": "scored",
    "SupervisedModule": "supervised",
    "ACTIVATIONS": "activations",
    "INITIALIZERS": "initializers",
    "OPTIMIZERS": "optimizers",
    "LOSSES": "losses",
    "SCHEDULES": "schedules",
    "MODELS": "models",
    "create": "models",
    "LinearRegressionClosedForm": "linear_regression_closed_form",
    "PolynomialRegression": "polynomial_regression",
    "LeastSquaresClassifier": "least_squares_classifier",
    "OneHotLeastSquares": "one_hot_least_squares",
    "TwoBoxBayes": "two_box_bayes",
    "GaussianClassifier": "gaussian_classifier",
    "NaiveBayesGaussian": "naive_bayes_gaussian",
    "NaiveBayesBernoulli": "naive_bayes_bernoulli",
    "KNearestNeighbors": "k_nearest_neighbors",
    "MovingAverage": "moving_average",
    "ClosedFormModule": "closed_form",
    "ewma": "averages",
    "DQN": "dqn",
    "ReplayBuffer": "replay_buffer",
    "Perceptron": "perceptron",
    "LinearRegressionScratch": "linear_regression_scratch",
    "SoftmaxRegressionScratch": "softmax_regression_scratch",
    "MLPScratch": "mlp_scratch",
    "LogisticRegression": "logistic_regression",
    "LogisticRegressionNewton": "logistic_regression_newton",
    "MarginClassifier": "margin_classifier",
    "SumOfSigmoids": "sum_of_sigmoids",
    "DeepLinearNet": "deep_linear_net",
    "DeepStack": "deep_stack",
    "MaxoutNet": "maxout_net",
    "Point": "point",
    "XorGate": "perceptron",
    "xor": "perceptron",
    "gradient_check": "gradient_checking",
    "GradientReport": "gradient_checking",
    "probe": "probes",
    "gradient_flow": "probes",
    "critical_point": "curvature",
    "spectrum": "curvature",
    "loss_spectrum": "curvature",
    "RCNN": "rcnn",
    "MeanAveragePrecision": "detection_scores",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a model only when it is asked for: reading the catalog loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
