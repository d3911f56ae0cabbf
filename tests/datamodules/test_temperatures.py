"""Temperatures: the season, the windows and what averaging them gains."""

from __future__ import annotations

import numpy as np
import pytest

from recipebench.datamodules import Temperatures
from recipebench.datamodules.catalog import split_sizes
from recipebench.datamodules.temperatures import season
from recipebench.errors import RequestError


def made(**options: object) -> Temperatures:
    data = Temperatures(**options)  # type: ignore[arg-type]
    data.setup()
    return data


def test_windows_are_consecutive_days_and_the_target_is_the_next() -> None:
    data = made(years=2, window=30, target="measured")
    windows, targets = data.train.inputs.numpy(), data.train.targets.numpy()[:, 0]

    assert windows.shape == (730 - 30, 30)
    assert targets.shape == (700,)
    assert (windows[1:, :-1] == windows[:-1, 1:]).all()
    assert (targets[:-1] == windows[1:, -1]).all()
    assert (data.in_features, data.facts.shape, data.facts.train) == (30, (30,), 700)
    assert len(data.train) == split_sizes(data.choice).train


def test_true_targets_follow_the_season() -> None:
    data = made(noise=2.0)
    targets = data.train.targets.double().numpy()[:, 0]
    days = np.arange(50, 3 * 365)

    assert targets == pytest.approx(10 - 10 * np.cos(2 * np.pi * days / 365), abs=1e-5)
    noise = data.train.inputs.double().numpy()[:, -1] - season(days - 1.0)
    assert noise.std() == pytest.approx(2.0, rel=0.05)
    assert noise.mean() == pytest.approx(0.0, abs=0.2)


def test_measured_targets_have_noise_of_their_own() -> None:
    true, measured = made().train.targets, made(target="measured").train.targets

    assert (measured - true).std().item() == pytest.approx(3.0, rel=0.05)
    assert (made().train.inputs == made(target="measured").train.inputs).all()


def test_a_mean_of_some_days_beats_the_last_day_and_the_whole_window() -> None:
    data = made()
    x, y = data.train.inputs.double().numpy(), data.train.targets.double().numpy()[:, 0]

    error = {days: float(((x[:, -days:].mean(1) - y) ** 2).mean()) for days in (1, 10, 50)}

    assert error[1] == pytest.approx(9.0, rel=0.1)
    assert error[10] < error[1] / 2
    assert error[10] < error[50]


def test_without_noise_inputs_are_the_season() -> None:
    data = made(years=1, noise=0, window=1)

    assert data.train.inputs.numpy()[:, 0] == pytest.approx(season(np.arange(364.0)), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"years": 0}, "years: expected a whole number between 1 and 100, got 0"),
        ({"window": 301}, "window: expected a whole number between 1 and 300, got 301"),
        ({"target": "tru"}, r"Unknown value 'tru'. Known: measured, true. Did you mean 'true'\?"),
    ],
)
def test_bad_parameters_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        made(**options)
