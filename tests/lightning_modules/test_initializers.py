"""Initial draws against torch.nn.init, exact distributions and the streams that they promise."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from recipebench.levels import Choice
from recipebench.lightning_modules import MLP, LinearRegression, SoftmaxRegression, SupervisedModule
from recipebench.lightning_modules.activations import Maxout
from recipebench.lightning_modules.catalog import INITIALIZERS as CATALOG
from recipebench.lightning_modules.initializers import (
    INITIALIZERS,
    Fans,
    fans_of,
    initialize,
    initialize_network,
    normal,
)

FAN_IN, FAN_OUT = 300, 200
NORMAL = ["xavier", "xavier_fan_in", "he", "small_gaussian", "variance_preserving"]
DRAWN = [*NORMAL, "torch_default"]
"""Initializers that look at the draw; `constant` does not."""


def drawn(initializer: str, *, seed: int = 0, out: int = FAN_OUT, **options: Any) -> nn.Linear:
    layer = nn.Linear(FAN_IN, out)
    initialize(layer, "linear_1", initializer=initializer, seed=seed, **options)
    return layer


def torch_std(initializer: str) -> float:
    """Measure what torch's own initializer does to a large matrix of these fans."""
    fill: dict[str, Callable[[Tensor], Tensor]] = {
        "xavier": nn.init.xavier_normal_,
        "xavier_fan_in": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
        "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
        "small_gaussian": lambda w: nn.init.normal_(w, std=0.01),
        "variance_preserving": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
        "torch_default": lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return float(fill[initializer](torch.empty(FAN_OUT, FAN_IN)).std())


STANDARD_DEVIATIONS = {
    "xavier": math.sqrt(2 / (FAN_IN + FAN_OUT)),
    "xavier_fan_in": math.sqrt(1 / FAN_IN),
    "he": math.sqrt(2 / FAN_IN),
    "small_gaussian": 0.01,
    "variance_preserving": math.sqrt(1 / FAN_IN),
    "torch_default": 1 / math.sqrt(3 * FAN_IN),
}


def test_every_initializer_is_held_against_torch() -> None:
    assert {*STANDARD_DEVIATIONS, "constant"} == set(INITIALIZERS) == set(CATALOG)


@pytest.mark.parametrize("name", STANDARD_DEVIATIONS)
def test_moments_are_those_of_the_formula_and_of_torch(name: str) -> None:
    weights = drawn(name).weight.detach().double()

    # 60,000 draws: the standard error of the mean is std / 245, of the standard deviation std / 346
    std = STANDARD_DEVIATIONS[name]
    assert float(weights.mean()) == pytest.approx(0, abs=std / 245 * 4)
    assert float(weights.std()) == pytest.approx(std, rel=4 / 346)
    assert float(weights.std()) == pytest.approx(torch_std(name), rel=6 / 346)


@pytest.mark.parametrize("name", NORMAL)
def test_normal_levels_follow_the_normal_distribution(name: str) -> None:
    weights = drawn(name).weight.detach().double().flatten().numpy() / STANDARD_DEVIATIONS[name]

    assert scipy.stats.kstest(weights, "norm").pvalue > 1e-3


def test_torch_default_follows_the_uniform_distribution_within_its_bounds() -> None:
    layer = drawn("torch_default")
    bound = 1 / math.sqrt(FAN_IN)

    for values in (layer.weight.detach(), layer.bias.detach()):
        scaled = (values.double().flatten().numpy() / bound + 1) / 2
        assert float(values.abs().max()) <= np.float32(bound)
        assert scipy.stats.kstest(scaled, "uniform").pvalue > 1e-3


def test_torch_default_has_the_bounds_of_a_fresh_linear_layer() -> None:
    fresh = nn.Linear(FAN_IN, 20_000)
    ours = drawn("torch_default", out=20_000)

    for a, b in zip(ours.parameters(), fresh.parameters(), strict=True):
        assert float(a.detach().abs().max()) == pytest.approx(float(b.detach().abs().max()), rel=1e-3)


def test_normal_maps_quantiles() -> None:
    u = torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64)

    assert normal(u, 3.0).tolist() == pytest.approx(
        [3 * scipy.stats.norm.ppf(p) for p in (0.025, 0.5, 0.975)]
    )


@pytest.mark.parametrize("u", [2.0**-54, 2.0**-53, 1 - 2.0**-53])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_outermost_draws_are_finite(name: str, u: float) -> None:
    weight = INITIALIZERS[name](torch.tensor([u], dtype=torch.float64), Fans(2, 2))

    assert torch.isfinite(weight).all()


@pytest.mark.parametrize("name", INITIALIZERS)
def test_a_draw_of_exactly_zero_gives_finite_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.zeros(shape, dtype=torch.float64))

    layer = drawn(name)

    assert all(bool(torch.isfinite(p).all()) for p in layer.parameters())


