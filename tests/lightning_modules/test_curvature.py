"""Eigenvalues by hand and by double backward, and what they say of critical points."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recipebench.datamodules import Plateau, QuadraticBowl, QuadraticToy, Saddle
from recipebench.errors import RequestError
from recipebench.lightning_modules import (
    MLP,
    LinearRegression,
    critical_point,
    loss_spectrum,
    spectrum,
)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Surfaces ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", [0.0, 30.0, 135.0])
@pytest.mark.parametrize("condition", [1.0, 20.0, 500.0])
def test_a_bowl_has_its_condition_number_at_every_rotation(condition: float, rotation: float) -> None:
    bowl = QuadraticBowl(condition=condition, rotation=rotation).surface

    values = spectrum(bowl, double(-3, 8))

    assert values.tolist() == pytest.approx([2 / condition, 2], rel=1e-10)
    assert critical_point(values) == "minimum"


def test_the_saddle_is_one_between_two_minima() -> None:
    saddle = Saddle().surface
    found = {}
    for y in (-1.0, 0.0, 1.0):
        point = double(0, y).requires_grad_()
        assert torch.autograd.grad(saddle(point), point)[0].tolist() == [0, 0]
        found[y] = spectrum(saddle, point).tolist()

    assert found == {-1.0: [1, 2], 0.0: [-1, 1], 1.0: [1, 2]}
    assert [critical_point(double(*values)) for values in found.values()] == ["minimum", "saddle", "minimum"]


def test_the_plain_is_flat_far_away_and_a_bowl_in_the_middle() -> None:
    plain = Plateau().surface

    assert spectrum(plain, double(0, 0)).tolist() == [1, 1]
    assert critical_point(spectrum(plain, double(6, 5))) == "plateau"
    near = spectrum(plain, double(2, 0))  # e^(-2) (1 - x²) along x, e^(-2) across
    assert near.tolist() == pytest.approx([-3 * 0.1353352832366127, 0.1353352832366127])


def test_the_toy_has_curvature_two() -> None:
    assert spectrum(QuadraticToy().surface, double(3)).tolist() == [2]


# Losses ------------------------------------------------------------------------------------------


def test_the_hessian_of_least_squares_is_the_second_moment() -> None:
    """d² mean (w x + b - y)² = 2 mean (x, 1)(x, 1)ᵀ, whatever the weights and the targets are."""
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    extended = torch.cat([x, torch.ones(50, 1)], 1).double()
    wanted = torch.linalg.eigvalsh(2 * extended.T @ extended / 50)

    found = loss_spectrum(LinearRegression(in_features=2), x, x[:, :1])

    assert torch.allclose(found, wanted, rtol=1e-12)
    assert critical_point(found) == "minimum"


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "tanh"},
        {"activation": "sigmoid", "regularizer": {"l2": {"strength": 0.5}}},
        {"activation": "relu", "regularizer": "batch_norm"},
        {"activation": "maxout"},
        {"activation": "tanh", "regularizer": "dropout"},
    ],
    ids=str,
)
def test_eigenvalues_are_those_of_double_backward(options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(9, 3, generator=generator), torch.arange(9) % 2
    module = MLP(in_features=3, hidden=[4], out_features=2, init_seed=0, **options)
    before = {name: t.clone() for name, t in module.state_dict().items()}

    found = loss_spectrum(module, x, y)

    assert all(torch.equal(t, before[name]) for name, t in module.state_dict().items())
    assert module.training
    wide = module.double().eval()
    parameters = list(wide.parameters())
    value = wide.losses(wide(x.double()), y).mean() + wide.penalty()
    first = torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, create_graph=True)])
    rows = [torch.autograd.grad(g, parameters, retain_graph=True, allow_unused=True) for g in first]
    matrix = torch.stack(
        [
            torch.cat(
                [
                    (torch.zeros_like(p) if g is None else g).flatten()
                    for g, p in zip(row, parameters, strict=True)
                ]
            )
            for row in rows
        ]
    )
    assert torch.allclose(found, torch.linalg.eigvalsh(matrix), rtol=0, atol=1e-12)


def test_equal_hidden_units_sit_on_a_saddle() -> None:
    """At all weights zero the gradient of a tanh net on balanced classes is zero, and it is no minimum."""
    module = MLP(in_features=2, hidden=[2], out_features=2, activation="tanh")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    x, y = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 1])
    module.training_step((x, y), 0)["loss"].backward()

    assert all(not p.grad.any() for p in module.parameters() if p.grad is not None)
    assert critical_point(loss_spectrum(module, x, y)) == "saddle"


# Signs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, 2.0], "minimum"),
        ([-1.0, 2.0], "saddle"),
        ([-1.0, -2.0], "maximum"),
        ([0.0, 0.0], "plateau"),
        ([0.0, 2.0], "minimum"),
        ([-2.0, 0.0], "maximum"),
        ([-1e-7, 1.0], "minimum"),
        ([-1e-7, 1e-7], "plateau"),
        ([-1e-5, 1.0, 0.0], "saddle"),
    ],
)
def test_signs_decide(values: list[float], kind: str) -> None:
    assert critical_point(double(*values)) == kind


def test_the_tolerance_decides_what_counts_as_zero() -> None:
    assert critical_point(double(-0.01, 1), tolerance=0.1) == "minimum"
    assert critical_point(double(-1e-9, 1), tolerance=0) == "saddle"


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_eigenvalues_must_be_numbers(values: list[float]) -> None:
    with pytest.raises(RequestError, match="critical_point: expected finite eigenvalues, got"):
        critical_point(double(*values))


def test_large_modules_and_matrices_are_refused() -> None:
    with pytest.raises(RequestError, match=r"at most 2,000 numbers, .* got 109,386 numbers"):
        loss_spectrum(MLP(), torch.zeros(1, 784), torch.tensor([0]))
    with pytest.raises(RequestError, match=r"expected a vector of .* got 4 numbers of shape \(2, 2\)"):
        spectrum(torch.sum, torch.zeros(2, 2))
