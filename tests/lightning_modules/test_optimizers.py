"""Optimizers against their documented formulas, three steps written out in Python's own floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import nn, optim

from recipebench.lightning_modules import MLP
from recipebench.lightning_modules.catalog import OPTIMIZERS as CATALOG
from recipebench.lightning_modules.optimizers import (
    ELEMENTWISE,
    OPTIMIZERS,
    AveragedMomentum,
    VelocityMomentum,
)

CURVATURE, MINIMUM, START = [1.0, 4.0, 0.1], [0.5, -1.0, 2.0], [3.0, 0.25, -1.0]
STEPS = 3

Path = list[float]
"""One number after each step."""


def gradient(i: int, w: float) -> float:
    """Of the quadratic a / 2 (w - c)²."""
    return CURVATURE[i] * (w - MINIMUM[i])


def walk(i: int, decay: float, step: Callable[[int, float, float], float]) -> Path:
    """Take steps t = 1, 2, 3 with w <- step(t, w, g)."""
    w, path = START[i], []
    for t in range(1, STEPS + 1):
        w = step(t, w, gradient(i, w) + decay * w)
        path.append(w)
    return path


def sgd(i: int, *, lr: float = 0.1, weight_decay: float = 0.0) -> Path:
    return walk(i, weight_decay, lambda t, w, g: w - lr * g)


def momentum(i: int, *, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 0.0) -> Path:
    v = 0.0

    def step(t: int, w: float, g: float) -> float:
        nonlocal v
        v = momentum * v + g
        return w - lr * v

    return walk(i, weight_decay, step)


def momentum_averaged(i: int, *, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0) -> Path:
    v = 0.0

    def step(t: int, w: float, g: float) -> float:
        nonlocal v
        v = momentum * v + (1 - momentum) * g
        return w - lr * v

    return walk(i, weight_decay, step)


def momentum_velocity(i: int, *, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 0.0) -> Path:
    v = 0.0

    def step(t: int, w: float, g: float) -> float:
        nonlocal v
        v = momentum * v - lr * g
        return w + v

    return walk(i, weight_decay, step)


def nesterov(i: int, *, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 0.0) -> Path:
    v = 0.0

    def step(t: int, w: float, g: float) -> float:
        nonlocal v
        v = momentum * v + g
        return w - lr * (g + momentum * v)

    return walk(i, weight_decay, step)


def adagrad(i: int, *, lr: float = 0.01, eps: float = 1e-10, weight_decay: float = 0.0) -> Path:
    s = 0.0

    def step(t: int, w: float, g: float) -> float:
        nonlocal s
        s = s + g**2
        return w - lr * g / (math.sqrt(s) + eps)

    return walk(i, weight_decay, step)


def rmsprop(
    i: int, *, lr: float = 0.001, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0
) -> Path:
    s = 0.0

    def step(t: int, w: float, g: float) -> float:
        nonlocal s
        s = alpha * s + (1 - alpha) * g**2
        return w - lr * g / (math.sqrt(s) + eps)

    return walk(i, weight_decay, step)


def adam(
    i: int,
    *,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    beside: float = 0.0,
) -> Path:
    v = s = 0.0

    def step(t: int, w: float, g: float) -> float:
        nonlocal v, s
        v = beta1 * v + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * g**2
        w = (1 - lr * beside) * w
        return w - lr * v / (1 - beta1**t) / (math.sqrt(s / (1 - beta2**t)) + eps)

    return walk(i, weight_decay, step)


def adamw(i: int, *, weight_decay: float = 0.01, **options: float) -> Path:
    return adam(i, beside=weight_decay, **options)


FORMULAS: dict[str, Callable[..., Path]] = {
    "sgd": sgd,
    "momentum": momentum,
    "momentum_averaged": momentum_averaged,
    "momentum_velocity": momentum_velocity,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}
CHANGED: dict[str, dict[str, float]] = {
    "sgd": {"lr": 0.3},
    "momentum": {"lr": 0.02, "momentum": 0.5},
    "momentum_averaged": {"lr": 0.02, "momentum": 0.5},
    "momentum_velocity": {"lr": 0.02, "momentum": 0.5},
    "nesterov": {"lr": 0.02, "momentum": 0.5},
    "adagrad": {"lr": 0.5, "eps": 0.1},
    "rmsprop": {"lr": 0.2, "alpha": 0.8, "eps": 0.1},
    "adam": {"lr": 0.2, "beta1": 0.5, "beta2": 0.7, "eps": 0.1},
    "adamw": {"lr": 0.2, "beta1": 0.5, "beta2": 0.7, "eps": 0.1},
}
CASES = [
    (name, {**given, **decay})
    for name in FORMULAS
    for given in ({}, CHANGED[name])
    for decay in ({}, {"weight_decay": 0.3})
]


def trained(name: str, options: dict[str, float], steps: int = STEPS) -> Iterator[list[float]]:
    w = nn.Parameter(torch.tensor(START, dtype=torch.float64))
    curvature, minimum = torch.tensor([CURVATURE, MINIMUM], dtype=torch.float64)
    optimizer = OPTIMIZERS[name]([w], **options)
    for _ in range(steps):
        optimizer.zero_grad()
        (curvature / 2 * (w - minimum) ** 2).sum().backward()
        optimizer.step()
        yield w.tolist()


def test_every_optimizer_is_held_against_its_formula() -> None:
    assert set(FORMULAS) == set(OPTIMIZERS) == set(CATALOG)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_three_steps_follow_the_formula(name: str, options: dict[str, float]) -> None:
    expected = [FORMULAS[name](i, **options) for i in range(len(START))]

    paths = zip(*trained(name, options), strict=True)

    for path, formula in zip(paths, expected, strict=True):
        assert list(path) == pytest.approx(formula, rel=1e-12)


def test_hand_worked_steps() -> None:
    """On w²/2 from w = 1: g = w. Numbers worked by hand."""
    worked = {
        "sgd": ({"lr": 0.5}, [0.5, 0.25]),
        "momentum": ({"lr": 0.5, "momentum": 0.5}, [0.5, 0.0]),  # v = 1, then .5 + .5
        "momentum_averaged": ({"lr": 1.0, "momentum": 0.5}, [0.5, 0.0]),  # v = .5, then .25 + .25
        "momentum_velocity": ({"lr": 0.5, "momentum": 0.5}, [0.5, 0.0]),  # v = -.5, then -.25 - .25
        "nesterov": ({"lr": 0.5, "momentum": 0.5}, [0.25, -0.0625]),  # .75: steps of 1.5, then .25 + .375
        "adagrad": ({"lr": 0.5, "eps": 1e-12}, [0.5, 0.5 - 0.5 * 0.5 / math.sqrt(1.25)]),
        "rmsprop": ({"lr": 0.1, "alpha": 0.75, "eps": 1e-12}, [0.8, 0.8 - 0.08 / math.sqrt(0.3475)]),
        "adam": ({"lr": 0.25, "eps": 1e-12}, [0.75]),  # the first step is lr, whatever the gradient
        "adamw": ({"lr": 0.25, "eps": 1e-12, "weight_decay": 0.4}, [0.65]),
    }
    for name, (options, expected) in worked.items():
        w = nn.Parameter(torch.ones(1, dtype=torch.float64))
        optimizer = OPTIMIZERS[name]([w], **options)
        path = []
        for _ in expected:
            w.grad = w.detach().clone()
            optimizer.step()
            path.append(float(w.detach()))
        assert path == pytest.approx(expected, rel=1e-9), name
    assert set(worked) == set(OPTIMIZERS)


@pytest.mark.parametrize(
    ("name", "stock"),
    [
        ("sgd", optim.SGD),
        ("momentum", optim.SGD),
        ("momentum_averaged", AveragedMomentum),
        ("momentum_velocity", VelocityMomentum),
        ("nesterov", optim.SGD),
        ("adagrad", optim.Adagrad),
        ("rmsprop", optim.RMSprop),
        ("adam", optim.Adam),
        ("adamw", optim.AdamW),
    ],
)
def test_factories_return_stock_optimizers_or_our_own_in_their_default_implementation(
    name: str, stock: type[optim.Optimizer]
) -> None:
    optimizer = OPTIMIZERS[name]([nn.Parameter(torch.zeros(1))])

    assert type(optimizer) is stock
    assert not optimizer.defaults.get("fused")
    assert not optimizer.defaults.get("foreach")
    assert not optimizer.defaults.get("amsgrad")
    assert not optimizer.defaults.get("centered")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_recipe_hands_its_hyper_parameters_to_the_optimizer(
    name: str, configured: Callable[[LightningModule], Any]
) -> None:
    optimizer = configured(MLP(in_features=2, hidden=[2], optimizer={name: CHANGED[name]}))

    defaults: dict[str, Any] = dict(optimizer.defaults)
    if "betas" in defaults:
        defaults["beta1"], defaults["beta2"] = defaults["betas"]
    assert CHANGED[name] == {key: defaults[key] for key in CHANGED[name]}
    assert len(optimizer.param_groups) == 1
    assert len(optimizer.param_groups[0]["params"]) == 4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_downhill_to_the_minimum(name: str) -> None:
    lr = {"adagrad": 1.0, "rmsprop": 0.01, "adam": 0.05, "adamw": 0.05}.get(name, 0.1)
    decay = {"weight_decay": 0.0} if name == "adamw" else {}

    *_, last = trained(name, {"lr": lr, **decay}, steps=2000)

    assert last == pytest.approx(MINIMUM, abs=0.02)


def paths(optimizers: list[Callable[[nn.Parameter], optim.Optimizer]], rates: list[float]) -> list[Path]:
    """Walk down one quadratic with each optimizer, a rate for each step."""
    walks = []
    for make in optimizers:
        w = nn.Parameter(torch.tensor(START, dtype=torch.float64))
        curvature, minimum = torch.tensor([CURVATURE, MINIMUM], dtype=torch.float64)
        optimizer, path = make(w), []
        own = optimizer.param_groups[0]["lr"]
        for rate in rates:
            optimizer.param_groups[0]["lr"] = own * rate
            w.grad = curvature * (w.detach() - minimum)
            optimizer.step()
            path += w.tolist()
        walks.append(path)
    return walks


FORMS: dict[str, Callable[[nn.Parameter], optim.Optimizer]] = {
    "torch": lambda w: optim.SGD([w], lr=0.05, momentum=0.9),
    "averaged": lambda w: OPTIMIZERS["momentum_averaged"]([w], lr=0.5, momentum=0.9),
    "velocity": lambda w: OPTIMIZERS["momentum_velocity"]([w], lr=0.05, momentum=0.9),
    "dampened": lambda w: optim.SGD([w], lr=0.5, momentum=0.9, dampening=0.1),
}


def test_the_forms_of_momentum_are_one_at_a_steady_rate() -> None:
    """The rate of torch's form is that of the averaged one times 1 - momentum."""
    torchs, averaged, velocity = paths([FORMS[n] for n in ("torch", "averaged", "velocity")], [1.0] * 40)

    assert averaged == pytest.approx(torchs, rel=1e-10)
    assert velocity == pytest.approx(torchs, rel=1e-10)


