"""House prices: the features' scales, the price and its recovery."""

from __future__ import annotations

import numpy as np
import pytest

from recipebench.datamodules import HousePrices
from recipebench.datamodules.house_prices import BIAS, WEIGHTS, price
from recipebench.errors import RequestError


def raw(**options: object) -> tuple[np.ndarray, np.ndarray, HousePrices]:
    """Features, prices before standardization, and the data module."""
    data = HousePrices(**options)  # type: ignore[arg-type]
    data.setup()
    targets = data.train.targets[:, 0].double().numpy()
    return data.train.inputs.double().numpy(), targets * data.target_std + data.target_mean, data


def test_features_are_rooms_and_square_feet() -> None:
    houses, _, data = raw(n=5000)
    bedrooms, bathrooms, area = houses.T

    assert (houses == houses.round()).all()
    assert np.unique(bedrooms).tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert np.unique(bathrooms).tolist() == [1, 2, 3, 4, 5]
    assert (bathrooms <= bedrooms).all()
    assert (area - 500 * bedrooms).min() >= 400
    assert (area - 500 * bedrooms).max() < 1400
    assert houses.std(0)[2] / houses.std(0)[1] > 500
    assert (data.task, data.in_features, data.out_features) == ("regression", 3, 1)


def test_least_squares_recovers_the_prices() -> None:
    houses, prices, data = raw()
    design = np.column_stack([houses, np.ones(len(houses))])
    residuals = prices - price(houses)

    solution = np.linalg.lstsq(design, prices, rcond=None)[0]

    assert residuals.std() == pytest.approx(100, rel=0.1)
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design))) * 100
    assert (np.abs(solution - [*WEIGHTS, BIAS]) < 3 * error).all()
    assert data.train.targets.double().std(unbiased=False).item() == pytest.approx(1, abs=1e-6)


def test_without_noise_the_prices_are_the_formulas() -> None:
    houses, prices, _ = raw(noise=0)

    assert prices == pytest.approx(price(houses), rel=1e-5)


def test_standardization_cures_the_conditioning() -> None:
    def condition(inputs: str) -> float:
        data = raw(inputs=inputs)[2]
        x = data.float_inputs(data.train.inputs[data.train.indices]).double().numpy()
        design = np.column_stack([x, np.ones(len(x))])
        return float(np.linalg.cond(design.T @ design))

    assert condition("unit") > 1e6
    assert condition("standardized") < 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n: expected a whole number between 10"),
        ({"noise": -1}, "noise: expected a number between 0"),
    ],
)
def test_bad_parameters_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        raw(**options)
