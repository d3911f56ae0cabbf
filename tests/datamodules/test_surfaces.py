"""Surfaces: values and gradients by hand, minima, starts, and what has no meaning on a surface."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recipebench.datamodules import Plateau, QuadraticBowl, QuadraticToy, Saddle, create
from recipebench.datamodules.catalog import DATA, facts_of
from recipebench.datamodules.surfaces import bowl, parabola, plateau, saddle
from recipebench.errors import RequestError

ALL: list[Any] = [QuadraticToy, QuadraticBowl, Saddle, Plateau]


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def gradient(function: Any, *values: float) -> list[float]:
    w = double(*values).requires_grad_()
    gradient: list[float] = torch.autograd.grad(function(w), w)[0].tolist()
    return gradient


# Functions ---------------------------------------------------------------------------------------


def test_values_by_hand() -> None:
    assert parabola(double(3)).item() == 49
    assert parabola(double(3), (1, -10, 25)).item() == 4
    assert bowl(double(-7, 2)).item() == pytest.approx(49 / 20 + 4)
    assert bowl(double(3, 4), condition=1).item() == 25
    assert bowl(double(3, 4), condition=20, rotation=90).item() == pytest.approx(16 / 20 + 9)
    assert saddle(double(2, 0)).item() == 2
    assert saddle(double(0, 2)).item() == 2
    assert plateau(double(1, 1)).item() == pytest.approx(1 - 0.36787944117144233)


def test_gradients_by_hand() -> None:
    assert gradient(parabola, 3) == [-14]
    assert gradient(bowl, -7, 2) == pytest.approx([-0.7, 4])
    assert gradient(lambda w: bowl(w, condition=1), 3, 4) == pytest.approx([6, 8])
    assert gradient(saddle, 2, 3) == [2, 24]
    assert gradient(plateau, 3, 1) == pytest.approx([3 * 0.006737946999085467, 0.006737946999085467])


def test_a_turned_bowl_is_the_bowl_seen_from_elsewhere() -> None:
    w = double(1.5, -0.5)
    for degrees in (0.0, 17.0, 90.0, 200.0):
        angle = torch.deg2rad(double(degrees))[0]
        turn = torch.stack(
            [torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])]
        )
        assert bowl(turn @ w, rotation=degrees).item() == pytest.approx(bowl(w).item(), rel=1e-12)


# Modules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ALL)
def test_minima_are_flat_and_nothing_near_is_lower(make: Any) -> None:
    surface = make().surface
    noise = torch.randn(200, surface.minima.shape[1], generator=torch.Generator().manual_seed(0)).double()
    for place in surface.minima:
        assert gradient(surface, *place.tolist()) == pytest.approx([0] * len(place))
        assert all(surface(place + 3 * step) > surface(place) for step in noise)
        assert surface.distance(place) == 0


def test_the_distance_is_that_to_the_nearest_minimum() -> None:
    assert Saddle().surface.distance(torch.tensor([0.0, 0.25])).item() == 0.75
    assert QuadraticToy().surface.distance(torch.zeros(1)).item() == 10
    assert QuadraticToy(coefficients=[1, -10, 25]).surface.distance(torch.zeros(1)).item() == 5
    assert Plateau().surface.distance(torch.tensor([3.0, 4.0])).dtype == torch.float64


@pytest.mark.parametrize(
    ("make", "start"),
    [(QuadraticToy, [0]), (QuadraticBowl, [-7, 2]), (Saddle, [1, 0]), (Plateau, [3, 1])],
)
def test_starts_are_the_documented_ones_or_near_them(make: Any, start: list[float]) -> None:
    exact = [make(spread=0, seed=seed).surface.start.tolist() for seed in (0, 1)]
    near = [make(spread=0.5, seed=seed).surface.start for seed in range(300)]
    again = make(spread=0.5, seed=7, steps_per_epoch=3).surface.start

    assert exact == [start, start]
    assert torch.equal(near[7], again)
    assert torch.stack(near).std(0).tolist() == pytest.approx([0.5] * len(start), rel=0.15)
    assert torch.stack(near).mean(0).tolist() == pytest.approx(start, abs=0.15)


def test_the_start_turns_with_the_bowl() -> None:
    for rotation in (0.0, 45.0, 300.0):
        surface = QuadraticBowl(rotation=rotation).surface
        assert surface(surface.start).item() == pytest.approx(6.45)
        assert surface.start.norm().item() == pytest.approx(53**0.5)


@pytest.mark.parametrize("make", ALL)
def test_an_epoch_is_its_steps(make: Any) -> None:
    data = make(steps_per_epoch=7, batch_size=128, seed=3)
    data.setup()

    assert [batch is data.surface for batch in data.train_dataloader()] == [True] * 7
    assert len(data.train_dataloader()) == 7
    assert len(data.val_dataloader()) == len(list(data.test_dataloader())) == 1
    assert data.batch_size == 1
    assert (data.task, data.out_features) == ("minimization", 1)
    assert data.surface.start.shape == data.facts.shape == (data.in_features,)
    assert str(data) == f"{make.__name__}({data.key}, seed=3)"


@pytest.mark.parametrize("make", ALL)
def test_the_catalog_describes_them(make: Any) -> None:
    data: Any = create(DATA.choose(make.name), batch_size=32, validation=0.1, inputs="unit", seed=1)

    assert type(data) is make
    assert data.choice == DATA.choose(make.name)
    assert facts_of(data.choice) == data.facts
    assert data.facts.tasks == DATA[make.name].tasks == ("minimization",)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (QuadraticToy, {"coefficients": [0, 1, 2]}, r"three numbers, the first above 0, .* got \[0, 1, 2\]"),
        (QuadraticToy, {"coefficients": [1, 2]}, r"quadratic_toy: coefficients: expected three numbers"),
        (QuadraticToy, {"coefficients": [1, "x", 2]}, "coefficients: expected a list of numbers"),
        (QuadraticBowl, {"condition": 0.5}, "condition: expected a number between 1 and 1e"),
        (QuadraticBowl, {"rotation": 400}, "rotation: expected a number between 0 and 360, got 400"),
        (Saddle, {"spread": -1}, "data saddle: spread: expected a number between 0"),
        (Plateau, {"steps_per_epoch": 0}, "data plateau: steps_per_epoch: expected a whole number between 1"),
        (Saddle, {"seed": -1}, "seed: expected a whole number of at least 0"),
        (
            Saddle,
            {"inputs": "standardized"},
            "saddle: inputs: expected unit, because a surface has no samples",
        ),
        (Saddle, {"train_samples": 10}, "saddle: train_samples: expected None, because a surface has no"),
        (Saddle, {"augmentation": {"flip": {}}}, "saddle: augmentation: expected none, because a surface"),
        (Saddle, {"label_noise": 0.1}, "saddle: label_noise: expected 0"),
        (Saddle, {"last_batch": "dorp"}, "Unknown last_batch 'dorp'.* Did you mean 'drop'"),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make(**options)