def test_the_velocity_remembers_the_old_rate() -> None:
    torchs, averaged, velocity = paths(
        [FORMS[n] for n in ("torch", "averaged", "velocity")], [1.0] * 5 + [0.1] * 5
    )

    same = slice(0, 5 * len(START))
    assert averaged == pytest.approx(torchs, rel=1e-10)
    assert velocity[same] == pytest.approx(torchs[same], rel=1e-10)
    assert velocity != pytest.approx(torchs, rel=1e-3)


def test_torchs_dampening_is_not_the_average() -> None:
    averaged, dampened = paths([FORMS["averaged"], FORMS["dampened"]], [1.0] * 3)

    assert dampened != pytest.approx(averaged, rel=1e-3)


@pytest.mark.parametrize("name", ["momentum_averaged", "momentum_velocity"])
def test_our_own_optimizers_pass_over_what_has_no_gradient_and_survive_a_checkpoint(name: str) -> None:
    def moved(optimizer: optim.Optimizer, w: nn.Parameter) -> list[float]:
        w.grad = torch.ones(2)
        optimizer.step()
        return w.tolist()

    idle, w = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = OPTIMIZERS[name]([idle, w])
    moved(optimizer, w)
    twin = nn.Parameter(w.detach().clone())
    resumed = OPTIMIZERS[name]([nn.Parameter(torch.ones(2)), twin])
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))

    assert moved(resumed, twin) == moved(optimizer, w)
    assert idle.tolist() == [1, 1]


@pytest.mark.parametrize("name", ["momentum_averaged", "momentum_velocity"])
def test_our_own_optimizers_ask_a_closure_for_the_gradient(name: str) -> None:
    w = nn.Parameter(torch.ones(2))
    optimizer = OPTIMIZERS[name]([w])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = w.square().sum()
        loss.backward()
        return loss

    loss: Any = optimizer.step(closure)

    assert float(loss.detach()) == 2
    assert max(w.tolist()) < 1


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_an_element_wise_optimizer_treats_every_number_by_itself(name: str) -> None:
    together = list(trained(name, {}))[-1]
    alone = []
    for i in range(len(START)):
        w = nn.Parameter(torch.tensor([START[i]], dtype=torch.float64))
        optimizer = OPTIMIZERS[name]([w])
        for _ in range(STEPS):
            w.grad = CURVATURE[i] * (w.detach() - MINIMUM[i])
            optimizer.step()
        alone.append(float(w.detach()))

    assert together == alone
