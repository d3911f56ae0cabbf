"""Two Gaussians against their own densities, moons and circles against scikit-learn's curves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree  # type: ignore[import-untyped]
from scipy.stats import kstest, norm  # type: ignore[import-untyped]
from sklearn.datasets import make_moons  # type: ignore[import-untyped]
from sklearn.discriminant_analysis import (  # type: ignore[import-untyped]
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)

from recipebench.datamodules import Circles, Moons, TensorDataModule, TwoGaussians
from recipebench.errors import RequestError


def points(data: TensorDataModule) -> tuple[np.ndarray, np.ndarray]:
    data.setup()
    return data.train.inputs.double().numpy(), data.train.targets.numpy()


@pytest.mark.parametrize("covariance", ["shared", "separate"])
def test_classes_have_the_declared_moments(covariance: str) -> None:
    data = TwoGaussians(n=40_000, separation=3.0, covariance=covariance)
    x, y = points(data)

    assert data.means.tolist() == [[-1.5, 0.0], [1.5, 0.0]]
    assert data.covariances[0] == pytest.approx(np.array([[1, 0.6], [0.6, 1]]))
    second = [[1, 0.6], [0.6, 1]] if covariance == "shared" else [[0.25, -0.15], [-0.15, 0.25]]
    assert data.covariances[1] == pytest.approx(np.array(second))
    for c in (0, 1):
        assert x[y == c].mean(0) == pytest.approx(data.means[c], abs=0.03)
        assert np.cov(x[y == c].T) == pytest.approx(data.covariances[c], abs=0.03)
        whitened = (x[y == c] - data.means[c]) @ np.linalg.inv(np.linalg.cholesky(data.covariances[c])).T
        assert kstest(whitened.ravel(), "norm").pvalue > 0.01


def test_classes_are_as_linearly_separable_as_theory_says() -> None:
    data = TwoGaussians(n=40_000)
    x, y = points(data)
    gap = data.means[1] - data.means[0]
    best = norm.cdf(np.sqrt(gap @ np.linalg.solve(data.covariances[0], gap)) / 2)

    accuracy = LinearDiscriminantAnalysis().fit(x, y).score(x, y)

    assert accuracy == pytest.approx(best, abs=0.005)


def test_separate_covariances_ask_for_a_curve() -> None:
    x, y = points(TwoGaussians(n=10_000, covariance="separate", separation=1.0))

    quadratic = QuadraticDiscriminantAnalysis().fit(x, y).score(x, y)

    assert quadratic > LinearDiscriminantAnalysis().fit(x, y).score(x, y) + 0.05


@pytest.mark.parametrize(("prior", "n"), [(0.5, 1000), (0.3, 1000), (0.25, 77), (0.95, 200)])
def test_the_prior_is_the_share_of_class_1(prior: float, n: int) -> None:
    _, y = points(TwoGaussians(n=n, prior=prior))

    assert y.sum() == int(n * prior)


def test_outliers_are_moved_members_of_class_1() -> None:
    near, y = points(TwoGaussians())
    far, labels = points(TwoGaussians(outliers=0.1, outlier_distance=50.0))
    further, _ = points(TwoGaussians(outliers=0.3, outlier_distance=50.0))

    moved = (near != far).any(axis=1)

    assert (y == labels).all()
    assert (labels[moved] == 1).all()
    assert moved.sum() == pytest.approx(50, abs=20)
    assert far[moved] - near[moved] == pytest.approx(np.array([[50.0, 0.0]] * moved.sum()), abs=1e-4)
    assert ((near != further).any(axis=1) >= moved).all()


def test_outliers_mislead_least_squares() -> None:
    def accuracy(outliers: float) -> float:
        x, y = points(TwoGaussians(outliers=outliers, outlier_distance=50.0, separation=4.0))
        design = np.column_stack([x, np.ones(len(x))])
        weights = np.linalg.lstsq(design, 2.0 * y - 1.0, rcond=None)[0]
        return float(((design @ weights > 0) == y).mean())

    assert accuracy(0.0) > 0.98
    assert accuracy(0.2) < 0.9


def test_moons_lie_on_scikit_learns_moons() -> None:
    x, y = points(Moons(noise=0))
    curves, classes = make_moons(20_000, noise=None)

    for c in (0, 1):
        assert cKDTree(curves[classes == c]).query(x[y == c])[0].max() < 1e-3
    assert np.bincount(y).tolist() == [500, 500]


def test_circles_have_their_radii_and_all_angles() -> None:
    x, y = points(Circles(noise=0, factor=0.3))
    radius = np.hypot(x[:, 0], x[:, 1])

    assert radius == pytest.approx(np.where(y == 0, 1.0, 0.3), abs=1e-6)
    assert kstest(np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi) + 0.5, "uniform").pvalue > 0.01


@pytest.mark.parametrize("cls", [Moons, Circles])
def test_noise_is_normal_and_shared(cls: type[Moons] | type[Circles]) -> None:
    clean, few, many = (points(cls(n=5000, noise=noise))[0] for noise in (0.0, 0.1, 0.4))

    assert kstest(((few - clean) / 0.1).ravel(), "norm").pvalue > 0.01
    assert (few - clean) * 4 == pytest.approx(many - clean, abs=1e-5)


def test_targets_are_classes() -> None:
    for data in (TwoGaussians(n=50), Moons(n=50), Circles(n=50)):
        data.setup()
        assert data.train.targets.dtype == torch.int64
        assert data.train.inputs.dtype == torch.float32
        assert (data.in_features, data.out_features) == (2, 2)


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (TwoGaussians, {"covariance": "share"}, "Unknown value 'share'. Known: separate, shared"),
        (TwoGaussians, {"outliers": 0.6}, "outliers: expected a number between 0 and 0.5"),
        (TwoGaussians, {"separation": -1}, "separation: expected a number between 0 and 100"),
        (TwoGaussians, {"prior": 0.0}, "prior: expected a number between 0.05 and 0.95"),
        (Circles, {"factor": 1.0}, "factor: expected a number strictly between 0 and 1"),
        (Moons, {"noise": -0.1}, "noise: expected a number between 0 and 10"),
        (Moons, {"n": 9}, "n: expected a whole number between 10"),
    ],
)
def test_bad_parameters_are_named(
    cls: type[TensorDataModule], options: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        cls(**options)  # type: ignore[arg-type]
