"""Curves: the functions by hand, noise and standardization, and what polynomials can do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.chebyshev import Chebyshev
from scipy.stats import kstest  # type: ignore[import-untyped]

from recipebench.datamodules import Curve
from recipebench.datamodules.curve import cubic, sine, step
from recipebench.errors import RequestError


def raw(**options: object) -> tuple[np.ndarray, np.ndarray, Curve]:
    """Features, targets before standardization, and the data module."""
    data = Curve(**options)  # type: ignore[arg-type]
    data.setup()
    x, y = data.train.inputs[:, 0].double().numpy(), data.train.targets[:, 0].double().numpy()
    return x, y * data.target_std + data.target_mean, data


def test_functions_by_hand() -> None:
    x = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])

    assert sine(x) == pytest.approx(np.array([0.0, -1.0, 0.0, 1.0, 0.0]), abs=1e-15)
    assert step(x).tolist() == [-1.0, -1.0, -1.0, 1.0, 1.0]
    assert cubic(x) == pytest.approx(Chebyshev([0, 0, 0, 1])(x))


@pytest.mark.parametrize("function", ["sine", "step", "cubic"])
def test_targets_follow_the_function(function: str) -> None:
    x, y, data = raw(function=function, noise=0, n=1000)
    noisy = raw(function=function, noise=0.5, n=1000)[1]

    assert y == pytest.approx(data.function(x), abs=1e-5)
    assert (noisy - y).std() == pytest.approx(0.5, rel=0.1)
    assert kstest((x + 1) / 2, "uniform").pvalue > 0.01
    assert data.train.targets.double().mean().item() == pytest.approx(0, abs=1e-6)
    assert data.train.targets.double().std(unbiased=False).item() == pytest.approx(1, abs=1e-6)
    assert (data.task, data.in_features, data.out_features) == ("regression", 1, 1)


def test_polynomials_of_degree_3_fit_the_cubic_and_lines_do_not() -> None:
    x, y, _ = raw(function="cubic", noise=0)

    def residual(degree: int) -> float:
        return float(np.abs(np.polynomial.Polynomial.fit(x, y, degree)(x) - y).max())

    assert residual(3) < 1e-5
    assert residual(1) > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": "sin"}, r"Unknown value 'sin'. Known: cubic, sine, step. Did you mean 'sine'\?"),
        ({"n": 9}, "n: expected a whole number between 10"),
        ({"noise": float("inf")}, "noise: expected a number between 0 and 1000"),
    ],
)
def test_bad_parameters_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        raw(**options)
