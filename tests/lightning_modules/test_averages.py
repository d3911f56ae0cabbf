"""Exponentially weighted averages against their sum, pandas, and the numbers of the notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recipebench.datamodules import Temperatures
from recipebench.errors import RequestError
from recipebench.lightning_modules import MovingAverage, ewma


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("bias_correction", [False, True])
def test_it_is_the_weighted_sum(beta: float, bias_correction: bool) -> None:
    values = np.random.default_rng(0).normal(size=(3, 60))

    result = ewma(torch.from_numpy(values), beta, bias_correction=bias_correction)

    ages = np.arange(60)[:, None] - np.arange(60)
    weights = np.where(ages >= 0, (1 - beta) * beta ** np.maximum(ages, 0.0), 0.0)
    if bias_correction:
        weights /= weights.sum(1, keepdims=True)
    np.testing.assert_allclose(result.numpy(), values @ weights.T, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("beta", [0.5, 0.98])
def test_the_corrected_average_is_pandas(beta: float) -> None:
    values = np.random.default_rng(1).normal(size=200)

    expected = pd.Series(values).ewm(alpha=1 - beta, adjust=True).mean()

    result = ewma(torch.from_numpy(values), beta, bias_correction=True)
    np.testing.assert_allclose(result.numpy(), expected.to_numpy(), rtol=1e-10)


def test_the_second_day_of_the_notes() -> None:
    """At beta = 0.98: v_2 = 0.0196 theta_1 + 0.02 theta_2, corrected by 0.0396."""
    values = torch.tensor([40.0, 49.0], dtype=torch.float64)
    expected = 0.0196 * 40 + 0.02 * 49

    assert ewma(values, 0.98)[1].item() == pytest.approx(expected, abs=1e-12)
    assert ewma(values, 0.98, bias_correction=True)[1].item() == pytest.approx(expected / 0.0396, abs=1e-12)


def test_a_constant_stays_itself_when_corrected() -> None:
    values = torch.full((365,), 7.0, dtype=torch.float64)

    assert float((ewma(values, 0.98, bias_correction=True) - 7).abs().max()) < 1e-12
    assert ewma(values, 0.98)[0].item() == pytest.approx(0.14)


@pytest.mark.parametrize(("beta", "lag"), [(0.5, 1.0), (0.9, 9.0), (0.98, 49.0)])
def test_it_lags_behind_a_straight_line(beta: float, lag: float) -> None:
    line = torch.arange(3000, dtype=torch.float64)

    assert (line - ewma(line, beta))[-1].item() == pytest.approx(lag, rel=1e-9)


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_a_beta_that_never_forgets_is_refused(beta: float) -> None:
    with pytest.raises(RequestError, match=r"beta: expected a number of at least 0 and below 1, got"):
        ewma(torch.zeros(3), beta)


def test_the_gradient_of_a_value_is_its_weight() -> None:
    values = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    ewma(values, 0.5)[-1].backward()  # type: ignore[no-untyped-call]

    assert values.grad is not None
    assert values.grad.tolist() == [0.125, 0.25, 0.5]


# The model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias_correction", [False, True])
def test_the_model_predicts_the_average_of_its_window(bias_correction: bool, fit: Callable[..., Any]) -> None:
    windows = torch.tensor([[10.0, 20.0], [0.0, 30.0]])

    model = fit(MovingAverage(beta=0.8, bias_correction=bias_correction), windows, torch.zeros(2, 1))

    # 0.16 x_1 + 0.2 x_2, and their sum 0.36
    expected = torch.tensor([[5.6], [6.0]]) / (0.36 if bias_correction else 1)
    torch.testing.assert_close(model(windows), expected)


def test_correction_helps_a_short_window_and_changes_nothing_in_a_long_one() -> None:
    """Windows of 10 days at beta = 0.9 weigh 1 - 0.9^10 = 0.65 in all; of 200 days, all but 1e-9."""
    errors = {}
    for window in (10, 200):
        data = Temperatures(window=window)
        data.setup()
        x, y = data.float_inputs(data.test.inputs), data.test.targets
        for correction in (False, True):
            model = MovingAverage(beta=0.9, bias_correction=correction)
            errors[window, correction] = float(model.losses(model(x), y).mean())

    assert errors[10, True] < 0.3 * errors[10, False]
    assert errors[200, True] == pytest.approx(errors[200, False], rel=1e-4)
