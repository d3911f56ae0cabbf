"""Closed-form models on all 60,000 training and 10,000 test images, against numpy and scikit-learn.

Parameters to 1e-6 and better, and the same answer to every single test image. About 50 seconds on one
core; skipped where the files are not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import BernoulliNB, GaussianNB  # type: ignore[import-untyped]
from sklearn.neighbors import KNeighborsClassifier  # type: ignore[import-untyped]
from torch import Tensor

from recipebench import datamodules
from recipebench.datamodules import fetch
from recipebench.levels import Choice
from recipebench.lightning_modules import (
    GaussianClassifier,
    KNearestNeighbors,
    LinearRegressionClosedForm,
    NaiveBayesBernoulli,
    NaiveBayesGaussian,
    OneHotLeastSquares,
)

Fit = Callable[..., Any]
Array = np.ndarray


@dataclass
class Images:
    """Images (n, 1, 28, 28) in [0, 1] and their classes; `flat` ones are float64, for the references."""

    train: Tensor
    classes: Tensor
    test: Tensor
    test_classes: Tensor

    @cached_property
    def flat(self) -> Array:
        return self.train.flatten(1).double().numpy()

    @cached_property
    def flat_test(self) -> Array:
        return self.test.flatten(1).double().numpy()

    @cached_property
    def moments(self) -> tuple[Array, Array, Array]:
        """Counts (10,), means (10, 784) and covariances (10, 784, 784) of the classes, by numpy."""
        groups = [self.flat[self.classes.numpy() == c] for c in range(10)]
        covariances = np.stack([np.cov(group.T, bias=True) for group in groups])
        return np.array([len(g) for g in groups]), np.stack([g.mean(0) for g in groups]), covariances

    @cached_property
    def least_squares(self) -> tuple[Array, Array]:
        """Weights (11, 784) and biases (11,) for the ten one-hot targets and for the digit as a number."""
        classes = self.classes.numpy()
        targets = np.column_stack([np.eye(10)[classes], classes])
        design = np.column_stack([self.flat, np.ones(len(self.flat))])
        solution, *_ = np.linalg.lstsq(design, targets, rcond=None)
        return solution[:-1].T, solution[-1]


@pytest.fixture(scope="module", params=["mnist", "fashion_mnist"])
def images(request: pytest.FixtureRequest) -> Images:
    data = datamodules.create(Choice(request.param, {}))
    if None in fetch.locate(data.choice).values():
        pytest.skip(f"the files of {request.param} are not here")
    train, test = data.load()
    assert test is not None
    return Images(
        data.float_inputs(train.inputs), train.targets, data.float_inputs(test.inputs), test.targets
    )


def answers(model: Any, images: Images) -> Array:
    with torch.no_grad():
        outputs = torch.cat([model(part) for part in images.test.split(1000)])
    return outputs.argmax(1).numpy()


def quadratic(x: Array, matrix: Array) -> Array:
    return ((x @ matrix) * x).sum(1)


def gaussian_answers(images: Images, means: Array, covariances: Array, counts: Array) -> Array:
    joint = np.empty((len(images.flat_test), 10))
    for c, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        _, log_det = np.linalg.slogdet(covariance)
        distances = quadratic(images.flat_test - mean, np.linalg.inv(covariance))
        joint[:, c] = np.log(counts[c]) - log_det / 2 - distances / 2
    return joint.argmax(1)


def test_one_hot_least_squares(images: Images, fit: Fit) -> None:  # 2 x 8 s
    """717 of MNIST's pixels vary, and they span 712 dimensions."""
    model = fit(OneHotLeastSquares(), images.train, images.classes, batch_size=128)

    weight, bias = images.least_squares
    np.testing.assert_allclose(model.weight.numpy(), weight[:10], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(model.bias.numpy(), bias[:10], rtol=1e-6, atol=1e-7)
    expected = (images.flat_test @ weight[:10].T + bias[:10]).argmax(1)
    np.testing.assert_array_equal(answers(model, images), expected)


def test_linear_regression(images: Images, fit: Fit) -> None:  # 2 x 4 s
    """The class as a number: a poor idea, but a regression on 60,000 samples."""
    values = images.classes.float().unsqueeze(1)

    model = fit(LinearRegressionClosedForm(in_features=784), images.train, values, batch_size=1000)

    weight, bias = images.least_squares
    np.testing.assert_allclose(model.weight.numpy(), weight[10:], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(model.bias.numpy(), bias[10:], rtol=1e-6, atol=1e-6)
    expected = images.flat_test @ weight[10] + bias[10]
    np.testing.assert_allclose(model(images.test)[:, 0].numpy(), expected, rtol=1e-5, atol=1e-5)


def test_gaussians_with_a_shared_covariance(images: Images, fit: Fit) -> None:  # 2 x 6 s
    counts, means, covariances = images.moments

    model = fit(GaussianClassifier(covariance="shared"), images.train, images.classes, batch_size=128)

    shared = np.tensordot(counts / counts.sum(), covariances, 1)
    np.testing.assert_allclose(model.mean.numpy(), means, atol=1e-12)
    np.testing.assert_allclose(model.covariance[0].numpy(), shared, atol=1e-12)
    np.testing.assert_allclose(model.log_prior.numpy(), np.log(counts / counts.sum()), atol=1e-12)
    # the linear form, for which the reference needs one inverse
    inverse = np.linalg.inv(shared + 0.01 * np.eye(784))
    linear = images.flat_test @ (inverse @ means.T) - quadratic(means, inverse) / 2 + np.log(counts)
    np.testing.assert_array_equal(answers(model, images), linear.argmax(1))


def test_gaussians_with_separate_covariances(images: Images, fit: Fit) -> None:  # 2 x 11 s
    counts, means, covariances = images.moments

    model = fit(GaussianClassifier(covariance="separate"), images.train, images.classes, batch_size=128)

    np.testing.assert_allclose(model.mean.numpy(), means, atol=1e-12)
    np.testing.assert_allclose(model.covariance.numpy(), covariances, atol=1e-12)
    expected = gaussian_answers(images, means, covariances + 0.01 * np.eye(784), counts)
    np.testing.assert_array_equal(answers(model, images), expected)


def test_naive_bayes_with_gaussian_features(images: Images, fit: Fit) -> None:  # 2 x 3 s
    model = fit(NaiveBayesGaussian(), images.train, images.classes, batch_size=128)

    theirs = GaussianNB().fit(images.flat, images.classes.numpy())
    np.testing.assert_allclose(model.mean.numpy(), theirs.theta_, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(model.variance.numpy(), theirs.var_, rtol=1e-8)
    np.testing.assert_array_equal(answers(model, images), theirs.predict(images.flat_test))


def test_naive_bayes_with_binary_features(images: Images, fit: Fit) -> None:  # 2 x 2 s
    model = fit(NaiveBayesBernoulli(), images.train, images.classes, batch_size=128)

    theirs = BernoulliNB(binarize=0.5).fit(images.flat, images.classes.numpy())
    np.testing.assert_allclose(model.log_on.numpy(), theirs.feature_log_prob_, rtol=1e-12)
    np.testing.assert_array_equal(answers(model, images), theirs.predict(images.flat_test))


def test_nearest_neighbors_of_some_test_images(images: Images, fit: Fit) -> None:  # 2 x 2 s
    """200 queries among all 60,000 images."""
    model = fit(KNearestNeighbors(), images.train, images.classes, batch_size=1000)
    some = slice(0, None, 50)

    theirs = KNeighborsClassifier(5, algorithm="brute").fit(images.flat, images.classes.numpy())
    expected = theirs.predict_proba(images.flat_test[some])
    np.testing.assert_allclose(model(images.test[some]).numpy(), expected, atol=1e-7)
