"""Least squares against numpy, scikit-learn and worked examples, on easy and on badly scaled data."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model  # type: ignore[import-untyped]
import torch
from sklearn.datasets import load_breast_cancer, load_digits  # type: ignore[import-untyped]

from recipebench import datamodules
from recipebench.levels import Choice
from recipebench.lightning_modules import (
    LeastSquaresClassifier,
    LinearRegressionClosedForm,
    OneHotLeastSquares,
    PolynomialRegression,
)
from recipebench.lightning_modules.least_squares import LeastSquares

Fit = Callable[..., Any]


def lstsq(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the least squares by numpy, the bias as a column of ones."""
    solution, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)
    return solution[:-1].T, solution[-1]


def training_samples(name: str, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    data = datamodules.create(Choice(name, {}), **options)
    data.setup()
    rows = data.train.indices
    return data.float_inputs(data.train.inputs[rows]), data.train.targets[rows]


# The factor ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [3, 4, 5, 60])
def test_the_solution_is_numpys_minimum_norm_solution(rows: int) -> None:
    """Fewer samples than unknowns too; the bias is centered away in both, for it has no part in the norm."""
    random = np.random.default_rng(rows)
    x, y = random.normal(size=(rows, 5)), random.normal(size=(rows, 2))
    problem = LeastSquares(features=5, outputs=2)
    for part in np.array_split(np.arange(rows), 3):
        problem.add(torch.from_numpy(x[part]), torch.from_numpy(y[part]))

    weight, bias = problem.solve()

    expected, *_ = np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=None)
    np.testing.assert_allclose(weight.numpy(), expected.T, atol=1e-12)
    np.testing.assert_allclose(bias.numpy(), y.mean(0) - x.mean(0) @ expected, atol=1e-12)


def test_columns_that_never_vary_get_no_weight_and_copies_share_theirs() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 1))
    x = np.column_stack([x, x, np.full(50, 0.3), np.zeros(50)])
    problem = LeastSquares(features=4, outputs=1)
    problem.add(torch.from_numpy(x), torch.from_numpy(3 * x[:, :1] + 2))

    weight, bias = problem.solve()

    assert weight[0].tolist() == pytest.approx([1.5, 1.5, 0, 0], abs=1e-12)
    assert bias.item() == pytest.approx(2, abs=1e-12)


@pytest.mark.parametrize("ridge", [0.5, 20.0])
def test_ridge_is_scikit_learns(ridge: float) -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(2.0, 1.0, size=(40, 3)), random.normal(size=(40, 2))
    problem = LeastSquares(features=3, outputs=2)
    problem.add(torch.from_numpy(x), torch.from_numpy(y))

    weight, bias = problem.solve(ridge=ridge)

    theirs = sklearn.linear_model.Ridge(alpha=ridge, solver="cholesky").fit(x, y)
    np.testing.assert_allclose(weight.numpy(), theirs.coef_, atol=1e-12)
    np.testing.assert_allclose(bias.numpy(), theirs.intercept_, atol=1e-12)


def test_no_digit_is_lost_to_normal_equations() -> None:
    """Läuchli's matrix: columns that differ by 1e-9, whose squares vanish in XᵀX, keep their weights."""
    tiny = 1e-9
    x = np.vstack([np.eye(2) * tiny, -np.eye(2) * tiny]) + 1.0
    y = (x - 1) @ np.array([[2.0], [-3.0]])
    problem = LeastSquares(features=2, outputs=1)
    problem.add(torch.from_numpy(x), torch.from_numpy(y))

    weight, _ = problem.solve()

    assert weight[0].tolist() == pytest.approx([2, -3], rel=1e-6)


# The models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["house_prices", "synthetic_regression", "diabetes", "temperatures", "curve"]
)
@pytest.mark.parametrize("inputs", ["unit", "standardized"])
def test_linear_regression_is_numpys_least_squares(name: str, inputs: str, fit: Fit) -> None:
    x, y = training_samples(name, inputs=inputs)

    model = fit(LinearRegressionClosedForm(in_features=x.shape[1]), x, y)

    weight, bias = lstsq(x.double().numpy(), y.double().numpy())
    np.testing.assert_allclose(model.weight.numpy(), weight, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.bias.numpy(), bias, rtol=1e-9, atol=1e-9)