@pytest.mark.parametrize("name", DRAWN)
def test_every_level_is_an_increasing_function_of_the_draw(name: str) -> None:
    u = torch.linspace(0, 1, 10_001, dtype=torch.float64)[1:-1]

    assert bool((INITIALIZERS[name](u.clone(), Fans(FAN_IN, FAN_OUT)).diff() > 0).all())


def test_normal_levels_differ_by_their_scale_alone() -> None:
    he = drawn("he").weight.detach().double()
    for name in NORMAL:
        scaled = drawn(name).weight.detach().double() / STANDARD_DEVIATIONS[name]
        assert torch.allclose(scaled, he / STANDARD_DEVIATIONS["he"], rtol=1e-6, atol=0)


def test_uniform_draws_are_the_normal_ones_through_the_distribution_function() -> None:
    he, uniform = drawn("he").weight.detach().double(), drawn("torch_default").weight.detach().double()

    u = torch.special.ndtr(he / STANDARD_DEVIATIONS["he"])

    assert torch.allclose(uniform, (2 * u - 1) / math.sqrt(FAN_IN), atol=1e-7)


def test_small_gaussian_takes_its_standard_deviation() -> None:
    wide, narrow = drawn("small_gaussian", std=0.5).weight, drawn("small_gaussian").weight

    assert torch.allclose(wide, 50 * narrow)
    assert drawn("small_gaussian", std=0.0).weight.abs().max() == 0


def test_constant_takes_its_value() -> None:
    layer = drawn("constant", value=0.25)

    assert layer.weight.unique().tolist() == [0.25]
    assert drawn("constant").weight.unique().tolist() == pytest.approx([0.01])


