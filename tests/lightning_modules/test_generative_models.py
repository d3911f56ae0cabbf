"""Bayes' rule on estimated densities against worked numbers, scikit-learn and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats  # type: ignore[import-untyped]
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine  # type: ignore[import-untyped]
from sklearn.discriminant_analysis import (  # type: ignore[import-untyped]
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.naive_bayes import BernoulliNB, GaussianNB  # type: ignore[import-untyped]
from torch import Tensor

from recipebench.datamodules import TwoBoxes
from recipebench.errors import RequestError
from recipebench.lightning_modules import (
    GaussianClassifier,
    NaiveBayesBernoulli,
    NaiveBayesGaussian,
    TwoBoxBayes,
)
from recipebench.lightning_modules.closed_form import LOG_ZERO

Fit = Callable[..., Any]

DATA = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}


def small_data(name: str) -> tuple[Tensor, Tensor]:
    features, classes = DATA[name](return_X_y=True)
    return torch.from_numpy(features).float(), torch.from_numpy(classes)


def draws(counts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """One-hot colors and boxes: counts[box][color] of each."""
    boxes = [b for b, row in enumerate(counts) for n in row for _ in range(n)]
    colors = [c for row in counts for c, n in enumerate(row) for _ in range(n)]
    return torch.eye(len(counts[0]))[torch.tensor(colors)], torch.tensor(boxes)


# Two boxes ----------------------------------------------------------------------------------------


def test_bayes_rule_on_counted_balls(fit: Fit) -> None:
    """Box 1: 8 blue, 2 green; box 2: 6 blue, 9 green. P(B1) = 2/5, P(blue | B1) = 4/5, P(blue | B2) = 2/5.

    P(B1 | blue) = (4/5 · 2/5) / (4/5 · 2/5 + 2/5 · 3/5) = 8/14; P(B1 | green) = 2/11.
    """
    x, y = draws([[8, 2], [6, 9]])

    model = fit(TwoBoxBayes(), x, y)

    assert model.log_prior.exp().tolist() == pytest.approx([2 / 5, 3 / 5])
    assert model.log_color.exp().flatten().tolist() == pytest.approx([4 / 5, 1 / 5, 2 / 5, 3 / 5])
    posterior = model(torch.eye(2)).exp()
    assert posterior.flatten().tolist() == pytest.approx([8 / 14, 6 / 14, 2 / 11, 9 / 11])
    losses = model.losses(model(torch.eye(2)), torch.tensor([0, 0]))
    assert losses.tolist() == pytest.approx([-math.log(8 / 14), -math.log(2 / 11)])


def test_more_boxes_and_colors_follow_the_same_rule(fit: Fit) -> None:
    counts = [[1, 2, 3], [4, 1, 5], [2, 2, 0], [1, 7, 2]]

    model = fit(TwoBoxBayes(in_features=3, out_features=4), *draws(counts))

    table = np.array(counts, dtype=float)  # P(B | x) is the share of the box among the balls of that color
    np.testing.assert_allclose(model(torch.eye(3)).exp().numpy(), (table / table.sum(0)).T, atol=1e-7)


def test_what_was_never_drawn_leaves_numbers(fit: Fit) -> None:
    model = fit(TwoBoxBayes(in_features=3), *draws([[3, 1, 0], [0, 4, 0]]))

    outputs = model(torch.eye(3))

    assert bool(model.finite())
    assert outputs[0].tolist() == pytest.approx([0, LOG_ZERO + math.log(4 / 3)], rel=1e-6)
    assert outputs[2].exp().tolist() == pytest.approx([0.5, 0.5])  # the prior


def test_many_draws_come_near_the_true_posterior(fit: Fit) -> None:
    data = TwoBoxes(n=20_000)
    data.setup()
    rows = data.train.indices

    model = fit(TwoBoxBayes(), data.float_inputs(data.train.inputs[rows]), data.train.targets[rows])

    np.testing.assert_allclose(model(torch.eye(2)).exp().numpy(), data.posterior, atol=0.02)


# Gaussians ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATA)
def test_separate_covariances_are_scikit_learns(name: str, fit: Fit) -> None:
    """`solver="eigen"` divides by N as maximum likelihood does; "svd" divides by N - 1."""
    x, y = small_data(name)
    classes = int(y.max()) + 1

    model = fit(
        GaussianClassifier(in_features=x.shape[1], out_features=classes, covariance="separate", ridge=0), x, y
    )

    wide = x.double().numpy()
    theirs = QuadraticDiscriminantAnalysis(solver="eigen", store_covariance=True, tol=1e-12).fit(
        wide, y.numpy()
    )
    np.testing.assert_allclose(model.mean.numpy(), theirs.means_, rtol=1e-12)
    np.testing.assert_allclose(model.covariance.numpy(), np.stack(theirs.covariance_), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.log_prior.exp().numpy(), theirs.priors_, rtol=1e-12)
    np.testing.assert_array_equal(model(x).argmax(1).numpy(), theirs.predict(wide))
    exact = model.log_posterior(x.double()).numpy()
    np.testing.assert_allclose(exact, theirs.predict_log_proba(wide), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", DATA)
def test_a_shared_covariance_is_scikit_learns(name: str, fit: Fit) -> None:
    x, y = small_data(name)
    classes = int(y.max()) + 1

    model = fit(GaussianClassifier(in_features=x.shape[1], out_features=classes, ridge=0), x, y)

    wide = x.double().numpy()
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(wide, y.numpy())
    np.testing.assert_allclose(model.mean.numpy(), theirs.means_, rtol=1e-12)
    np.testing.assert_allclose(model.covariance[0].numpy(), theirs.covariance_, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(model(x).argmax(1).numpy(), theirs.predict(wide))
    exact = model.log_posterior(x.double()).numpy()
    np.testing.assert_allclose(exact, theirs.predict_log_proba(wide), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("covariance", ["separate", "shared"])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_joint_is_scipys_density_times_the_prior(covariance: str, ridge: float, fit: Fit) -> None:
    x, y = small_data("iris")
    model = fit(
        GaussianClassifier(in_features=4, out_features=3, covariance=covariance, ridge=ridge),
        x[:120],
        y[:120],
    )

    wide, ys = x.double().numpy(), y[:120].numpy()
    groups = [wide[:120][ys == c] for c in range(3)]
    covariances = [np.cov(group.T, bias=True) for group in groups]
    if covariance == "shared":
        weighted = [len(group) * each for group, each in zip(groups, covariances, strict=True)]
        covariances = [sum(weighted) / 120] * 3
    expected = np.column_stack(
        [
            scipy.stats.multivariate_normal(group.mean(0), each + ridge * np.eye(4)).logpdf(wide)
            + math.log(len(group) / 120)
            for group, each in zip(groups, covariances, strict=True)
        ]
    )
    np.testing.assert_allclose(model.log_joint(x.double()).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_the_shared_posterior_of_two_classes_is_a_logistic_regression(ridge: float, fit: Fit) -> None:
    x, y = small_data("breast_cancer")
    model = fit(GaussianClassifier(in_features=30, out_features=2, ridge=ridge), x, y)

    w, b = model.linear()

    wide = x.double()
    torch.testing.assert_close(
        model.log_posterior(wide)[:, 1], torch.nn.functional.logsigmoid(wide @ w + b), rtol=1e-6, atol=1e-8
    )


def test_the_linear_form_by_hand(fit: Fit) -> None:
    """m_0 = 0, m_1 = 4, C = 1, N_0 = 2, N_1 = 4: w = 4, b = -16/2 + 0 + log 2."""
    x = torch.tensor([[-1.0], [1.0], [3.0], [5.0], [3.0], [5.0]])

    model = fit(
        GaussianClassifier(in_features=1, out_features=2, ridge=0), x, torch.tensor([0, 0, 1, 1, 1, 1])
    )

    w, b = model.linear()
    assert (w.item(), b.item()) == pytest.approx((4, -8 + math.log(2)), abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariance": "separate"}, "got 2 classes, covariance separate"),
        ({"out_features": 3}, "got 3 classes, covariance shared"),
    ],
)
def test_other_posteriors_have_no_linear_form(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        GaussianClassifier(**{"in_features": 2, "out_features": 2, **options}).linear()


def test_maximum_likelihood_is_a_maximum(fit: Fit) -> None:
    """Moving the mean or the covariance lowers the likelihood of the training samples."""
    x, y = small_data("iris")
    model = fit(GaussianClassifier(in_features=4, out_features=3, covariance="separate", ridge=0), x, y)
    random = np.random.default_rng(0)
    group = x[y == 1].double().numpy()
    mean, covariance = model.mean[1].numpy(), model.covariance[1].numpy()
    best = scipy.stats.multivariate_normal(mean, covariance).logpdf(group).sum()

    for _ in range(20):
        change = random.normal(size=(4, 4)) * 1e-3
        moved = scipy.stats.multivariate_normal(mean + random.normal(size=4) * 1e-2, covariance)
        bent = scipy.stats.multivariate_normal(mean, covariance + change @ change.T)
        assert moved.logpdf(group).sum() < best
        assert bent.logpdf(group).sum() < best


def test_images_with_constant_pixels_need_a_ridge(fit: Fit) -> None:
    features, classes = load_digits(return_X_y=True)
    x, y = torch.from_numpy(features / 16).float(), torch.from_numpy(classes)

    with pytest.raises(
        RequestError, match="shared covariance is singular: rank 61 of 64 features at ridge 0"
    ):
        fit(GaussianClassifier(in_features=64, ridge=0), x, y)

    model = fit(GaussianClassifier(in_features=64), x, y)
    assert float((model(x).argmax(1) == y).double().mean()) > 0.95


# Naive Bayes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("var_smoothing", [1e-9, 1e-2])
@pytest.mark.parametrize("name", DATA)
def test_gaussian_features_are_scikit_learns(name: str, var_smoothing: float, fit: Fit) -> None:
    x, y = small_data(name)
    model = fit(
        NaiveBayesGaussian(
            in_features=x.shape[1], out_features=int(y.max()) + 1, var_smoothing=var_smoothing
        ),
        x,
        y,
    )

    wide = x.double().numpy()
    theirs = GaussianNB(var_smoothing=var_smoothing).fit(wide, y.numpy())
    np.testing.assert_allclose(model.mean.numpy(), theirs.theta_, rtol=1e-12)
    np.testing.assert_allclose(model.variance.numpy(), theirs.var_, rtol=1e-10)
    exact = model.log_posterior(x.double()).numpy()
    np.testing.assert_allclose(exact, theirs.predict_log_proba(wide), rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(model(x).argmax(1).numpy(), theirs.predict(wide))


@pytest.mark.parametrize("alpha", [0.1, 1.0])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_binary_features_are_scikit_learns(alpha: float, threshold: float, fit: Fit) -> None:
    features, classes = load_digits(return_X_y=True)
    x, y = torch.from_numpy(features / 16).float(), torch.from_numpy(classes)

    model = fit(NaiveBayesBernoulli(in_features=64, alpha=alpha, threshold=threshold), x, y)

    wide = x.double().numpy()
    theirs = BernoulliNB(alpha=alpha, binarize=threshold).fit(wide, classes)
    np.testing.assert_allclose(model.log_on.numpy(), theirs.feature_log_prob_, rtol=1e-12)
    np.testing.assert_allclose(model.log_prior.numpy(), theirs.class_log_prior_, rtol=1e-12)
    exact = model.log_posterior(x.double()).numpy()
    np.testing.assert_allclose(exact, theirs.predict_log_proba(wide), rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(model(x).argmax(1).numpy(), theirs.predict(wide))


# Classes without samples --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        TwoBoxBayes(in_features=2, out_features=3),
        GaussianClassifier(in_features=2, out_features=3),
        GaussianClassifier(in_features=2, out_features=3, covariance="separate"),
        NaiveBayesGaussian(in_features=2, out_features=3, var_smoothing=0.1),
        NaiveBayesBernoulli(in_features=2, out_features=3),
    ],
    ids=str,
)
def test_a_class_without_samples_is_never_chosen_and_costs_a_finite_loss(model: Any, fit: Fit) -> None:
    x, y = draws([[4, 1], [2, 3]])

    fit(model, x, 2 * y)  # classes 0 and 2

    outputs = model(x)
    assert bool(model.finite())
    assert outputs[:, 1].tolist() == pytest.approx([LOG_ZERO] * 10)
    assert not (outputs.argmax(1) == 1).any()
    assert outputs[:, [0, 2]].exp().sum(1).tolist() == pytest.approx([1.0] * 10)
    assert model.losses(outputs[:1], torch.tensor([1])).item() == pytest.approx(-LOG_ZERO, rel=1e-5)
