"""Second moments of activations against closed forms, integrals and samples; deep nets that keep them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate  # type: ignore[import-untyped]
import scipy.stats  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules import MLP
from recipebench.lightning_modules.activations import ACTIVATIONS, Hardmax, Maxout
from recipebench.lightning_modules.catalog import ACTIVATIONS as CATALOG
from recipebench.lightning_modules.initializers import initialize_network
from recipebench.lightning_modules.moments import second_moment

WIDTH, DEPTH = 256, 30

CLOSED: dict[str, tuple[nn.Module, float]] = {
    "step": (ACTIVATIONS["step"](), 1 / 2),
    "relu": (nn.ReLU(), 1 / 2),
    "leaky_relu": (nn.LeakyReLU(0.1), 1.01 / 2),
    "prelu": (nn.PReLU(init=0.25), 1.0625 / 2),
    "hardmax": (Hardmax(), 1 / WIDTH),
    "identity": (nn.Hardtanh(-1e9, 1e9), 1.0),
    "maxout of 2": (Maxout(2), 1.0),
    "maxout of 3": (Maxout(3), 1 + math.sqrt(3) / (2 * math.pi)),
    "maxout of 4": (Maxout(4), 1 + math.sqrt(3) / math.pi),
}
SMOOTH: dict[str, tuple[nn.Module, Any]] = {
    "sigmoid": (nn.Sigmoid(), lambda z: 1 / (1 + math.exp(-z))),
    "tanh": (nn.Tanh(), math.tanh),
    "gelu": (nn.GELU(), lambda z: z * scipy.stats.norm.cdf(z)),
}


@pytest.mark.parametrize(("activation", "expected"), CLOSED.values(), ids=CLOSED.keys())
def test_moments_with_a_closed_form(activation: nn.Module, expected: float) -> None:
    assert second_moment(activation, WIDTH) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("activation", "formula"), SMOOTH.values(), ids=SMOOTH.keys())
def test_moments_by_quadrature(activation: nn.Module, formula: Any) -> None:
    expected, _ = scipy.integrate.quad(
        lambda z: formula(z) ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi), -12, 12, epsabs=1e-13
    )

    assert second_moment(activation, WIDTH) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("name", CATALOG)
def test_moments_are_those_of_samples(name: str) -> None:
    """A million draws: the relative standard error is below 1 %, for all that are compared."""
    activation = ACTIVATIONS[name]()
    units = 8
    pieces = getattr(activation, "pieces", 1)
    z = torch.randn(125_000, units * pieces, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        sampled = float(activation(z).double().square().mean())

    assert second_moment(activation, units) == pytest.approx(sampled, rel=0.01)


def test_the_moment_of_a_trained_slope_is_its_own() -> None:
    activation = nn.PReLU(init=0.25)
    activation.weight.data.fill_(0.5)

    assert second_moment(activation, 4) == 1.25 / 2


def test_measuring_leaves_the_activation_alone() -> None:
    activation = nn.PReLU()
    second_moment(activation, 4)

    assert activation.weight.dtype == torch.float32


@pytest.mark.parametrize("activation", [nn.Softmax(dim=1), nn.LayerNorm(7), nn.Conv1d(1, 1, 3)], ids=repr)
def test_an_activation_that_mixes_units_is_refused(activation: nn.Module) -> None:
    with pytest.raises(
        RequestError, match=f"expected an element-wise activation.*{type(activation).__name__}"
    ):
        second_moment(activation, 4)


def sizes(activation: str, initializer: str, seed: int) -> np.ndarray[Any, Any]:
    """Return the mean square of the pre-activations of each hidden layer, for standardized inputs."""
    model = MLP(
        in_features=WIDTH,
        hidden=[WIDTH] * DEPTH,
        activation=activation,
        init_seed=seed,
    ).eval()
    initialize_network(model.network, Choice(initializer, {}), seed)
    x = torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(seed))
    found = []
    with torch.no_grad():
        for layer in model.network.children():
            x = layer(x)
            if isinstance(layer, nn.Linear) and layer.out_features > 10:
                found.append(float(x.square().mean()))
    return np.array(found)


@pytest.mark.parametrize("activation", CATALOG)
def test_pre_activations_keep_their_size_through_30_layers(activation: str) -> None:
    """Within a factor of 2 of the first layer's, in the geometric mean of four nets."""
    nets = [np.log(sizes(activation, "variance_preserving", seed)) for seed in range(4)]
    mean = np.exp(np.mean(nets, axis=0))

    assert len(mean) == DEPTH
    assert bool(((mean / mean[0] < 2) & (mean / mean[0] > 1 / 2)).all())


def test_he_is_right_for_relu_and_wrong_for_others() -> None:
    ratios = {name: sizes(name, "he", 0) for name in ("relu", "tanh", "sigmoid", "maxout", "hardmax")}
    growth = {name: values[-1] / values[0] for name, values in ratios.items()}

    assert 1 / 3 < growth["relu"] < 3
    assert growth["maxout"] > 1e6
    assert growth["hardmax"] < 0.01


def test_with_relu_it_is_he_to_the_last_bit() -> None:
    states = []
    for name in ("he", "variance_preserving"):
        network = MLP(in_features=20, hidden=[30, 10], init_seed=0).network
        initialize_network(network, Choice(name, {}), seed=3)
        states.append(network.state_dict())

    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def stds(network: nn.Sequential) -> list[float]:
    """Return the standard deviations of the weights, each times the root of its fan-in."""
    initialize_network(network, Choice("variance_preserving", {}), seed=0)
    weights: list[Tensor] = [p.detach() for p in network.parameters() if p.dim() > 1]
    return [float(w.double().std()) * math.sqrt(w[0].numel()) for w in weights]


def test_the_first_layer_takes_inputs_of_mean_square_one_unless_scale_does_not_matter() -> None:
    def net(activation: nn.Module) -> nn.Sequential:
        return nn.Sequential(nn.Linear(200, 300), activation, nn.Linear(300, 200))

    sigmoid = 1 / math.sqrt(second_moment(nn.Sigmoid(), 300))
    assert stds(net(nn.Sigmoid())) == pytest.approx([1, sigmoid], rel=0.01)
    assert stds(net(nn.ReLU())) == pytest.approx([math.sqrt(2), math.sqrt(2)], rel=0.01)


def test_layers_without_an_activation_between_them_are_linear() -> None:
    assert stds(nn.Sequential(nn.Linear(200, 300), nn.Linear(300, 200))) == pytest.approx([1, 1], rel=0.01)


def test_convolutions_pools_norms_and_dropout_are_seen_through() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 64, 5),
        nn.BatchNorm2d(64),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Dropout(0.5),
        nn.Conv2d(64, 64, 3),
        Hardmax(),
        nn.Flatten(),
        nn.Linear(64 * 16, 100),
    )

    tanh = 1 / math.sqrt(second_moment(nn.Tanh(), 64))
    assert stds(network) == pytest.approx([1, tanh, 8], rel=0.02)  # hardmax over 64 channels: sqrt(64)


def test_two_activations_in_a_row_are_refused() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.ReLU(), nn.Linear(2, 2))

    with pytest.raises(RequestError, match="expected one activation between two layers, got Tanh, ReLU"):
        initialize_network(network, Choice("variance_preserving", {}), seed=0)
    initialize_network(network, Choice("he", {}), seed=0)