def test_the_gradient_vanishes_at_the_solution(fit: Fit) -> None:
    """What gradient descent steps towards: dL/dw = X^T (X w + b - y) and dL/db are 0."""
    x, y = (tensor.double() for tensor in training_samples("house_prices", inputs="standardized"))
    model = fit(LinearRegressionClosedForm(in_features=3), x.float(), y.float())

    errors = x @ model.weight.T + model.bias - y

    assert float((x.T @ errors).abs().max()) < 1e-9
    assert float(errors.sum().abs()) < 1e-9


@pytest.mark.parametrize("degree", [0, 1, 3, 9, 15])
def test_polynomials_are_numpys(degree: int, fit: Fit) -> None:
    x, y = training_samples("curve")

    model = fit(PolynomialRegression(degree=degree), x, y)

    coefficients = np.polyfit(x[:, 0].double().numpy(), y[:, 0].double().numpy(), degree)
    ours = [*model.weight[0].tolist()[::-1], model.bias.item()]
    np.testing.assert_allclose(ours, coefficients, rtol=1e-8, atol=1e-8)
    expected = np.polyval(coefficients, x[:, 0].double().numpy())
    np.testing.assert_allclose(model(x)[:, 0].numpy(), expected, rtol=1e-6, atol=1e-6)


def test_a_polynomial_of_higher_degree_never_fits_its_training_data_worse(fit: Fit) -> None:
    x, y = training_samples("curve")

    errors = []
    for degree in range(10):
        model = fit(PolynomialRegression(degree=degree), x, y)
        exact = model.features(x.double()) @ model.weight.T + model.bias
        errors.append(float((exact - y.double()).square().mean()))

    assert all(later <= earlier + 1e-10 for earlier, later in itertools.pairwise(errors))
    assert errors[9] < 0.1 * errors[0]


def test_a_polynomial_through_as_many_points_meets_them(fit: Fit) -> None:
    x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
    y = torch.tensor([[0.0], [1.0], [4.0], [21.0]])  # 2x³ + x² + 0x + 1, by hand at the last point

    model = fit(PolynomialRegression(degree=3), x, y)

    assert [model.bias.item(), *model.weight[0].tolist()] == pytest.approx([1, 0, 1, 2], abs=1e-12)


def test_two_classes_are_scikit_learns_ridge_classifier_without_a_ridge(fit: Fit) -> None:
    features, classes = load_breast_cancer(return_X_y=True)
    x, y = torch.from_numpy(features).float(), torch.from_numpy(classes)

    model = fit(LeastSquaresClassifier(in_features=30), x, y)

    wide = x.double().numpy()
    weight, bias = lstsq(wide, 2.0 * classes - 1)
    np.testing.assert_allclose(model.weight[0].numpy(), weight, rtol=1e-6, atol=1e-9)
    assert model.bias.item() == pytest.approx(bias, rel=1e-9)
    theirs = sklearn.linear_model.RidgeClassifier(alpha=1e-12, solver="svd").fit(wide, classes)
    np.testing.assert_array_equal(model(x).argmax(1).numpy(), theirs.predict(wide))


def test_a_far_outlier_on_the_right_side_moves_the_boundary(fit: Fit) -> None:
    """The notes' warning: x = 0.5 is told from x = -0.5 until a sample at x = 30 joins its class."""
    x, y = torch.tensor([[-1.0], [-0.5], [0.5], [1.0]]), torch.tensor([0, 0, 1, 1])
    far_x, far_y = torch.cat([x, torch.tensor([[30.0]])]), torch.cat([y, torch.tensor([1])])

    near = fit(LeastSquaresClassifier(in_features=1), x, y)
    far = fit(LeastSquaresClassifier(in_features=1), far_x, far_y)

    assert near(x).argmax(1).tolist() == [0, 0, 1, 1]
    assert far(x).argmax(1).tolist() == [0, 0, 0, 1]  # by hand: s = 0.0374 x - 0.0242


def test_one_hot_least_squares_on_the_digits_are_numpys(fit: Fit) -> None:
    """Three of the 64 pixels never vary."""
    features, classes = load_digits(return_X_y=True)
    x, y = torch.from_numpy(features / 16).float(), torch.from_numpy(classes)

    model = fit(OneHotLeastSquares(in_features=64), x, y)

    weight, bias = lstsq(x.double().numpy(), np.eye(10)[classes])
    np.testing.assert_allclose(model.weight.numpy(), weight, atol=1e-10)
    np.testing.assert_allclose(model.bias.numpy(), bias, atol=1e-10)
    predicted = (x.double().numpy() @ weight.T + bias).argmax(1)
    np.testing.assert_array_equal(model(x).argmax(1).numpy(), predicted)
