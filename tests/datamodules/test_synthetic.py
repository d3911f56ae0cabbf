"""Synthetic regression: the recipe, what is fixed, and what can be recovered from it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from recipebench.datamodules import SyntheticRegression
from recipebench.datamodules.synthetic import BIAS, WEIGHTS, linear, nonlinear
from recipebench.errors import RequestError

DEFAULT_SHA256 = "6a71a51bb414fc57de2a6248c8a318fcaadf9d0bd053e2d29c931ab2e366a4a8"


def made(**options: object) -> SyntheticRegression:
    data = SyntheticRegression(**options)  # type: ignore[arg-type]
    data.setup()
    return data


def raw_targets(data: SyntheticRegression) -> np.ndarray:
    """Undo the standardization."""
    return data.train.targets.numpy().astype(np.float64)[:, 0] * data.target_std + data.target_mean


@pytest.mark.parametrize("teacher", ["linear", "nonlinear"])
def test_shapes_types_and_standardized_targets(teacher: str) -> None:
    data = made(teacher=teacher, n=5000, noise=0.5)

    assert data.train.inputs.shape == (5000, 2)
    assert data.train.targets.shape == (5000, 1)
    assert data.train.inputs.dtype == data.train.targets.dtype == torch.float32
    assert data.train.targets.double().mean().item() == pytest.approx(0, abs=1e-7)
    assert data.train.targets.double().std(unbiased=False).item() == pytest.approx(1, abs=1e-7)
    assert (data.task, data.in_features, data.out_features) == ("regression", 2, 1)


def test_features_are_standard_normal() -> None:
    from scipy import stats  # type: ignore[import-untyped]

    features = made(n=20_000).train.inputs.numpy()

    assert stats.kstest(features[:, 0], "norm").pvalue > 0.01
    assert stats.kstest(features[:, 1], "norm").pvalue > 0.01
    assert abs(np.corrcoef(features.T)[0, 1]) < 0.03


def test_least_squares_recovers_the_linear_teacher() -> None:
    data = made()
    features = data.train.inputs.numpy().astype(np.float64)
    design = np.column_stack([features, np.ones(1000)])

    solution, *_ = np.linalg.lstsq(design, raw_targets(data), rcond=None)

    assert solution == pytest.approx([*WEIGHTS, BIAS], abs=2e-3)
    assert (WEIGHTS, BIAS) == ((2.0, -3.4), 4.2)
    residuals = raw_targets(data) - data.teacher(features)
    assert residuals.std() == pytest.approx(0.01, rel=0.1)


def test_teachers_by_hand() -> None:
    x = np.array([[0.0, 0.0], [1.0, 1.0], [-2.0, 3.0]])

    assert linear(x) == pytest.approx([4.2, 2.8, -10.0])
    assert nonlinear(x) == pytest.approx([0.0, 3.0, -7.6])


def test_a_linear_model_explains_little_of_the_nonlinear_teacher() -> None:
    data = made(teacher="nonlinear", n=5000)
    features = data.train.inputs.numpy().astype(np.float64)
    targets = raw_targets(data)
    design = np.column_stack([features, np.ones(5000)])

    fitted = design @ np.linalg.lstsq(design, targets, rcond=None)[0]

    assert 1 - (targets - fitted).var() / targets.var() < 0.8
    assert np.abs(targets - nonlinear(features)).max() < 0.06


def test_without_noise_the_targets_are_the_teachers() -> None:
    data = made(noise=0)

    assert raw_targets(data) == pytest.approx(linear(data.train.inputs.numpy().astype(np.float64)), abs=1e-5)


def test_the_seed_changes_the_split_and_not_the_data() -> None:
    first, second = made(seed=0), made(seed=1)

    assert torch.equal(first.train.inputs, second.train.inputs)
    assert torch.equal(first.train.targets, second.train.targets)
    assert not torch.equal(first.test.indices, second.test.indices)


def test_parameters_share_their_draws() -> None:
    small, large, other = made(n=100), made(n=1000), made(n=100, teacher="nonlinear", noise=1.0)

    assert torch.equal(small.train.inputs, large.train.inputs[:100])
    assert torch.equal(small.train.inputs, other.train.inputs)
    noise = (raw_targets(other) - nonlinear(other.train.inputs.numpy().astype(np.float64))) / 1.0
    same = (raw_targets(small) - linear(small.train.inputs.numpy().astype(np.float64))) / 0.01
    assert noise == pytest.approx(same, abs=1e-3)


def test_the_default_data_are_frozen() -> None:
    data = made()
    content = data.train.inputs.numpy().tobytes() + data.train.targets.numpy().tobytes()

    assert hashlib.sha256(content).hexdigest() == DEFAULT_SHA256


def test_global_generators_play_no_part() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    state = torch.get_rng_state()
    first = made()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)

    assert torch.equal(first.train.targets, made().train.targets)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher": "cubic"}, "Unknown value 'cubic'. Known: linear, nonlinear"),
        ({"n": 5}, "n: expected a whole number between 10"),
        ({"n": 100.0}, "n: expected a whole number between 10"),
        ({"noise": -1}, "noise: expected a number between 0 and 1000, got"),
        ({"noise": float("nan")}, "noise: expected a number"),
    ],
)
def test_bad_parameters_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        SyntheticRegression(**options)  # type: ignore[arg-type]
