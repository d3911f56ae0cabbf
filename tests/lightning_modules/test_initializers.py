"""Initial draws against torch.nn.init, exact distributions and the streams that they promise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from recipebench.lightning_modules import MLP, LinearRegression, SoftmaxRegression, SupervisedModule
from recipebench.lightning_modules.catalog import INITIALIZERS as CATALOG
from recipebench.lightning_modules.initializers import INITIALIZERS, Fans, initialize, normal

FAN_IN, FAN_OUT = 300, 200
NORMAL = ["xavier", "xavier_fan_in", "he", "small_gaussian"]


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
    "torch_default": 1 / math.sqrt(3 * FAN_IN),
}


def test_every_initializer_is_held_against_torch() -> None:
    assert set(STANDARD_DEVIATIONS) == set(INITIALIZERS) == set(CATALOG)


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


@pytest.mark.parametrize("name", INITIALIZERS)
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


@pytest.mark.parametrize("name", NORMAL)
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


def weights_of(**options: Any) -> dict[str, Tensor]:
    model = MLP(**{"in_features": 8, "hidden": [6, 6, 6], "out_features": 6, "init_seed": 3, **options})
    return {name: p.detach() for name, p in model.network.named_parameters() if p.dim() == 2}


@pytest.mark.parametrize(
    "other",
    [
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