def test_units_that_start_alike_stay_alike() -> None:
    """A hidden layer of constants never does more than one unit; a linear model does not mind."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(100, 5, generator=g), torch.randint(3, (100,), generator=g)
    hidden = MLP(in_features=5, hidden=[32], out_features=3, initializer="constant")
    linear = {
        name: SoftmaxRegression(in_features=5, out_features=3, initializer=name, init_seed=0)
        for name in ("constant", "small_gaussian")
    }
    for model in (hidden, *linear.values()):
        steps = torch.optim.SGD(model.parameters(), lr=1.0)
        for _ in range(300):
            steps.zero_grad()
            model.losses(model(x), y).mean().backward()
            steps.step()

    first, last = (w.detach() for w in hidden.weights())
    assert torch.equal(first, first[:1].expand_as(first))
    assert torch.equal(last, last[:, :1].expand_as(last))
    assert not torch.allclose(first, torch.full_like(first, 0.01))
    outputs = [model(x).detach().softmax(1) for model in linear.values()]
    assert torch.allclose(outputs[0], outputs[1], atol=1e-4)


@pytest.mark.parametrize("name", [*NORMAL, "constant"])
def test_biases_start_at_zero(name: str) -> None:
    assert drawn(name).bias.tolist() == [0.0] * FAN_OUT


@pytest.mark.parametrize("name", INITIALIZERS)
def test_a_layer_without_bias_gets_the_same_weights(name: str) -> None:
    bare = nn.Linear(FAN_IN, FAN_OUT, bias=False)

    initialize(bare, "linear_1", initializer=name, seed=0)

    assert torch.equal(bare.weight, drawn(name).weight)


def test_fan_out_of_maxout_counts_one_piece() -> None:
    model = MLP(in_features=50, hidden=[40, 30], activation={"maxout": {"pieces": 4}}, initializer="xavier")
    widths = {"linear_1": (50, 40), "linear_2": (40, 30), "output": (30, 10)}

    for name, (fan_in, units) in widths.items():
        weight = model.network.get_submodule(name).weight
        expected = math.sqrt(2 / (fan_in + units))
        assert isinstance(weight, Tensor)
        assert float(weight.detach().std()) == pytest.approx(expected, rel=4 / math.sqrt(2 * weight.numel()))


def test_fan_out_of_maxout_is_exact() -> None:
    one, four = nn.Linear(FAN_IN, FAN_OUT), nn.Linear(FAN_IN, FAN_OUT)
    initialize(one, "linear_1", initializer="xavier", seed=0)
    initialize(four, "linear_1", initializer="xavier", seed=0, pieces=4)

    ratio = math.sqrt((FAN_IN + FAN_OUT) / (FAN_IN + FAN_OUT / 4))

    assert torch.allclose(four.weight, one.weight * ratio)


CONVOLUTIONS: list[dict[str, Any]] = [
    {"in_channels": 3, "out_channels": 16, "kernel_size": 5},
    {"in_channels": 4, "out_channels": 6, "kernel_size": (3, 2), "groups": 2},
    {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "groups": 8, "bias": False},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_fans_of_convolutions_are_torchs(options: dict[str, Any]) -> None:
    weight = nn.Conv2d(**options).weight

    assert fans_of(weight) == Fans(*nn.init._calculate_fan_in_and_fan_out(weight))


@pytest.mark.parametrize("name", STANDARD_DEVIATIONS)
def test_convolutions_are_drawn_with_the_moments_of_torchs_functions(name: str) -> None:
    layer = nn.Conv2d(20, 100, 5)
    fan_in, fan_out = 20 * 25, 100 * 25

    initialize(layer, "conv_1", initializer=name, seed=0)

    weights = layer.weight.detach().double()  # 50,000 draws
    expected = {
        "xavier": math.sqrt(2 / (fan_in + fan_out)),
        "he": math.sqrt(2 / fan_in),
        "small_gaussian": 0.01,
        "torch_default": 1 / math.sqrt(3 * fan_in),
    }.get(name, math.sqrt(1 / fan_in))
    assert float(weights.std()) == pytest.approx(expected, rel=0.02)
    assert float(weights.mean()) == pytest.approx(0, abs=expected / 50)
    assert layer.bias is not None
    bound = 1 / math.sqrt(fan_in) if name == "torch_default" else 0
    assert float(layer.bias.detach().abs().max()) <= bound


def test_a_whole_network_is_drawn_layer_by_layer() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), Maxout(2), nn.Flatten(), nn.Linear(64, 5), nn.ReLU()
    )
    by_hand = copy.deepcopy(network)
    alone: Any = by_hand

    initialize_network(network, Choice("xavier", {}), seed=4)
    initialize(alone[0], "0", initializer="xavier", seed=4, pieces=2)
    initialize(alone[4], "4", initializer="xavier", seed=4)

    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), alone.parameters(), strict=True))


def test_a_network_and_its_layers_share_their_streams() -> None:
    model = MLP(
        in_features=8, hidden=[6], activation={"maxout": {"pieces": 3}}, initializer="xavier", init_seed=3
    )
    again = copy.deepcopy(model.network)

    initialize_network(again, Choice("xavier", {}), seed=3)

    state = model.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())


def weights_of(**options: Any) -> dict[str, Tensor]:
    model = MLP(**{"in_features": 8, "hidden": [6, 6, 6], "out_features": 6, "init_seed": 3, **options})
    return {name: p.detach() for name, p in model.network.named_parameters() if p.dim() == 2}


@pytest.mark.parametrize(
    "other",
    [
        {"loss": "label_smoothing"},
        {"schedule": "cosine"},
        {"activation": "sigmoid"},
        {"activation": "prelu"},
        {"regularizer": "dropout"},
        {"regularizer": "batch_norm"},
        {"regularizer": "l1"},
        {"optimizer": "adam"},
    ],
    ids=str,
)
def test_compared_recipes_start_from_the_same_draws(other: dict[str, str]) -> None:
    plain, changed = weights_of(), weights_of(**other)

    assert plain.keys() == changed.keys()
    assert all(torch.equal(plain[name], changed[name]) for name in plain)


def test_compared_initializers_start_from_the_same_order_of_draws() -> None:
    he, default = weights_of(initializer="he"), weights_of(initializer="torch_default")

    assert all(torch.equal(he[n].flatten().argsort(), default[n].flatten().argsort()) for n in he)


def test_layers_and_seeds_have_streams_of_their_own() -> None:
    streams = [*weights_of().values(), *weights_of(init_seed=4).values()]
    shaped = [w for w in streams if w.shape == (6, 6)]

    assert len(shaped) == 6
    for i, a in enumerate(shaped):
        for b in shaped[i + 1 :]:
            assert not torch.equal(a, b)


def test_streams_of_equal_shape_are_not_correlated() -> None:
    a, b = (drawn("he", seed=seed).weight.detach().flatten() for seed in (0, 1))

    assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 4 / math.sqrt(a.numel())


@pytest.mark.parametrize("make", [MLP, SoftmaxRegression, LinearRegression])
@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_a_named_seed_does_not_depend_on_the_global_generator(
    make: type[SupervisedModule], initializer: str
) -> None:
    states = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: Any = make
            states.append(model(in_features=5, initializer=initializer, init_seed=7).state_dict())

    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_without_a_seed_the_global_generator_names_one() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        a = MLP(in_features=4, hidden=[3]).state_dict()
        b = MLP(in_features=4, hidden=[3]).state_dict()
        torch.manual_seed(5)
        c = MLP(in_features=4, hidden=[3]).state_dict()

    name = "network.linear_1.weight"
    assert torch.equal(a[name], c[name])
    assert not torch.equal(a[name], b[name])


def test_drawing_leaves_the_global_generator_alone() -> None:
    layer = nn.Linear(4, 4)
    before = torch.random.get_rng_state()

    initialize(layer, "linear_1", initializer="he", seed=0)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_unknown_initializer_or_option_is_refused() -> None:
    with pytest.raises(KeyError, match="hee"):
        drawn("hee")
    with pytest.raises(TypeError, match="std"):
        drawn("he", std=1.0)
